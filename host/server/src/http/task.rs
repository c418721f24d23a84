//! Runs a guest for one request, to its end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use futures_channel::oneshot;
use http::Request;
use millpond_wasmtime::SqliteCtx;
use wasmtime_wasi_http::WasiBody;

use crate::http::bounds::RequestPlace;
use crate::http::call::Answer;
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
    pub(super) cut: Arc<AtomicBool>,
    /// Completes when the connection has taken the response, or dropped it.
    pub(super) taken: oneshot::Receiver<bool>,
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
        let _running = handler.watch.running(component.name.as_str());
        let mut instance = handler.instance(
            &self.site,
            &self.component,
            self.number,
            self.tenant.as_deref(),
            self.sqlite,
        );

        let mut ended = handler.ended.clone();
        let outcome = tokio::select! {
            // A guest whose time is over must not run again.
            biased;
            () = tokio::time::sleep_until(self.deadline.into()) => None,
            () = client_gone => None,
            _ = ended.changed() => None,
            outcome = instance.call(request, answer) => Some(outcome),
        };
        let responded = matches!(outcome, Some(Ok(true)));
        if !matches!(outcome, Some(Ok(_))) {
            // Before the store is dropped, and with it the sending end of the body.
            self.cut.store(true, Ordering::Release);
        }
        let store = &mut instance.store;
        if let Some(Err(error)) = outcome {
            let error = store.data_mut().explain(error);
            log_failure(&*handler.log, self.number, component, &error);
        } else if let Some(limit) = store.data().reached() {
            // It went on, and may have responded with an error of its own.
            let request = self.number;
            handler.log.event(&Event::LimitReached { request, limit });
        }
        handler.tell_of_database(self.number, &self.component, store.data());
        // The guest may keep its end of an upload that it does not read, and with it the connection.
        let is_done = responded && !self.exchange.has_unread();
        let settings = &self.site.settings;
        if is_done && settings.max_instance_reuse > 1 {
            let is_current = || Arc::ptr_eq(&self.site, &handler.site());
            handler
                .idle
                .keep(instance, self.taken, settings, is_current)
                .await;
        } else {
            drop(instance); // Every connection that the guest still held is back now.
        }
        drop(self.place);
    }
}
