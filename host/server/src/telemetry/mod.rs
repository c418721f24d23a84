//! Sends traces to an OpenTelemetry collector: one of each request, with its connections and
//! statements.
//!
//! The log and the pools' observer call it on the threads that run requests, so it only puts each
//! span into a bounded queue. The task in `export` sends them. OTLP over HTTP with JSON is a `POST`
//! of a document, which needs no library.

mod context;
mod export;
mod open;
mod span;

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use http::HeaderMap;
use millpond_wasmtime::pool::observe::prometheus::prometheus_client::metrics::counter::Counter;
use millpond_wasmtime::pool::observe::{Event, Source, StatementResult};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use self::context::Parent;
use self::open::ByNumber;
use self::span::{Kind, Span};
use crate::config::{self, Endpoint};
use crate::log::Access;
use crate::printable::start_of;

/// The maximum number of spans that wait to be sent. Further ones are dropped.
const MAX_QUEUED: usize = 8_192;
/// The maximum number of connections and statements of one request that have spans: a guest could
/// make enough to leave no room for other requests' spans.
const MAX_REQUEST_SPANS: u32 = 1_000;
/// How much of a statement's text is sent.
const MAX_TEXT_CHARS: usize = 2_000;
/// How long a shutdown waits until all spans are sent.
const MAX_FINISH: Duration = Duration::from_secs(2);

/// The words that may be in a span's name: a guest must not choose the name freely.
const OPERATIONS: [&str; 24] = [
    "ALTER",
    "ANALYZE",
    "ATTACH",
    "BEGIN",
    "COMMIT",
    "CREATE",
    "DELETE",
    "DETACH",
    "DROP",
    "END",
    "EXPLAIN",
    "INSERT",
    "PRAGMA",
    "REINDEX",
    "RELEASE",
    "REPLACE",
    "ROLLBACK",
    "SAVEPOINT",
    "SELECT",
    "TABLE",
    "UPDATE",
    "VACUUM",
    "VALUES",
    "WITH",
];

/// Makes spans of what happens, and queues them for the task that sends them.
#[derive(Debug)]
pub(crate) struct Telemetry {
    collector: Endpoint,
    service: String,
    query_text: bool,
    /// Added to the numbers of spans. Different in each process.
    seed: u64,
    next: AtomicU64,
    open: Open,
    queue: mpsc::Sender<Span>,
    /// `None` once the task that sends them has taken it.
    queued: Mutex<Option<mpsc::Receiver<Span>>>,
    counts: SpanCounts,
    is_ending: watch::Sender<bool>,
    /// Returns whether it has sent all.
    exporting: Mutex<Option<JoinHandle<bool>>>,
}

/// How many spans were sent to the collector, and how many dropped.
#[derive(Clone, Debug, Default)]
pub(crate) struct SpanCounts {
    pub(crate) sent: Counter,
    pub(crate) dropped: Counter,
}

/// What has begun and not ended, by its number.
#[derive(Debug, Default)]
struct Open {
    requests: ByNumber<Arc<Trace>>,
    lendings: ByNumber<Begun>,
    calls: ByNumber<Begun>,
}

/// A request's trace.
#[derive(Debug)]
struct Trace {
    id: [u8; 16],
    /// The request's own span.
    span: [u8; 8],
    parent: Option<[u8; 8]>,
    /// The header `tracestate`.
    state: Option<String>,
    scheme: &'static str,
    children: AtomicU32,
}

/// A connection that a guest has asked for, or a call that runs SQL.
#[derive(Debug)]
struct Begun {
    trace: Arc<Trace>,
    span: [u8; 8],
    parent: [u8; 8],
    since: SystemTime,
    waited: Duration,
}

/// A request that is traced. Keep it as long as the request can ask for connections.
#[derive(Debug)]
pub(crate) struct TracedRequest {
    telemetry: Arc<Telemetry>,
    number: u64,
}

