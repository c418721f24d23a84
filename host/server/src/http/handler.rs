//! Runs one request: its place, its thread, its guest and its deadline.
//!
//! Statements run on the thread that polls the guest, so guests that share a thread would wait for
//! each other. A guest runs on its connection's own thread, or alone on a blocking thread of the
//! runtime.

use std::future::{pending, poll_fn};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Instant;

use futures_channel::oneshot;
use http::{Request, Response, StatusCode, Version};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use millpond_wasmtime::{SqliteCtx, pool};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use wasmtime::{AsContextMut, PoolConcurrencyLimitError, Store};
use wasmtime_wasi_http::handler::{Prepared, Proxy, ProxyPre};
use wasmtime_wasi_http::p2::bindings::http::types::Scheme;
use wasmtime_wasi_http::{Error, WasiBody, WasiHttpView, p2};

use crate::admin::Watch;
use crate::failure::{self, guest_ended, guest_failure};
use crate::guest::Guest;
use crate::http::access_log::{Line, log_refusal};
use crate::http::answer::{self, Outgoing};
use crate::http::disconnect::DisconnectWatcher;
use crate::http::exchange::{Client, Upload};
use crate::http::guest_output::GuestOutput;
use crate::http::listener::Service;
use crate::http::request;
use crate::log::{Event, Log};
use crate::printable::one_line;
use crate::site::{Component, Site, Target};

type Answer = Result<Response<WasiBody>, wasmtime::Error>;

/// What all requests share.
pub(super) struct Handler {
    site: RwLock<Arc<Site>>,
    log: Arc<dyn Log>,
    watch: Arc<Watch>,
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
    pub(super) fn new(site: Site, watch: Arc<Watch>) -> Handler {
        let (end, ended) = watch::channel(());
        let max_requests = site.settings.max_requests;
        let places = Arc::new(Semaphore::new(max_requests as usize));
        watch.set_places(Arc::clone(&places), max_requests);
        Handler {
            site: RwLock::new(Arc::new(site)),
            log: Arc::clone(&watch) as _,
            watch,
            max_requests,
            places,
            requests: AtomicU64::new(0),
            end: Mutex::new(Some(end)),
            ended,
            disconnects: DisconnectWatcher::default(),
        }
    }

    /// What the configuration means now. A request uses the same one until its end.
    pub(super) fn site(&self) -> Arc<Site> {
        Arc::clone(&self.site.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Handle the requests from now on as this says.
    pub(super) fn replace_site(&self, site: Site) -> Arc<Site> {
        let mut current = self.site.write().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *current, Arc::new(site))
    }

    /// Background work. Never returns.
    pub(super) async fn watch_clients(&self) {
        self.disconnects.look().await;
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
        let site = self.site();
        let mut line = Line::new(number, &request, Some(Arc::clone(&self.log)));
        line.has_many = site.has_many;
        let cut = Arc::new(AtomicBool::new(false));
        let exchange = Arc::clone(&client.exchange);
        let local = client.socket.local_addr().ok();
        let placed = request::check(&mut request, local)
            .map_err(|(status, text)| answer::text(status, text))
            .and_then(|()| self.place(&site, &request, &mut line));
        let response = match placed {
            Err(response) => response,
            Ok((target, place)) => {
                let run = Run {
                    site: &site,
                    target,
                    place,
                    cut: Arc::clone(&cut),
                };
                match self.run(run, request, client, &mut line).await {
                    Some((response, hint)) => {
                        line.hint = hint;
                        response
                    }
                    None => return Outgoing::unread(line, exchange),
                }
            }
        };
        Outgoing::wrap(response, line, exchange, cut)
    }

    /// Where a request goes, and a place for it; or the response of the host.
    fn place<'a>(
        &self,
        site: &'a Site,
        request: &Request<Incoming>,
        line: &mut Line,
    ) -> Result<(&'a Target, OwnedSemaphorePermit), Response<WasiBody>> {
        let target = site
            .route(request)
            .ok_or_else(|| answer::text(StatusCode::NOT_FOUND, "no route of this server fits\n"))?;
        line.component = Some(target.component.name.clone());
        let place = Arc::clone(&self.places).try_acquire_owned();
        place.map(|place| (target, place)).map_err(|_| {
            line.hint = Some("see max-requests");
            answer::text(
                StatusCode::SERVICE_UNAVAILABLE,
                "the server runs its maximum number of requests: try again\n",
            )
        })
    }

