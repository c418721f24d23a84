//! Runs a guest for one request, to its end.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Instant;

use futures_channel::oneshot;
use http::Request;
use millpond_wasmtime::SqliteCtx;
use wasmtime_wasi_http::WasiBody;

use crate::admin::Running;
use crate::http::answer::Answer;
use crate::http::bounds::RequestPlace;
use crate::http::call::Responder;
use crate::http::delivery::Delivery;
use crate::http::guest_work::GuestWork;
use crate::http::handler::Handler;
use crate::http::refusal::{failed, wrong_body};
use crate::http::upload::Reading;
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
    pub(super) delivery: Arc<Delivery>,
    /// Of the request's body.
    pub(super) reading: Arc<Reading>,
    pub(super) traced: Option<Arc<TracedRequest>>,
}

impl Task {
    /// Run the guest until it returns, or is stopped: at its deadline, by a shutdown, or when the
    /// client leaves before its response. The answer is the guest's response as soon as there is
    /// one, or the host's once nothing of the guest is left. A guest that is stopped has none.
    #[expect(
        clippy::manual_async_fn,
        reason = "the future of an `async fn` has room for its arguments twice"
    )]
    pub(super) fn run(
        self,
        handler: Arc<Handler>,
        request: Request<WasiBody>,
        answer: oneshot::Sender<Answer>,
        client_gone: impl Future<Output = ()> + Send + 'static,
    ) -> impl Future<Output = ()> + Send + 'static {
        async move {
            let tenant = self.tenant.as_deref();
            let (idle, place) = if self.site.settings.max_instance_reuse > 1 {
                let idle = handler.idle_instance(&self.component, tenant, self.place);
                let Some(idle) = idle.await else {
                    return;
                };
                idle
            } else {
                (None, self.place)
            };
            let instance = match idle {
                Some(mut instance) => {
                    instance.begin_request(self.number, self.sqlite);
                    instance
                }
                None => handler.new_instance(
                    &self.site,
                    &self.component,
                    self.number,
                    tenant,
                    self.sqlite,
                ),
            };
            let component = &*self.component;
            let held = Held {
                place,
                running: handler.watch.running(component.name.as_str()),
                _traced: self.traced,
            };
            let unfinished = Unfinished(Some(Arc::clone(&self.delivery)));
            let responder = Responder::new(answer, Arc::clone(&self.delivery));
            let called = responder.clone();
            let mut work = GuestWork::new(&handler.background, |stop| async move {
                // Dropped in the reverse order, also in a panic: the response is cut before the
                // store drops the sending end of its body, and the place is free after all else.
                let held = held;
                let mut instance = instance;
                let unfinished = unfinished;
                let call = instance.call(request, called);
                let outcome = stop.unless_stopped(call).await;
                (unfinished, instance, held, outcome)
            });

            let mut ended = handler.ended.clone();
            let done = tokio::select! {
                biased;
                // A guest whose time is over must not run again.
                () = past(self.deadline) => None,
                () = client_gone => None,
                done = &mut work => Some(done),
                // A guest that does not wait for anything pays for no timer.
                _ = ended.changed() => None,
                () = tokio::time::sleep_until(self.deadline.into()) => None,
            };
            let done = match done {
                Some(done) => done,
                None => work.stop().await,
            };
            // A host's bug: it panicked in the background.
            let Some((mut unfinished, mut instance, held, outcome)) = done else {
                return;
            };
            let unanswered = responder.take();
            let has_responded = unanswered.is_none();
            let ended_well = matches!(outcome, Some(Ok(())));
            if ended_well {
                unfinished.0 = None;
            }
            let error = match outcome {
                Some(Ok(())) if !has_responded => Some(wasmtime::format_err!(
                    "it returned without setting a response"
                )),
                Some(outcome) => outcome.err(),
                None => None,
            };
            let guest = instance.store.data_mut();
            let error = error.map(|error| guest.explain(error));
            if error.is_none()
                && let Some(limit) = guest.reached()
            {
                // It went on, and may have responded with an error of its own.
                let request = self.number;
                handler.log.event(&Event::LimitReached { request, limit });
            }
            handler.tell_of_database(self.number, component, guest);
            // The reason may be its request's body.
            let fault = self.reading.refusal().filter(|_| !has_responded);
            let failed = error.map(|error| match fault {
                Some(refusal) => wrong_body(refusal),
                None => failed(&*handler.log, self.number, component, &error),
            });
            drop(unfinished);
            // The guest may keep its end of an upload that it does not read, and with it what its
            // client has sent of that, or the whole connection.
            let is_done = ended_well && has_responded && self.reading.is_done();
            let settings = &self.site.settings;
            let left = if is_done && settings.max_instance_reuse > 1 {
                let is_current = || Arc::ptr_eq(&self.site, &handler.site());
                let delivery = self.delivery;
                handler.idle.keep(instance, delivery, settings, is_current)
            } else {
                Some(instance)
            };
            let is_large = left.as_ref().is_some_and(|it| it.store.data().is_large());
            // Every connection that the guest still held is back after this.
            let rest = (left, held.place, held.running);
            match is_large {
                true => drop(handler.background.discard(rest).await),
                false => drop(rest),
            }
            // Last: a client that has its answer can rely on the guest holding nothing.
            if let (Some(answer), Some(failed)) = (unanswered, failed) {
                let _ = answer.send(failed);
            }
        }
    }
}

/// What a guest holds until nothing of it is left, wherever that happens.
struct Held {
    place: RequestPlace,
    running: Running,
    /// Until then it may ask for connections.
    _traced: Option<Arc<TracedRequest>>,
}

/// A guest whose work is unfinished. Dropping this, also in a panic, cuts its response.
struct Unfinished(Option<Arc<Delivery>>);

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Some(delivery) = &self.0 {
            delivery.cut();
        }
    }
}

/// Ready if it is polled at `deadline` or later. Does not wake the task by itself.
async fn past(deadline: Instant) {
    poll_fn(|_| match Instant::now() >= deadline {
        true => Poll::Ready(()),
        false => Poll::Pending,
    })
    .await;
}
