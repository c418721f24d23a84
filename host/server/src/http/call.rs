//! Calls an instance's handler, of WASI 0.2 or 0.3.

use std::future::{pending, poll_fn};
use std::sync::{Arc, Mutex, PoisonError};

use futures_channel::oneshot;
use http::{Request, Response, uri};
use wasmtime::{AsContextMut, Store};
use wasmtime_wasi_http::handler::{Prepared, Proxy};
use wasmtime_wasi_http::p2::bindings::http::types::Scheme;
use wasmtime_wasi_http::{WasiBody, WasiHttpView, p2};

use crate::guest::Guest;
use crate::http::rest::Rest;

/// A guest's response, or why there is none.
pub(super) type Answer = Result<Response<WasiBody>, wasmtime::Error>;

/// Call a handler of WASI 0.2. Returns whether it has responded.
pub(super) async fn call_02(
    store: &mut Store<Guest>,
    proxy: &p2::bindings::Proxy,
    request: Request<WasiBody>,
    answer: oneshot::Sender<Answer>,
) -> wasmtime::Result<bool> {
    let answer = Arc::new(Mutex::new(Some(answer)));
    let take =
        |answer: &Mutex<Option<_>>| answer.lock().unwrap_or_else(PoisonError::into_inner).take();
    let scheme = match request.uri().scheme() {
        Some(scheme) if *scheme == uri::Scheme::HTTPS => Scheme::Https,
        _ => Scheme::Http,
    };
    let request = store
        .data_mut()
        .http()
        .new_incoming_request(scheme, request)?;
    let outparam = store
        .data_mut()
        .http()
        .new_response_outparam_from_callback({
            let answer = Arc::clone(&answer);
            move |response| {
                if let Some(answer) = take(&answer) {
                    let _ = answer.send(response.map_err(wasmtime::Error::from));
                }
            }
        })?;
    let outcome = proxy
        .wasi_http_incoming_handler()
        .call_handle(&mut *store, request, outparam)
        .await;
    let Some(answer) = take(&answer) else {
        return outcome.map(|()| true);
    };
    let error = match outcome {
        Ok(()) => wasmtime::format_err!("it returned without setting a response"),
        Err(error) => error,
    };
    let _ = answer.send(Err(store.data_mut().explain(error)));
    Ok(false)
}

/// Call a handler of WASI 0.3, and wait until it has no more work to do, and no part of its response is
/// on its way in the store. Returns true: whether it has responded, the answer tells.
pub(super) async fn call_03(
    store: &mut Store<Guest>,
    proxy: &Proxy,
    request: Request<WasiBody>,
    answer: oneshot::Sender<Answer>,
) -> wasmtime::Result<bool> {
    store
        .run_concurrent(async |accessor| {
            let (sender, response) = oneshot::channel();
            let prepared = accessor.with(|mut store| {
                Prepared::new(store.as_context_mut(), proxy, request, Guest::http, sender)
            })?;
            // The caller enforces the deadline.
            prepared.run(accessor, pending()).await?;
            let mut rest = None;
            // It is sent by now: with an error, there is none.
            if let Ok(response) = response.await {
                let response = response.map(|response| {
                    let (response, its_rest) = Rest::of(response);
                    rest = Some(its_rest);
                    response
                });
                let _ = answer.send(response);
            }
            // The response's body, and the guest's work after it, are separate tasks.
            poll_fn(|cx| accessor.poll_no_interesting_tasks(cx)).await;
            if let Some(rest) = rest {
                // No code of the guest runs any more, so it needs no database.
                accessor.with(|mut store| store.get().end_statements());
                rest.take().await;
            }
            Ok(true)
        })
        .await?
}
