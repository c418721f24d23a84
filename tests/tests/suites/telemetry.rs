//! Traces that a server sends to an OpenTelemetry collector: here a real HTTP server, which accepts
//! nothing but OTLP's JSON.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use millpond_tests::component;
use serde::Deserialize;
use serde_json::Value;

use crate::process::{Server, millpond, text};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CLIENT: &str = "b7ad6b7169203331";

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Document {
    resource_spans: Vec<ResourceSpans>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ResourceSpans {
    resource: Resource,
    scope_spans: Vec<ScopeSpans>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Resource {
    attributes: Vec<Attribute>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ScopeSpans {
    scope: Scope,
    spans: Vec<Span>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Scope {
    name: String,
    version: String,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Span {
    trace_id: String,
    span_id: String,
    parent_span_id: Option<String>,
    trace_state: Option<String>,
    name: String,
    kind: u8,
    start_time_unix_nano: String,
    end_time_unix_nano: String,
    attributes: Vec<Attribute>,
    status: Option<Status>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Attribute {
    key: String,
    value: AnyValue,
}

#[derive(Clone, Debug, Deserialize, PartialEq)]
enum AnyValue {
    #[serde(rename = "stringValue")]
    Text(String),
    /// A 64-bit number, which is a text in JSON.
    #[serde(rename = "intValue")]
    Int(String),
    #[serde(rename = "doubleValue")]
    Double(f64),
    #[serde(rename = "boolValue")]
    Bool(bool),
}

#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct Status {
    code: u8,
}

impl Span {
    fn times(&self) -> (u64, u64) {
        let [start, end] = [&self.start_time_unix_nano, &self.end_time_unix_nano];
        (start.parse().expect("a time"), end.parse().expect("a time"))
    }

    fn attributes(&self) -> BTreeMap<&str, String> {
        let shown = |value: &AnyValue| match value {
            AnyValue::Text(text) | AnyValue::Int(text) => text.clone(),
            AnyValue::Double(seconds) => {
                assert!((0.0..60.0).contains(seconds));
                "a time".to_owned()
            }
            AnyValue::Bool(flag) => flag.to_string(),
        };
        let attributes = self.attributes.iter();
        attributes
            .map(|attribute| (&*attribute.key, shown(&attribute.value)))
            .collect()
    }

    fn is_in(&self, parent: &Span) -> bool {
        let ((start, end), (from, to)) = (self.times(), parent.times());
        self.trace_id == parent.trace_id
            && self.parent_span_id.as_ref() == Some(&parent.span_id)
            && start <= end
            && from <= start
            // A connection is returned after the response has been sent.
            && (end <= to || parent.kind == 2)
    }
}

fn check_id(id: &str, digits: usize) {
    assert!(id.len() == digits && id.chars().any(|c| c != '0'), "{id}");
    let is_hex = |c: char| matches!(c, '0'..='9' | 'a'..='f');
    assert!(id.chars().all(is_hex), "{id}");
}

/// A collector, with the bodies that it gets.
struct Collector {
    port: u16,
    bodies: Receiver<String>,
    /// The collector ends when this is dropped.
    _runtime: tokio::runtime::Runtime,
}

impl Collector {
    /// Starts one that answers with these statuses, and then accepts everything. It never answers a
    /// request whose status is `None`.
    fn start(answers: &[Option<u16>]) -> Collector {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let (sender, bodies) = channel();
        let answers = Arc::new(Mutex::new(VecDeque::from(answers.to_vec())));
        let collect = move |headers: HeaderMap, body: String| async move {
            assert_eq!(headers["content-type"], "application/json");
            sender.send(body).expect("a test");
            let answer = answers.lock().expect("no panic").pop_front();
            let Some(status) = answer.unwrap_or(Some(200)) else {
                std::future::pending().await
            };
            (StatusCode::from_u16(status).expect("a status"), "{}")
        };
        let routes = Router::new().route("/v1/traces", post(collect));
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0"));
        let listener = listener.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        runtime.spawn(async move { axum::serve(listener, routes).await });
        Collector {
            port,
            bodies,
            _runtime: runtime,
        }
    }

    fn body(&self) -> String {
        let body = self.bodies.recv_timeout(Duration::from_secs(60));
        body.expect("a document")
    }
}

fn spans(body: &str) -> Vec<Span> {
    let document: Document = serde_json::from_str(body).expect(body);
    let [of_resource] = &document.resource_spans[..] else {
        panic!("{document:?}");
    };
    let service = &of_resource.resource.attributes[0];
    assert_eq!(service.key, "service.name");
    assert_eq!(service.value, AnyValue::Text("shop".to_owned()));
    let [of_scope] = &of_resource.scope_spans[..] else {
        panic!("{document:?}");
    };
    assert_eq!(of_scope.scope.name, "millpond");
    assert!(!of_scope.scope.version.is_empty());
    for span in &of_scope.spans {
        check_id(&span.trace_id, 32);
        check_id(&span.span_id, 16);
        span.parent_span_id.iter().for_each(|id| check_id(id, 16));
    }
    of_scope.spans.clone()
}

fn serve(folder: &Path, port: u16, telemetry: &str) -> Server {
    let guest = component("hostile_serves").to_str().expect("a path");
    let text = format!(
        "listeners = [{{ address = \"127.0.0.1:0\" }}]
        admin = {{ address = \"127.0.0.1:0\" }}
        telemetry = {{ opentelemetry = \"http://127.0.0.1:{port}\", service-name = \"shop\"{telemetry} }}
        [components.app]
        file = {guest:?}
        grants.default = {{ database = \"app\" }}
        [databases.app]
        file = \"app.db\"\n"
    );
    let file = folder.join("millpond.toml");
    std::fs::write(&file, text).expect("a file");
    let mut command = millpond();
    command.args(["serve", "--config"]).arg(file);
    Server::start(command)
}

fn query(server: &Server, headers: &str, sql: &str, answer: &str) {
    let got = server.ask_raw("POST", "/query?a=b", headers, sql.as_bytes());
    assert_eq!(text(&got.is(200).body), answer);
}

#[test]
fn a_request_is_a_trace_of_its_connections_and_statements() {
    let folder = tempfile::tempdir().expect("a folder");
    for query_text in [false, true] {
        let collector = Collector::start(&[]);
        let more = if query_text {
            ", query-text = true"
        } else {
            ""
        };
        let server = serve(folder.path(), collector.port, more);
        let traced =
            |flags| format!("traceparent: 00-{TRACE}-{CLIENT}-{flags}\r\ntracestate: a=1\r\n");
        query(&server, &traced("00"), "SELECT 'hidden'", "answered");
        query(&server, &traced("01"), "SELECT 'secret'", "answered");
        query(&server, "", "SELEC 'secret'", "ErrorKind::Sql");
        // What waits is sent at the end.
        server.terminate();
        assert!(server.wait().success());
        let bodies: Vec<_> = collector.bodies.try_iter().collect();
        assert!(bodies.iter().all(|body| !body.contains("hidden")));
        let has_text = bodies.iter().any(|body| body.contains("secret"));
        assert_eq!(has_text, query_text);
        let all: Vec<_> = bodies.iter().flat_map(|body| spans(body)).collect();
        assert_eq!(all.len(), 6, "{all:#?}");

        let of = |trace: &str| -> Vec<&Span> {
            let spans = all.iter().filter(|span| span.trace_id == trace);
            let mut spans: Vec<_> = spans.collect();
            // The request, its connection and its statement.
            spans.sort_by_key(|span| [0, 1, 0, 2][usize::from(span.kind)]);
            spans
        };
        let own = all.iter().find(|span| span.trace_id != TRACE);
        let own = own.expect("a trace").trace_id.clone();
        for (trace, parent, state) in [(TRACE, Some(CLIENT), Some("a=1")), (&own, None, None)] {
            let [request, connection, statement] = of(trace)[..] else {
                panic!("{all:#?}");
            };
            assert_eq!(request.parent_span_id.as_deref(), parent);
            assert!(connection.is_in(request), "{all:#?}");
            assert!(statement.is_in(connection), "{all:#?}");
            let is_failed = trace == own;
            let mut wanted = BTreeMap::from([
                ("http.request.method", "POST".to_owned()),
                (
                    "http.response.body.size",
                    if is_failed { "14" } else { "8" }.to_owned(),
                ),
                ("http.response.status_code", "200".to_owned()),
                ("millpond.component", "app".to_owned()),
                (
                    "millpond.request",
                    if is_failed { "3" } else { "2" }.to_owned(),
                ),
                ("url.path", "/query".to_owned()),
                ("url.scheme", "http".to_owned()),
            ]);
            assert_eq!((&*request.name, request.attributes()), ("POST", wanted));
            wanted = BTreeMap::from([
                ("db.client.connection.wait_time", "a time".to_owned()),
                ("db.namespace", "app".to_owned()),
                ("db.system.name", "sqlite".to_owned()),
                ("millpond.component", "app".to_owned()),
            ]);
            let got = (&*connection.name, connection.attributes());
            assert_eq!(got, ("connection app", wanted.clone()));
            wanted.remove("db.client.connection.wait_time");
            wanted.extend([
                (
                    "db.response.returned_rows",
                    if is_failed { "0" } else { "1" }.to_owned(),
                ),
                ("millpond.changes", "0".to_owned()),
                ("millpond.turn_wait", "a time".to_owned()),
                ("millpond.wrote", "false".to_owned()),
            ]);
            let (name, sql) = match is_failed {
                true => {
                    wanted.insert("error.type", "sql".to_owned());
                    ("app", "SELEC 'secret'")
                }
                false => {
                    wanted.insert("db.operation.name", "SELECT".to_owned());
                    ("SELECT app", "SELECT 'secret'")
                }
            };
            if query_text {
                wanted.insert("db.query.text", sql.to_owned());
            }
            assert_eq!((&*statement.name, statement.attributes()), (name, wanted));
            assert_eq!(statement.status, is_failed.then_some(Status { code: 2 }));
            for span in [request, connection, statement] {
                assert_eq!(span.trace_state.as_deref(), state);
            }
        }
    }
}

/// How many spans were sent, and how many dropped.
fn counts(server: &Server) -> [u64; 2] {
    let metrics = server.ask_admin("/metrics", "").is(200);
    let lines = text(&metrics.body).lines();
    ["sent", "dropped"].map(|result| {
        let series = format!("millpond_telemetry_spans_total{{result=\"{result}\"}} ");
        let mut values = lines.clone().filter_map(|line| line.strip_prefix(&series));
        values.next().expect("a count").parse().expect("a number")
    })
}

#[test]
fn a_collector_that_is_busy_gets_the_same_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let collector = Collector::start(&[Some(503)]);
    let server = serve(folder.path(), collector.port, "");
    server.ask("GET", "/quick", None).is(200);
    let first = collector.body();
    assert_eq!(collector.body(), first);
    assert_eq!(spans(&first).len(), 3);
    server.terminate();
    assert!(server.wait().success());
}

#[test]
fn spans_that_a_collector_does_not_take_are_counted_and_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let collector = Collector::start(&[Some(400)]);
    let server = serve(folder.path(), collector.port, "");
    server.ask("GET", "/quick", None).is(200);
    server.line_with("3 spans were not sent");
    assert_eq!(counts(&server), [0, 3]);
    server.ask("GET", "/quick", None).is(200);
    collector.body();
    assert_eq!(spans(&collector.body()).len(), 3);
    server.terminate();
    assert!(server.wait().success());

    // No collector at all, and one that never answers: neither holds up requests, nor the end.
    let silent = Collector::start(&[None, None, None]);
    // Nothing listens on a port that is bound, and no other test can get it.
    let gone = tokio::net::TcpSocket::new_v4().expect("a socket");
    let local = "127.0.0.1:0".parse().expect("an address");
    gone.bind(local).expect("a port");
    let gone_port = gone.local_addr().expect("its address").port();
    for port in [gone_port, silent.port] {
        let server = serve(folder.path(), port, "");
        for _ in 0..3 {
            server.ask("GET", "/quick", None).is(200);
        }
        server.terminate();
        assert!(server.wait().success());
    }
    let body: Value = serde_json::from_str(&silent.body()).expect("a document");
    assert!(body["resourceSpans"].is_array());
}

/// Later spans wait meanwhile, and would be dropped too.
#[test]
fn a_collector_that_does_not_answer_is_not_waited_for_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let collector = Collector::start(&[None, None, None, None]);
    let server = serve(folder.path(), collector.port, "");
    server.ask("GET", "/quick", None).is(200);
    server.line_with("3 spans were not sent");
    assert_eq!(collector.bodies.try_iter().count(), 1);
    assert_eq!(counts(&server), [0, 3]);
}