impl Drop for TracedRequest {
    fn drop(&mut self) {
        self.telemetry.open.requests.take(self.number);
    }
}

impl Telemetry {
    /// `None` if the settings name no collector.
    pub(crate) fn new(settings: &config::Telemetry, counts: SpanCounts) -> Option<Arc<Telemetry>> {
        let collector = settings.opentelemetry.clone()?;
        let (queue, queued) = mpsc::channel(MAX_QUEUED);
        Some(Arc::new(Telemetry {
            collector,
            service: settings.service_name.clone(),
            query_text: settings.query_text,
            seed: u64::from_ne_bytes(context::random()),
            next: AtomicU64::new(0),
            open: Open::default(),
            queue,
            queued: Mutex::new(Some(queued)),
            counts,
            is_ending: watch::Sender::new(false),
            exporting: Mutex::default(),
        }))
    }

    /// The request with this number begins. `None` if its client says that it does not record the
    /// trace.
    pub(crate) fn request(
        self: &Arc<Telemetry>,
        number: u64,
        headers: &HeaderMap,
        is_https: bool,
    ) -> Option<Arc<TracedRequest>> {
        let parent = Parent::of(headers);
        if parent.as_ref().is_some_and(|parent| !parent.is_recorded) {
            return None;
        }
        let (id, parent, state) = match parent {
            Some(parent) => (parent.trace, Some(parent.span), parent.state),
            None => (context::random(), None, None),
        };
        let trace = Arc::new(Trace {
            id,
            span: self.next_span(),
            parent,
            state,
            scheme: if is_https { "https" } else { "http" },
            children: AtomicU32::new(0),
        });
        self.open.requests.put(number, trace);
        Some(Arc::new(TracedRequest {
            telemetry: Arc::clone(self),
            number,
        }))
    }

    /// A request's response has been sent.
    pub(crate) fn responded(&self, access: &Access<'_>) {
        let trace = self.trace(access.request);
        let Some(trace) = trace else { return };
        let end = SystemTime::now();
        let status = access.response.map(|sent| sent.status);
        let mut span = Span {
            id: trace.span,
            parent: trace.parent,
            // RFC 9110 lets clients invent methods.
            name: span::method(access.method).unwrap_or("HTTP").to_owned(),
            kind: Kind::Server,
            start: end - access.time,
            end,
            attributes: Vec::new(),
            is_error: false,
            trace: Arc::clone(&trace),
        };
        let method = span::method(access.method).unwrap_or("_OTHER");
        span.text("http.request.method", method);
        span.text("url.scheme", trace.scheme);
        span.text("url.path", access.path);
        span.number("millpond.request", access.request);
        span.optional("millpond.component", access.component);
        span.optional("millpond.tenant", access.tenant);
        if let Some(sent) = access.response {
            span.number("http.response.body.size", sent.bytes);
        }
        match status {
            Some(status) => {
                span.number("http.response.status_code", status.as_u16().into());
                if status.is_server_error() {
                    span.error(status.as_str());
                }
            }
            None => span.error("client_disconnected"),
        }
        self.send(span);
    }

    /// Something has happened in a pool.
    pub(crate) fn observe(&self, source: &Source<'_>, event: &Event<'_>) {
        match *event {
            Event::ConnectionAsked => self.asked(source),
            Event::ConnectionGot { waited, .. } => {
                if let Some(lending) = source.lending {
                    let begun = |begun: &mut Begun| begun.waited = waited;
                    self.open.lendings.look(lending, begun);
                }
            }
            Event::ConnectionNotGot { waited, why, .. } => self.returned(source, |span, begun| {
                begun.waited = waited;
                span.error(why.name());
            }),
            Event::ConnectionReset { .. } => self.returned(source, |_, _| {}),
            Event::StatementBegun { .. } => self.begun(source),
            Event::StatementFinished { .. } => self.finished(source, event),
            _ => {}
        }
    }

