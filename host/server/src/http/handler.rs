//! Runs one request: its place, its guest and its deadline.

use std::future::{pending, poll_fn};
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use futures_channel::oneshot;
use http::{Method, Request, Response, StatusCode, Uri, Version, uri};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use millpond_wasmtime::SqliteCtx;
use tokio::sync::{Semaphore, watch};
use tokio::task::spawn_blocking;
use wasmtime_wasi_http::WasiBody;

use crate::admin::Watch;
use crate::config::{Name, Size};
use crate::guest::Guest;
use crate::http::access_log::{Line, log_refusal};
use crate::http::answer::{self, Answer, Outgoing};
use crate::http::background::Background;
use crate::http::bounds::{Full, RequestPlace, Tally, counted_as};
use crate::http::compression::{Coding, compress};
use crate::http::disconnect::DisconnectWatcher;
use crate::http::epochs::Epochs;
use crate::http::exchange::Client;
use crate::http::guest_output::GuestOutput;
use crate::http::instances::{Found, Idle, Instance};
use crate::http::listener::Service;
use crate::http::refusal::{
    lost, shutting_down, timed_out, without_database, without_tenant, wrong_body,
};
use crate::http::request::{self, Limits, TOO_LARGE};
use crate::http::task::Task;
use crate::http::upload::{Reading, Upload};
use crate::log::{Event, Log};
use crate::site::{Component, Site, Target};
use crate::tenant::{Refusal, TenantResolver};

/// How long after its deadline a client waits for its guest to end. A guest that computes ends at
/// the end of its turn, unless the processors are overloaded.
const ENDING_GRACE: Duration = Duration::from_millis(50);

const NO_ROUTE: &str = "no route of this server fits\n";

/// What all requests share.
pub(super) struct Handler {
    site: RwLock<Arc<Site>>,
    pub(super) log: Arc<dyn Log>,
    pub(super) watch: Arc<Watch>,
    max_requests: u32,
    pub(super) idle: Idle,
    /// A permit for every request that may run. A guest keeps its permit until its store is
    /// dropped, or waits for another request.
    places: Arc<Semaphore>,
    by_client: Tally<IpAddr>,
    by_tenant: Tally<(Name, String)>,
    requests: AtomicU64,
    /// Dropped when every guest must end.
    end: Mutex<Option<watch::Sender<()>>>,
    pub(super) ended: watch::Receiver<()>,
    disconnects: DisconnectWatcher,
    pub(super) background: Arc<Background>,
    pub(super) epochs: Epochs,
}

impl Handler {
    /// # Errors
    ///
    /// The system has no more threads or descriptors.
    pub(super) fn new(site: Site, watch: Arc<Watch>) -> io::Result<Handler> {
        let (end, ended) = watch::channel(());
        let max_requests = site.settings.max_requests;
        let places = Arc::new(Semaphore::new(max_requests as usize));
        watch.set_places(Arc::clone(&places), max_requests);
        let epochs = Epochs::start(Arc::clone(&places), max_requests)?;
        epochs.add(site.engines());
        Ok(Handler {
            site: RwLock::new(Arc::new(site)),
            log: Arc::clone(&watch) as _,
            watch,
            max_requests,
            idle: Idle::default(),
            places,
            by_client: Tally::default(),
            by_tenant: Tally::default(),
            requests: AtomicU64::new(0),
            end: Mutex::new(Some(end)),
            ended,
            disconnects: DisconnectWatcher::default(),
            background: Arc::new(Background::start(max_requests)?),
            epochs,
        })
    }

