//! Calls an instance's handler, of WASI 0.2 or 0.3.

use std::future::{pending, poll_fn};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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

/// Sends a request's answer, once.
#[derive(Clone)]
pub(super) struct Answering(Arc<Mutex<Option<oneshot::Sender<Answer>>>>);

impl Answering {
    pub(super) fn new(answer: oneshot::Sender<Answer>) -> Answering {
        Answering(Arc::new(Mutex::new(Some(answer))))
    }

    fn send(&self, response: Response<WasiBody>) {
        if let Some(answer) = self.take() {
            let _ = answer.send(Ok(response));
        }
    }

    /// `None`: it has been sent.
    pub(super) fn take(&self) -> Option<oneshot::Sender<Answer>> {
        lock(&self.0).take()
    }
}

/// Call a handler of WASI 0.2.
pub(super) async fn call_02(
    store: &mut Store<Guest>,
    proxy: &p2::bindings::Proxy,
    request: Request<WasiBody>,
    answer: Answering,
) -> wasmtime::Result<()> {
    let scheme = match request.uri().scheme() {
        Some(scheme) if *scheme == uri::Scheme::HTTPS => Scheme::Https,
        _ => Scheme::Http,
    };
    let request = store
        .data_mut()
        .http()
        .new_incoming_request(scheme, request)?;
    let given = Arc::new(Mutex::new(None));
    let outparam = store
        .data_mut()
        .http()
        .new_response_outparam_from_callback({
            let given = Arc::clone(&given);
            move |response| match response {
                Ok(response) => answer.send(response),
                Err(error) => *lock(&given) = Some(error),
            }
        })?;
    let outcome = proxy
        .wasi_http_incoming_handler()
        .call_handle(&mut *store, request, outparam)
        .await;
    let given = lock(&given).take();
    match given {
        Some(error) => Err(error.into()),
        None => outcome,
    }
}

fn lock<T>(value: &Mutex<T>) -> MutexGuard<'_, T> {
    value.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Call a handler of WASI 0.3, and wait until it has no more work to do, and no part of its response is
/// on its way in the store.
pub(super) async fn call_03(
    store: &mut Store<Guest>,
    proxy: &Proxy,
    request: Request<WasiBody>,
    answer: Answering,
) -> wasmtime::Result<()> {
    store
        .run_concurrent(async |accessor| {
            let (sender, response) = oneshot::channel();
            let prepared = accessor.with(|mut store| {
                Prepared::new(store.as_context_mut(), proxy, request, Guest::http, sender)
            })?;
            // The caller enforces the deadline.
            prepared.run(accessor, pending()).await?;
            // It is sent by now: with an error, there is none.
            let Ok(response) = response.await else {
                return Ok(());
            };
            let (response, rest) = Rest::of(response?);
            answer.send(response);
            // The response's body, and the guest's work after it, are separate tasks.
            poll_fn(|cx| accessor.poll_no_interesting_tasks(cx)).await;
            // No code of the guest runs any more, so it needs no database.
            accessor.with(|mut store| store.get().end_statements());
            rest.take().await;
            Ok(())
        })
        .await?
}