    fn asked(&self, source: &Source<'_>) {
        let request = source.request.and_then(|request| request.parse().ok());
        let (Some(request), Some(lending)) = (request, source.lending) else {
            return;
        };
        let Some(trace) = self.trace(request) else {
            return;
        };
        if let Some(begun) = self.child(&trace, trace.span) {
            self.open.lendings.put(lending, begun);
        }
    }

    fn returned(&self, source: &Source<'_>, more: impl FnOnce(&mut Span, &mut Begun)) {
        let Some(lending) = source.lending else {
            return;
        };
        let begun = self.open.lendings.take(lending);
        let Some(mut begun) = begun else { return };
        let name = format!("connection {}", source.database);
        let mut span = begun.end(name, Kind::Internal);
        more(&mut span, &mut begun);
        of_database(&mut span, source);
        let waited = begun.waited.as_secs_f64();
        span.seconds("db.client.connection.wait_time", waited);
        self.send(span);
    }

    fn begun(&self, source: &Source<'_>) {
        let (Some(lending), Some(call)) = (source.lending, source.call) else {
            return;
        };
        let parent = |begun: &mut Begun| (Arc::clone(&begun.trace), begun.span);
        let Some((trace, connection)) = self.open.lendings.look(lending, parent) else {
            return;
        };
        if let Some(begun) = self.child(&trace, connection) {
            self.open.calls.put(call, begun);
        }
    }

    fn finished(&self, source: &Source<'_>, event: &Event<'_>) {
        let Event::StatementFinished {
            sql,
            turn_wait,
            rows,
            changes,
            wrote,
            result,
            ..
        } = *event
        else {
            return;
        };
        let Some(call) = source.call else { return };
        let begun = self.open.calls.take(call);
        let Some(begun) = begun else { return };
        let operation = operation(sql);
        let name = match operation {
            Some(operation) => format!("{operation} {}", source.database),
            None => source.database.to_owned(),
        };
        let mut span = begun.end(name, Kind::Client);
        of_database(&mut span, source);
        span.optional("db.operation.name", operation);
        if self.query_text {
            span.text("db.query.text", &start_of(sql, MAX_TEXT_CHARS));
        }
        span.number("db.response.returned_rows", rows);
        span.number("millpond.changes", changes);
        span.flag("millpond.wrote", wrote);
        span.seconds("millpond.turn_wait", turn_wait.as_secs_f64());
        match result {
            StatementResult::Done => {}
            StatementResult::Failed(kind) => span.error(kind.name()),
            _ => span.error("cancelled"),
        }
        self.send(span);
    }

    /// Begin a span within a request. `None` if the request has [`MAX_REQUEST_SPANS`] already.
    fn child(&self, trace: &Arc<Trace>, parent: [u8; 8]) -> Option<Begun> {
        if trace.children.fetch_add(1, Ordering::Relaxed) >= MAX_REQUEST_SPANS {
            self.counts.dropped.inc();
            return None;
        }
        Some(Begun {
            trace: Arc::clone(trace),
            span: self.next_span(),
            parent,
            since: SystemTime::now(),
            waited: Duration::ZERO,
        })
    }

    fn send(&self, span: Span) {
        if self.queue.try_send(span).is_err() {
            self.counts.dropped.inc();
        }
    }

    /// The number of a new span: unique in this process, and almost certainly among all processes.
    fn next_span(&self) -> [u8; 8] {
        loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            // Zero is no number.
            match context::mixed(self.seed.wrapping_add(number)) {
                0 => continue,
                number => return number.to_be_bytes(),
            }
        }
    }

    /// The trace of the request with this number.
    fn trace(&self, number: u64) -> Option<Arc<Trace>> {
        self.open.requests.look(number, |trace| Arc::clone(trace))
    }
}

