//! Runs one request: its place, its thread, its guest and its deadline.
//!
//! Statements run on the thread that polls the guest, so guests that share a thread would wait for
//! each other. A guest runs on its connection's own thread, or alone on a blocking thread of the
//! runtime.

use std::future::{pending, poll_fn};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_channel::oneshot;
use http::{Request, Response, StatusCode, Version};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use millpond_wasmtime::SqliteCtx;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use wasmtime::component::InstancePre;
use wasmtime::{AsContextMut, Engine, PoolConcurrencyLimitError, Store};
use wasmtime_wasi_http::handler::{Prepared, Proxy, ProxyPre};
use wasmtime_wasi_http::p2::bindings::http::types::Scheme;
use wasmtime_wasi_http::{Error, WasiBody, WasiHttpView, p2, p3};

use crate::databases::Databases;
use crate::failure::{guest_ended, guest_failure};
use crate::guest::{Guest, GuestSettings};
use crate::http::HttpSettings;
use crate::http::access_log::{Line, log_refusal};
use crate::http::answer::{self, Outgoing};
use crate::http::disconnect::DisconnectWatcher;
use crate::http::exchange::{Client, Upload};
use crate::http::guest_output::GuestOutput;
use crate::http::listener::Service;
use crate::http::request;
use crate::interfaces::Role;
use crate::log::{Event, Log};

type Answer = Result<Response<WasiBody>, wasmtime::Error>;

/// The component's handler, ready to be instantiated.
pub(super) fn proxy(role: Role, pre: InstancePre<Guest>) -> wasmtime::Result<ProxyPre<Guest>> {
    match role {
        Role::Http03 => Ok(ProxyPre::P3(p3::bindings::ServicePre::new(pre)?)),
        _ => Ok(ProxyPre::P2(p2::bindings::ProxyPre::new(pre)?)),
    }
}

/// What all requests share.
pub(super) struct Handler {
    engine: Engine,
    pre: ProxyPre<Guest>,
    guest: GuestSettings,
    databases: Databases,
    log: Arc<dyn Log>,
    request_timeout: Duration,
    access_log: bool,
    max_output_size: usize,
    /// The message that a database is not granted has been written.
    told_of_database: AtomicBool,
    max_requests: u32,
    /// A permit for every request that may run. A guest keeps its permit until its store is
    /// dropped.
    places: Arc<Semaphore>,
    requests: AtomicU64,
    /// Dropped when every guest must end.
    end: Mutex<Option<watch::Sender<()>>>,
    ended: watch::Receiver<()>,
    disconnects: DisconnectWatcher,
}

impl Handler {
    pub(super) fn new(
        engine: Engine,
        pre: ProxyPre<Guest>,
        guest: GuestSettings,
        databases: Databases,
        http: &HttpSettings,
        log: Arc<dyn Log>,
    ) -> Handler {
        let (end, ended) = watch::channel(());
        Handler {
            engine,
            pre,
            guest,
            databases,
            log,
            request_timeout: http.request_timeout,
            access_log: http.access_log,
            max_output_size: http.max_output_size,
            told_of_database: AtomicBool::new(false),
            max_requests: http.max_requests,
            places: Arc::new(Semaphore::new(http.max_requests as usize)),
            requests: AtomicU64::new(0),
            end: Mutex::new(Some(end)),
            ended,
            disconnects: DisconnectWatcher::default(),
        }
    }

    /// Background work. Never returns.
    pub(super) async fn watch_clients(&self) {
        self.disconnects.look().await;
    }

    pub(super) fn databases(&self) -> &Databases {
        &self.databases
    }

    /// Wait until no guest runs.
    pub(super) async fn finished(&self) {
        let _ = self.places.acquire_many(self.max_requests).await;
    }

    /// End every guest that still runs, as soon as its thread is not inside a statement.
    pub(super) fn end_all(&self) {
        self.end
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
    }

    fn is_ending(&self) -> bool {
        self.ended.has_changed().is_err()
    }

    /// Handle one request. Dropping this before it is done, because the client disconnected, ends
    /// the guest too.
    async fn handle(
        self: Arc<Self>,
        mut request: Request<Incoming>,
        client: Client,
    ) -> Response<Outgoing> {
        let number = self.next_number();
        let mut line = Line::new(
            number,
            &request,
            self.access_log.then(|| Arc::clone(&self.log)),
        );
        let cut = Arc::new(AtomicBool::new(false));
        let exchange = Arc::clone(&client.exchange);
        let refused = request::check(&mut request, client.socket.local_addr().ok()).err();
        let response = match (refused, Arc::clone(&self.places).try_acquire_owned()) {
            (Some((status, text)), _) => answer::text(status, text),
            (None, Ok(place)) => {
                let cut = Arc::clone(&cut);
                match self.run(request, client, &line, place, cut).await {
                    Some((response, hint)) => {
                        line.hint = hint;
                        response
                    }
                    None => return Outgoing::unread(line, exchange),
                }
            }
            (None, Err(_)) => {
                line.hint = Some("see max-requests");
                answer::text(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "the server runs its maximum number of requests: try again\n",
                )
            }
        };
        Outgoing::wrap(response, line, exchange, cut)
    }