    /// What the configuration means now. A request uses the same one until its end.
    pub(super) fn site(&self) -> Arc<Site> {
        Arc::clone(&self.site.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Handle the requests from now on as this says.
    pub(super) fn replace_site(&self, site: Site) -> Arc<Site> {
        self.epochs.add(site.engines());
        let mut current = self.site.write().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut *current, Arc::new(site));
        drop(current);
        // Those that wait are instances of the components before.
        self.idle.dismiss();
        before
    }

    /// Look for clients that have left, and for instances that have waited for too long. Never
    /// returns.
    pub(super) async fn look_for_leftovers(&self) {
        tokio::join!(self.disconnects.look(), self.idle.expire(&self.background));
    }

    /// Wait until no guest runs.
    pub(super) async fn finished(&self) {
        let _ = self.places.acquire_many(self.max_requests).await;
    }

    /// End every guest that still runs, at the end of its turn or after its statement.
    pub(super) fn end_all(&self) {
        self.end
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        self.idle.dismiss();
    }

    fn is_ending(&self) -> bool {
        self.ended.has_changed().is_err()
    }

    /// Handle one request. Dropping this before it is done, because the client disconnected, ends
    /// the guest too.
    #[expect(
        clippy::manual_async_fn,
        reason = "the future of an `async fn` has room for its arguments twice"
    )]
    fn handle(
        self: Arc<Self>,
        mut request: Request<Incoming>,
        client: Client,
    ) -> impl Future<Output = Response<Outgoing>> + Send {
        async move {
            let number = self.next_number();
            let site = self.site();
            let log = Some(Arc::clone(&self.log));
            let mut line = Line::new(number, &request, site.settings.request_timeout, log);
            line.has_many = site.has_many;
            let is_https = client.scheme == uri::Scheme::HTTPS;
            line.traced = self.watch.traced(number, request.headers(), is_https);
            let exchange = Arc::clone(&client.exchange);
            let version = request.version();
            let compression = site.settings.compression;
            let local = client.local;
            let limits = Limits::new(&site.settings);
            let placed = request::check(&mut request, &client.scheme, local)
                .and_then(|()| limits.check(&request))
                .map_err(|(status, text)| Box::new(answer::text(status, text)))
                .and_then(|()| self.place(&site, &mut request, client.address, &mut line));
            let (response, delivery) = match placed {
                Err(response) => (*response, Arc::default()),
                Ok((target, place)) => {
                    let coding = compression.then(|| Coding::preferred(request.headers()));
                    let (site, is_head) = (&site, line.method == Method::HEAD);
                    let placed = Placed {
                        site,
                        target,
                        place,
                    };
                    let (response, delivery) = match self.run(placed, request, client, &line).await
                    {
                        Some(Answer::Guest(response, delivery)) => (response, delivery),
                        Some(Answer::Host(response, hint)) => {
                            line.hint = hint;
                            (response, Arc::default())
                        }
                        None => return Outgoing::unread(line, exchange),
                    };
                    match coding {
                        Some(coding) => (compress(response, coding, is_head), delivery),
                        None => (response, delivery),
                    }
                }
            };
            Outgoing::wrap(response, version, line, exchange, delivery)
        }
    }

    /// Where a request goes, and a place for it; or the response of the host.
    fn place<'a>(
        &self,
        site: &'a Site,
        request: &mut Request<Incoming>,
        client: IpAddr,
        line: &mut Line,
    ) -> Result<(&'a Target, RequestPlace), Box<Response<WasiBody>>> {
        let target = site
            .route(request)
            .ok_or_else(|| Box::new(answer::text(StatusCode::NOT_FOUND, NO_ROUTE)))?;
        line.component = Some(target.component.name.clone());
        if let Some(resolver) = &target.tenant {
            let tenant = tenant_of(resolver, request);
            line.tenant = Some(tenant.map_err(|refusal| {
                line.hint = Some(refusal.reason());
                Box::new(without_tenant(&refusal))
            })?);
        }
        let settings = &site.settings;
        let tenant = line.tenant.clone();
        let tenant = tenant.map(|tenant| (target.component.name.clone(), tenant));
        let mut busy = |hint, status, text| {
            line.hint = Some(hint);
            Box::new(answer::text(status, text))
        };
        let of_client = self
            .by_client
            .limited(Some(counted_as(client)), settings.max_client_requests)
            .map_err(|Full| {
                busy(
                    "see max-client-requests",
                    StatusCode::TOO_MANY_REQUESTS,
                    "the server runs as many requests for you as it may: try again\n",
                )
            })?;
        let of_tenant = self
            .by_tenant
            .limited(tenant, settings.max_tenant_requests)
            .map_err(|Full| {
                busy(
                    "see max-tenant-requests",
                    StatusCode::TOO_MANY_REQUESTS,
                    "the server runs as many requests for this tenant as it may: try again\n",
                )
            })?;
        let of_all = Arc::clone(&self.places).try_acquire_owned().map_err(|_| {
            busy(
                "see max-requests",
                StatusCode::SERVICE_UNAVAILABLE,
                "the server runs its maximum number of requests: try again\n",
            )
        })?;
        self.epochs.guest_begins();
        let place = RequestPlace::new(of_all, of_client, of_tenant);
        Ok((target, place))
    }

    /// Report once that a guest asks for what it was not granted.
    pub(super) fn tell_of_database(&self, request: u64, component: &Component, guest: &Guest) {
        if let Some(name) = guest.unknown_database()
            && !component.told_of_database.swap(true, Ordering::Relaxed)
        {
            self.log.event(&Event::UnknownDatabase { request, name });
        }
    }

    /// An instance that waits for another request, if one fits; otherwise there is room for a new
    /// one. And the request's `place`, without which it does not have that room. `None` if dropping
    /// an instance panicked, which is the host's bug.
    pub(super) async fn idle_instance(
        &self,
        component: &Arc<Component>,
        tenant: Option<&str>,
        place: RequestPlace,
    ) -> Option<(Option<Instance>, RequestPlace)> {
        match self.idle.take(component, tenant, &self.places) {
            Found::Reused(instance) => Some((Some(instance), place)),
            Found::Excess(Some(excess)) if excess.is_large() => {
                // Not in the background: the request waits for it. If its client leaves meanwhile,
                // its place is not free before the instance's room is.
                let room = spawn_blocking(move || {
                    drop(excess);
                    place
                });
                Some((None, room.await.ok()?))
            }
            Found::Excess(_) => Some((None, place)),
        }
    }

    /// A new instance for a request.
    pub(super) fn new_instance(
        &self,
        site: &Site,
        component: &Arc<Component>,
        number: u64,
        tenant: Option<&str>,
        sqlite: SqliteCtx,
    ) -> Instance {
        let output = GuestOutput::new(number, site.max_output_size(), Arc::clone(&self.log));
        let tenant = tenant.map(Arc::from);
        Instance::new(Arc::clone(component), sqlite, output, tenant)
    }

    fn next_number(&self) -> u64 {
        self.requests.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// What a component may use for a request; or the response of the host if it cannot have that
    /// in time.
    async fn context(&self, component: &Component, line: &Line) -> Result<SqliteCtx, Box<Answer>> {
        let (number, deadline) = (line.number, line.deadline);
        let tenant = line.tenant.as_deref();
        let context = component.grants.context(number, Some(deadline), tenant);
        let mut ended = self.ended.clone();
        let context = tokio::select! {
            biased;
            context = tokio::time::timeout_at(deadline.into(), context) => context,
            _ = ended.changed() => return Err(Box::new(shutting_down())),
        };
        match context {
            Ok(Ok(sqlite)) => Ok(sqlite),
            Ok(Err(error)) => Err(Box::new(without_database(&*self.log, number, &error))),
            Err(_) => Err(Box::new(timed_out())),
        }
    }

    /// Run a guest until it answers. `None`: the client disconnected.
    #[expect(
        clippy::manual_async_fn,
        reason = "the future of an `async fn` has room for its arguments twice"
    )]
    fn run(
        self: Arc<Self>,
        placed: Placed<'_>,
        request: Request<Incoming>,
        client: Client,
        line: &Line,
    ) -> impl Future<Output = Option<Answer>> + Send {
        async move {
            let number = line.number;
            let deadline = line.deadline;
            let component = &placed.target.component;
            let sqlite = match self.context(component, line).await {
                Ok(sqlite) => sqlite,
                Err(answer) => return Some(*answer),
            };
            // Over this, hyper does not notice a disconnect before the response, so a probe must.
            // An HTTP/1.0 client is assumed to wait. Otherwise hyper notices, while the connection
            // is polled; and a probe would go around it, and around TLS.
            let is_plain_http11 =
                request.version() == Version::HTTP_11 && client.scheme == uri::Scheme::HTTP;
            let most = placed.site.settings.max_body_size.map(Size::bytes);
            let reading = Arc::new(Reading::of(request.body()));
            let request = request
                .map(|body| Upload::new(body, &client, most, Arc::clone(&reading)).boxed_unsync());
            let (watched, client_left) =
                self.disconnects
                    .watch(number, client, is_plain_http11, sqlite.request().clone());
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
                tenant: line.tenant.clone(),
                site: Arc::clone(placed.site),
                place: placed.place,
                delivery: Arc::default(),
                reading: Arc::clone(&reading),
                traced: line.traced.clone(),
            };
            let (sender, answer) = oneshot::channel();
            let guest = task.run(Arc::clone(&self), request, sender, gone);
            let guest = Box::pin(guest);
            let answer = match is_plain_http11 {
                true => answered_by(guest, answer, deadline).await,
                false => {
                    // Its connection must be polled meanwhile.
                    tokio::spawn(guest);
                    answered(answer, deadline).await
                }
            };
            let is_gone = watched.answered();
            match answer {
                _ if reading.is_too_large() => Some(wrong_body(TOO_LARGE)),
                Some(answer) => Some(answer),
                None if Instant::now() >= deadline => Some(timed_out()),
                None if self.is_ending() => Some(shutting_down()),
                None if is_gone => None,
                None => Some(lost()),
            }
        }
    }
}

