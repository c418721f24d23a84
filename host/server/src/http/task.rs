//! Runs a guest for one request, to its end.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Instant;

use futures_channel::oneshot;
use http::Request;
use millpond_wasmtime::SqliteCtx;
use wasmtime_wasi_http::WasiBody;

use crate::http::answer::Ending;
use crate::http::bounds::RequestPlace;
use crate::http::call::{Answer, Answering};
use crate::http::exchange::Exchange;
use crate::http::handler::Handler;
use crate::http::refusal::log_failure;
use crate::log::Event;
use crate::site::{Component, Site};
use crate::telemetry::TracedRequest;

/// One guest that handles one request.
pub(super) struct Task {
    pub(super) number: u64,
    pub(super) deadline: Instant,
    pub(super) sqlite: SqliteCtx,
    pub(super) site: Arc<Site>,
    pub(super) component: Arc<Component>,
    pub(super) tenant: Option<String>,
    pub(super) place: RequestPlace,
    pub(super) ending: Arc<Ending>,
    pub(super) exchange: Arc<Exchange>,
    /// Kept until the guest ends: until then it may ask for connections.
    pub(super) _traced: Option<Arc<TracedRequest>>,
}

impl Task {
    /// Run the guest to its end, unless the client disconnects before its response.
    pub(super) async fn run(
        self,
        handler: &Handler,
        request: Request<WasiBody>,
        answer: oneshot::Sender<Answer>,
        client_gone: impl Future<Output = ()>,
    ) {
        let component = &*self.component;
        let running = handler.watch.running(component.name.as_str());
        let mut instance = handler.instance(
            &self.site,
            &self.component,
            self.number,
            self.tenant.as_deref(),
            self.sqlite,
        );

        let mut ended = handler.ended.clone();
        let answering = Answering::new(answer);
        let outcome = tokio::select! {
            biased;
            // A guest whose time is over must not run again.
            () = over(self.deadline) => None,
            () = client_gone => None,
            outcome = instance.call(request, answering.clone()) => Some(outcome),
            // A guest that does not wait for anything pays for no timer.
            _ = ended.changed() => None,
            () = tokio::time::sleep_until(self.deadline.into()) => None,
        };
        let unanswered = answering.take();
        let ended_well = matches!(outcome, Some(Ok(())));
        if unanswered.is_none() && !ended_well {
            // Before the store is dropped, and with it the sending end of the body.
            self.ending.cut();
        }
        let store = &mut instance.store;
        let mut failure = None;
        match outcome {
            Some(Err(error)) => failure = Some(store.data_mut().explain(error)),
            Some(Ok(())) if unanswered.is_some() => {
                let error = wasmtime::format_err!("it returned without setting a response");
                failure = Some(store.data_mut().explain(error));
            }
            _ => {
                if let Some(limit) = store.data().reached() {
                    // It went on, and may have responded with an error of its own.
                    let request = self.number;
                    handler.log.event(&Event::LimitReached { request, limit });
                }
            }
        }
        handler.tell_of_database(self.number, &self.component, store.data());
        // The guest may keep its end of an upload that it does not read, and with it the connection.
        let is_done = ended_well && unanswered.is_none() && !self.exchange.has_unread();
        let settings = &self.site.settings;
        if is_done && settings.max_instance_reuse > 1 {
            let is_current = || Arc::ptr_eq(&self.site, &handler.site());
            let ending = self.ending;
            handler.idle.keep(instance, ending, settings, is_current);
        } else {
            drop(instance); // Every connection that the guest still held is back now.
        }
        drop((self.place, running));
        // Last: who gets this answer finds that the guest holds nothing any more.
        let untold = match (unanswered, failure) {
            (Some(answer), Some(error)) => answer.send(Err(error)).err().and_then(Result::err),
            (_, failure) => failure,
        };
        if let Some(error) = untold {
            log_failure(&*handler.log, self.number, component, &error);
        }
    }
}

/// Ready if it is polled at `deadline` or later. Does not wake the task by itself.
async fn over(deadline: Instant) {
    poll_fn(|_| match Instant::now() >= deadline {
        true => Poll::Ready(()),
        false => Poll::Pending,
    })
    .await;
}