    /// Report once that a guest asks for what it was not granted.
    fn tell_of_database(&self, request: u64, guest: &Guest) {
        if let Some(name) = guest.unknown_database()
            && !self.told_of_database.swap(true, Ordering::Relaxed)
        {
            self.log.event(&Event::UnknownDatabase { request, name });
        }
    }

    fn next_number(&self) -> u64 {
        self.requests.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// The response, and a hint for the log if it is the host's. `None`: the client disconnected.
    async fn run(
        self: Arc<Self>,
        request: Request<Incoming>,
        client: Client,
        line: &Line,
        place: OwnedSemaphorePermit,
        cut: Arc<AtomicBool>,
    ) -> Option<(Response<WasiBody>, Option<&'static str>)> {
        let (number, deadline) = (line.number, line.since + self.request_timeout);
        let (answer, mut answered) = oneshot::channel();
        let sqlite = self.databases.grant(Some(deadline));
        let broken = Arc::new(AtomicBool::new(false));
        let is_http_11 = request.version() >= Version::HTTP_11;
        let request = request.map(|body| {
            let body = Upload::new(body, &client, Arc::clone(&broken));
            body.map_err(Error::from).boxed_unsync()
        });
        let is_alone = client.is_alone;
        let (watched, client_left) =
            self.disconnects
                .watch(number, client, is_http_11, sqlite.request().clone());
        let gone = async {
            if client_left.await.is_err() {
                // The response has been sent.
                pending().await
            }
        };
        let task = Task {
            number,
            deadline,
            sqlite,
            place,
            cut,
        };
        let handler = Arc::clone(&self);
        let task = async move { task.run(&handler, request, answer, gone).await };
        let answer = if is_alone {
            let mut task = Box::pin(task);
            let (answer, is_over) = poll_fn(|cx| {
                let is_over = task.as_mut().poll(cx).is_ready();
                Pin::new(&mut answered)
                    .poll(cx)
                    .map(|answer| (answer, is_over))
            })
            .await;
            if !is_over {
                // It may have work to do after its response.
                tokio::task::spawn_local(task);
            }
            answer.ok()
        } else {
            let runtime = Handle::current();
            tokio::task::spawn_blocking(move || runtime.block_on(task));
            // The client does not wait for the guest to notice the deadline.
            let answer = tokio::time::timeout_at(deadline.into(), answered).await;
            answer.ok().and_then(Result::ok)
        };
        let is_gone = watched.answered();
        let error = match answer {
            Some(Ok(response)) if response.status().is_informational() => {
                let status = response.status().as_u16();
                // RFC 9110, 15.2: the client would wait for another response.
                Some(wasmtime::format_err!(
                    "its response has the status {status}, which is not final"
                ))
            }
            Some(Ok(response)) => return Some((response, None)),
            Some(Err(error)) => Some(error),
            None if Instant::now() >= deadline => {
                let response = answer::text(
                    StatusCode::GATEWAY_TIMEOUT,
                    "the request took longer than this server allows\n",
                );
                return Some((response, Some("see request-timeout")));
            }
            None if self.is_ending() => {
                let response = answer::text(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "the server is shutting down\n",
                );
                return Some((response, None));
            }
            None if is_gone => return None,
            // The guest ended without a response, and its thread has reported why.
            None => None,
        };
        let hint = error.as_ref().map_or("the guest failed", guest_ended);
        Some(match error {
            _ if broken.load(Ordering::Acquire) => {
                let response = answer::text(
                    StatusCode::BAD_REQUEST,
                    "the request's body is incomplete or malformed\n",
                );
                (response, None)
            }
            Some(error) => (failed(&*self.log, number, &error), Some(hint)),
            None => (guest_failed(), Some(hint)),
        })
    }
}

/// Handles a client's requests.
#[derive(Clone)]
pub(super) struct Requests(pub(super) Arc<Handler>);

impl Service for Requests {
    fn handle(
        &self,
        request: Request<Incoming>,
        client: Client,
    ) -> impl Future<Output = Response<Outgoing>> + Send {
        Arc::clone(&self.0).handle(request, client)
    }

    fn refused(&self, status: StatusCode, reason: &hyper::Error) {
        if self.0.access_log {
            log_refusal(&*self.0.log, self.0.next_number(), status, reason);
        }
    }
}

/// Responds with the pools' counters.
#[derive(Clone)]
pub(super) struct Counters(pub(super) Arc<Handler>);

impl Service for Counters {
    fn handle(
        &self,
        request: Request<Incoming>,
        client: Client,
    ) -> impl Future<Output = Response<Outgoing>> + Send {
        let answer = answer::json(&self.0.databases.stats_json());
        let line = Line::new(0, &request, None);
        let answer = Outgoing::wrap(answer, line, client.exchange, Arc::default());
        std::future::ready(answer)
    }