impl Begun {
    fn end(&self, name: String, kind: Kind) -> Span {
        Span {
            trace: Arc::clone(&self.trace),
            id: self.span,
            parent: Some(self.parent),
            name,
            kind,
            start: self.since,
            end: SystemTime::now(),
            attributes: Vec::new(),
            is_error: false,
        }
    }
}

fn of_database(span: &mut Span, source: &Source<'_>) {
    // Also on a libSQL server: the conventions have no name for that, and an observer does not know
    // the engine.
    span.text("db.system.name", "sqlite");
    span.text("db.namespace", source.database);
    span.optional("millpond.tenant", source.tenant);
    span.optional("millpond.component", source.guest);
}

/// The kind of statement, if a text begins with one.
fn operation(sql: &str) -> Option<&'static str> {
    let sql = sql.trim_start();
    let end = sql.find(|c: char| !c.is_ascii_alphabetic());
    let word = &sql[..end.unwrap_or(sql.len())];
    let mut known = OPERATIONS.iter().copied();
    known.find(|known| known.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use millpond_sqlite::PoolBuilder;
    use millpond_wasmtime::pool::observe::Observer;
    use millpond_wasmtime::pool::{Access, Grant, Parameters, Request, block_on};

    use super::*;

    #[derive(Debug)]
    struct Told(Arc<Telemetry>);

    impl Observer for Told {
        fn observe(&self, source: &Source<'_>, event: &Event<'_>) {
            self.0.observe(source, event);
        }
    }

    /// No task sends the spans, so all of them wait.
    #[test]
    fn spans_of_a_request_and_those_that_wait_are_bounded() {
        let settings = config::Telemetry {
            opentelemetry: Some("http://127.0.0.1:1".parse().expect("a URL")),
            ..config::Telemetry::default()
        };
        let telemetry = Telemetry::new(&settings, SpanCounts::default()).expect("a collector");
        let pool = PoolBuilder::new().observer(Arc::new(Told(Arc::clone(&telemetry))));
        let pool = pool.open_in_memory().expect("a pool");
        let grant = Grant::new(&pool, Access::ReadOnly);
        let run = |number: u64, statements: u32| {
            let request = Request::new().label(number.to_string());
            block_on(async {
                let connection = grant.get(Access::ReadOnly, &request).await;
                let connection = connection.expect("a connection");
                for _ in 0..statements {
                    let row = connection.query("SELECT 1", &Parameters::NONE).await;
                    row.expect("a row");
                }
            });
        };
        let counts = || {
            let waiting = MAX_QUEUED - telemetry.queue.capacity();
            (waiting as u64, telemetry.counts.dropped.get())
        };
        let traced = |number| telemetry.request(number, &HeaderMap::new(), false);
        // No request of the server, or one that has ended.
        run(1, 1);
        drop(traced(1));
        run(1, 1);
        assert_eq!(counts(), (0, 0));
        let most = u64::from(MAX_REQUEST_SPANS);
        let first = traced(1);
        run(1, MAX_REQUEST_SPANS + 10);
        assert_eq!(counts(), (most, 11));
        drop(first);
        for number in 2..=9 {
            let request = traced(number);
            run(number, MAX_REQUEST_SPANS - 1);
            drop(request);
        }
        let queued = MAX_QUEUED as u64;
        assert_eq!(counts(), (queued, 11 + 9 * most - queued));
        let open = &telemetry.open;
        assert!(open.requests.is_empty() && open.lendings.is_empty() && open.calls.is_empty());
    }

    #[test]
    fn a_span_is_named_after_known_statements_only() {
        for (sql, expected) in [
            ("SELECT 1", Some("SELECT")),
            (" \n insert into t", Some("INSERT")),
            ("COMMIT", Some("COMMIT")),
            ("values(1)", Some("VALUES")),
            ("selector", None),
            ("-- a comment", None),
            ("ß", None),
            ("", None),
        ] {
            assert_eq!(operation(sql), expected, "{sql}");
        }
    }
}
