//! Calls an instance's handler, of WASI 0.2 or 0.3.

use std::future::{pending, poll_fn};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_channel::oneshot;
use http::{Request, Response, uri};
use wasmtime::{AsContextMut, Store, ensure};
use wasmtime_wasi_http::handler::{Prepared, Proxy};
use wasmtime_wasi_http::p2::bindings::http::types::Scheme;
use wasmtime_wasi_http::{WasiBody, WasiHttpView, p2};

use crate::guest::Guest;
use crate::http::answer::Answer;
use crate::http::delivery::Delivery;
use crate::http::rest::Rest;

/// Answers a request, once.
#[derive(Clone)]
pub(super) struct Responder {
    answer: Arc<Mutex<Option<oneshot::Sender<Answer>>>>,
    delivery: Arc<Delivery>,
}

impl Responder {
    pub(super) fn new(answer: oneshot::Sender<Answer>, delivery: Arc<Delivery>) -> Responder {
        Responder {
            answer: Arc::new(Mutex::new(Some(answer))),
            delivery,
        }
    }

    fn respond(&self, response: Response<WasiBody>) {
        if let Some(answer) = self.take() {
            let _ = answer.send(Answer::Guest(response, Arc::clone(&self.delivery)));
        }
    }

    /// Take what the answer is sent with: the guest can no longer respond. `None` if it has
    /// responded.
    pub(super) fn take(&self) -> Option<oneshot::Sender<Answer>> {
        lock(&self.answer).take()
    }
}

/// A response after which the client waits for no other (RFC 9110, 15.2).
fn final_response(response: Response<WasiBody>) -> wasmtime::Result<Response<WasiBody>> {
    let status = response.status();
    ensure!(
        !status.is_informational(),
        "its response has the status {}, which is not final",
        status.as_u16()
    );
    Ok(response)
}

/// Call a handler of WASI 0.2, and wait until it returns. If it gives an error for a response, that
/// is returned then.
pub(super) async fn call_02(
    store: &mut Store<Guest>,
    proxy: &p2::bindings::Proxy,
    request: Request<WasiBody>,
    responder: Responder,
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
            move |response| match response.map_err(Into::into).and_then(final_response) {
                Ok(response) => responder.respond(response),
                Err(error) => *lock(&given) = Some(error),
            }
        })?;
    proxy
        .wasi_http_incoming_handler()
        .call_handle(&mut *store, request, outparam)
        .await?;
    match lock(&given).take() {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

fn lock<T>(value: &Mutex<T>) -> MutexGuard<'_, T> {
    value.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Call a handler of WASI 0.3, and wait until it has no more work to do, and no part of its
/// response is on its way in the store. If it gives an error for a response, that is returned at
/// once.
pub(super) async fn call_03(
    store: &mut Store<Guest>,
    proxy: &Proxy,
    request: Request<WasiBody>,
    responder: Responder,
) -> wasmtime::Result<()> {
    store
        .run_concurrent(async |accessor| {
            let (sender, response) = oneshot::channel();
            let prepared = accessor.with(|mut store| {
                Prepared::new(store.as_context_mut(), proxy, request, Guest::http, sender)
            })?;
            // The caller enforces the deadline.
            prepared.run(accessor, pending()).await?;
            // `run` has sent it, unless it returned an error.
            let Ok(response) = response.await else {
                return Ok(());
            };
            let (response, rest) = Rest::of(final_response(response?)?);
            responder.respond(response);
            // The response's body, and the guest's work after it, are separate tasks.
            poll_fn(|cx| accessor.poll_no_interesting_tasks(cx)).await;
            // No code of the guest runs any more, so it needs no database.
            accessor.with(|mut store| store.get().end_statements());
            rest.take().await;
            Ok(())
        })
        .await?
}