    fn refused(&self, _: StatusCode, _: &hyper::Error) {}
}

fn failed(log: &dyn Log, number: u64, error: &wasmtime::Error) -> Response<WasiBody> {
    log_failure(log, number, error);
    match error.downcast_ref::<PoolConcurrencyLimitError>() {
        Some(_) => answer::text(
            StatusCode::SERVICE_UNAVAILABLE,
            "out of instances: try again\n",
        ),
        None => guest_failed(),
    }
}

/// Report why a guest failed. Its client learns nothing of it.
fn log_failure(log: &dyn Log, request: u64, error: &wasmtime::Error) {
    let lines = &guest_failure(error);
    log.event(&Event::GuestFailed { request, lines });
}

fn guest_failed() -> Response<WasiBody> {
    answer::text(StatusCode::INTERNAL_SERVER_ERROR, "the guest failed\n")
}

/// One guest that handles one request.
struct Task {
    number: u64,
    deadline: Instant,
    sqlite: SqliteCtx,
    place: OwnedSemaphorePermit,
    cut: Arc<AtomicBool>,
}

impl Task {
    /// Run the guest to its end, unless the client disconnects before its response.
    async fn run(
        self,
        handler: &Handler,
        request: Request<WasiBody>,
        answer: oneshot::Sender<Answer>,
        client_gone: impl Future<Output = ()>,
    ) {
        let output = GuestOutput::new(
            self.number,
            handler.max_output_size,
            Arc::clone(&handler.log),
        );
        let mut wasi = handler.guest.wasi();
        wasi.stdout(output.clone()).stderr(output);
        let mut store = handler
            .guest
            .store(&handler.engine, wasi.build(), self.sqlite);

        let mut ended = handler.ended.clone();
        let outcome = tokio::select! {
            // A guest whose time is over must not run again.
            biased;
            () = tokio::time::sleep_until(self.deadline.into()) => None,
            () = client_gone => None,
            _ = ended.changed() => None,
            outcome = call(&mut store, &handler.pre, request, answer) => Some(outcome),
        };
        if !matches!(outcome, Some(Ok(()))) {
            // Before the store is dropped, and with it the sending end of the body.
            self.cut.store(true, Ordering::Release);
        }
        if let Some(Err(error)) = outcome {
            log_failure(&*handler.log, self.number, &store.data_mut().explain(error));
        } else if let Some(limit) = store.data().reached() {
            // It went on, and may have responded with an error of its own.
            let request = self.number;
            handler.log.event(&Event::LimitReached { request, limit });
        }
        handler.tell_of_database(self.number, store.data());
        drop(store); // Every connection that the guest still held is back now.
        drop(self.place);
    }
}

/// Run a new instance to its end. An error before the response replaces the response; one after it
/// is returned.
async fn call(
    store: &mut Store<Guest>,
    pre: &ProxyPre<Guest>,
    request: Request<WasiBody>,
    answer: oneshot::Sender<Answer>,
) -> wasmtime::Result<()> {
    let proxy = match pre.instantiate_async(&mut *store).await {
        Ok(proxy) => proxy,
        Err(error) => {
            let _ = answer.send(Err(store.data_mut().explain(error)));
            return Ok(());
        }
    };
    match &proxy {
        Proxy::P2(proxy) => call_02(store, proxy, request, answer).await,
        Proxy::P3(_) => call_03(store, &proxy, request, answer).await,
    }
}

async fn call_02(
    store: &mut Store<Guest>,
    proxy: &p2::bindings::Proxy,
    request: Request<WasiBody>,
    answer: oneshot::Sender<Answer>,
) -> wasmtime::Result<()> {
    let answer = Arc::new(Mutex::new(Some(answer)));
    let take =
        |answer: &Mutex<Option<_>>| answer.lock().unwrap_or_else(PoisonError::into_inner).take();
    let request = store
        .data_mut()
        .http()
        .new_incoming_request(Scheme::Http, request)?;
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
        return outcome;
    };
    let error = match outcome {
        Ok(()) => wasmtime::format_err!("it returned without setting a response"),
        Err(error) => error,
    };
    let _ = answer.send(Err(store.data_mut().explain(error)));
    Ok(())
}

async fn call_03(
    store: &mut Store<Guest>,
    proxy: &Proxy,
    request: Request<WasiBody>,
    answer: oneshot::Sender<Answer>,
) -> wasmtime::Result<()> {
    store
        .run_concurrent(async |accessor| {
            let prepared = accessor.with(|mut store| {
                Prepared::new(store.as_context_mut(), proxy, request, Guest::http, answer)
            })?;
            // The caller enforces the deadline.
            prepared.run(accessor, pending()).await?;
            // The response's body, and the guest's work after it, are separate tasks.
            poll_fn(|cx| accessor.poll_no_interesting_tasks(cx)).await;
            Ok(())
        })
        .await?
}