    /// Report once that a guest asks for what it was not granted.
    fn tell_of_database(&self, request: u64, component: &Component, guest: &Guest) {
        if let Some(name) = guest.unknown_database()
            && !component.told_of_database.swap(true, Ordering::Relaxed)
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
        run: Run<'_>,
        request: Request<Incoming>,
        client: Client,
        line: &mut Line,
    ) -> Option<(Response<WasiBody>, Option<&'static str>)> {
        let number = line.number;
        let deadline = line.since + run.site.settings.request_timeout;
        let component = &run.target.component;
        let (answer, mut answered) = oneshot::channel();
        let sqlite = match component.grants.context(number, Some(deadline), None).await {
            Ok(sqlite) => sqlite,
            Err(error) => return Some((self.without_database(number, &error), None)),
        };
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
            component: Arc::clone(component),
            max_output_size: run.site.max_output_size(),
            place: run.place,
            cut: run.cut,
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
            Some(error) => (failed(&*self.log, number, component, &error), Some(hint)),
            None => (guest_failed(), Some(hint)),
        })
    }
}

impl Handler {
    /// The response to a request whose tenant's database cannot be had.
    fn without_database(&self, request: u64, error: &pool::Error) -> Response<WasiBody> {
        match error.kind() {
            pool::ErrorKind::NoSuchDatabase => {
                answer::text(StatusCode::NOT_FOUND, "there is no such tenant\n")
            }
            pool::ErrorKind::Unavailable | pool::ErrorKind::PoolTimeout { .. } => answer::text(
                StatusCode::SERVICE_UNAVAILABLE,
                "the database is not available: try again\n",
            ),
            _ => {
                let reason = &one_line(&error.to_string());
                self.log.event(&Event::DatabaseFailed { request, reason });
                answer::text(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "the database cannot be opened\n",
                )
            }
        }
    }
}

/// What is needed to run a request.
struct Run<'a> {
    site: &'a Site,
    target: &'a Target,
    place: OwnedSemaphorePermit,
    cut: Arc<AtomicBool>,
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
        log_refusal(&*self.0.log, self.0.next_number(), status, reason);
    }
}

fn failed(
    log: &dyn Log,
    number: u64,
    component: &Component,
    error: &wasmtime::Error,
) -> Response<WasiBody> {
    log_failure(log, number, component, error);
    match error.downcast_ref::<PoolConcurrencyLimitError>() {
        Some(_) => answer::text(
            StatusCode::SERVICE_UNAVAILABLE,
            "out of instances: try again\n",
        ),
        None => guest_failed(),
    }
}

/// Report why a guest failed. Its client learns nothing of it.
fn log_failure(log: &dyn Log, request: u64, component: &Component, error: &wasmtime::Error) {
    log.event(&Event::GuestFailed {
        request,
        component: component.name.as_str(),
        cause: failure::kind(error),
        lines: &guest_failure(error),
    });
}

fn guest_failed() -> Response<WasiBody> {
    answer::text(StatusCode::INTERNAL_SERVER_ERROR, "the guest failed\n")
}

/// One guest that handles one request.
struct Task {
    number: u64,
    deadline: Instant,
    sqlite: SqliteCtx,
    component: Arc<Component>,
    max_output_size: usize,
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
        let component = &*self.component;
        let log = Arc::clone(&handler.log);
        let output = GuestOutput::new(self.number, self.max_output_size, log);
        let mut wasi = component.guest.wasi();
        wasi.stdout(output.clone()).stderr(output);
        let guest = &component.guest;
        let _running = handler.watch.running(component.name.as_str());
        let mut store = guest.store(&component.engine, wasi.build(), self.sqlite);

        let mut ended = handler.ended.clone();
        let outcome = tokio::select! {
            // A guest whose time is over must not run again.
            biased;
            () = tokio::time::sleep_until(self.deadline.into()) => None,
            () = client_gone => None,
            _ = ended.changed() => None,
            outcome = call(&mut store, &component.pre, request, answer) => Some(outcome),
        };
        if !matches!(outcome, Some(Ok(()))) {
            // Before the store is dropped, and with it the sending end of the body.
            self.cut.store(true, Ordering::Release);
        }
        if let Some(Err(error)) = outcome {
            let error = store.data_mut().explain(error);
            log_failure(&*handler.log, self.number, component, &error);
        } else if let Some(limit) = store.data().reached() {
            // It went on, and may have responded with an error of its own.
            let request = self.number;
            handler.log.event(&Event::LimitReached { request, limit });
        }
        handler.tell_of_database(self.number, component, store.data());
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
