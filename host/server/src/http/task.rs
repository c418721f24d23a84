//! Runs a guest for one request, to its end.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll};
use std::thread;
use std::time::{Duration, Instant};

use futures_channel::oneshot;
use http::Request;
use millpond_wasmtime::SqliteCtx;
use tokio::runtime::Handle;
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
        match (unanswered, failure) {
            (Some(answer), Some(error)) => drop(answer.send(Err(error))),
            (None, Some(error)) => log_failure(&*handler.log, self.number, component, &error),
            (_, None) => {}
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

/// A guest's task, where it is polled: by its connection, so that nothing moves between threads from
/// the arrival of a request to its response. That would take longer than a fast guest does.
///
/// Once one poll takes long, because the guest computes, it continues on a thread of its own. There
/// the system lets each guest run in turn, before any has computed for long; in the runtime's queue, all
/// others would wait for one epoch of each guest that computes.
///
/// Ready when the task is over, or has left.
#[derive(Default)]
pub(super) struct Polled(Option<Boxed>);

type Boxed = Pin<Box<dyn Future<Output = ()> + Send>>;

/// How long one poll may take. Less than an epoch: a guest that computes for a whole one has.
const LONG_POLL: Duration = Duration::from_millis(5);

impl Polled {
    pub(super) fn new(task: impl Future<Output = ()> + Send + 'static) -> Polled {
        Polled(Some(Box::pin(task)))
    }
}

impl Future for Polled {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Some(mut task) = self.0.take() else {
            return Poll::Ready(());
        };
        let since = Instant::now();
        if task.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        if since.elapsed() >= LONG_POLL {
            match continue_elsewhere(task) {
                Ok(()) => return Poll::Ready(()),
                // The system has no more threads: it continues here.
                Err(here) => task = here,
            }
        }
        self.0 = Some(task);
        Poll::Pending
    }
}

/// Continue with a task on a thread of its own. There are at most as many as requests.
fn continue_elsewhere(task: Boxed) -> Result<(), Boxed> {
    let (to_thread, from_here) = mpsc::channel::<Boxed>();
    let runtime = Handle::current();
    let thread = thread::Builder::new().name("millpond-guest".to_owned());
    let spawned = thread.spawn(move || {
        lower_priority();
        if let Ok(task) = from_here.recv() {
            runtime.block_on(task);
        }
    });
    match spawned {
        Ok(_) => to_thread.send(task).map_err(|unsent| unsent.0),
        Err(_) => Err(task),
    }
}

/// The thread that calls this runs after others. Otherwise each guest that computes would get as
/// much of the processors as a worker, on which all other requests depend.
fn lower_priority() {
    /// A tenth of the share of the others.
    #[cfg(target_os = "linux")]
    const LESS: i32 = 10;
    // Elsewhere this is of the whole process.
    #[cfg(target_os = "linux")]
    let _ = rustix::process::nice(LESS);
}