/// Poll a guest until it answers. `None`: it does not, or not in time.
async fn answered_by(
    mut guest: Pin<Box<impl Future<Output = ()> + Send + 'static>>,
    mut answer: oneshot::Receiver<Answer>,
    deadline: Instant,
) -> Option<Answer> {
    let mut is_over = false;
    let answer = poll_fn(|cx| {
        is_over = is_over || guest.as_mut().poll(cx).is_ready();
        Pin::new(&mut answer).poll(cx)
    });
    let answer = answered(answer, deadline).await;
    if !is_over {
        // It may have work to do after its response, or end later than its client waits.
        tokio::spawn(guest);
    }
    answer
}

/// Wait for an answer. A guest that runs in the background may end later than at the deadline, and
/// the client does not wait for that.
async fn answered(
    answer: impl Future<Output = Result<Answer, oneshot::Canceled>>,
    deadline: Instant,
) -> Option<Answer> {
    let until = deadline + ENDING_GRACE;
    tokio::time::timeout_at(until.into(), answer)
        .await
        .ok()?
        .ok()
}

/// The tenant of a request, whose target becomes what the guest is to see; or why there is
/// none.
fn tenant_of(
    resolver: &TenantResolver,
    request: &mut Request<Incoming>,
) -> Result<String, Refusal> {
    if request.extensions().get::<request::TwoHosts>().is_some() {
        // A proxy may have gone by the other.
        return Err(Refusal::Malformed("the two hosts are not the same"));
    }
    let tenant = resolver.resolve(request)?;
    if let Some(path) = tenant.path {
        let mut parts = request.uri().clone().into_parts();
        parts.path_and_query = Some(path);
        // The parts of a URI, with another path, are a URI.
        if let Ok(uri) = Uri::from_parts(parts) {
            *request.uri_mut() = uri;
        }
    }
    Ok(tenant.key.to_string())
}

/// Where a request goes, and its place.
struct Placed<'a> {
    site: &'a Arc<Site>,
    target: &'a Target,
    place: RequestPlace,
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
