//! A span, and its form in OTLP's JSON
//! (<https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding>).

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use http::Method;
use serde_json::{Map, Value, json};

use super::Trace;

/// A span that has ended.
#[derive(Debug)]
pub(super) struct Span {
    pub(super) trace: Arc<Trace>,
    pub(super) id: [u8; 8],
    pub(super) parent: Option<[u8; 8]>,
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) start: SystemTime,
    pub(super) end: SystemTime,
    pub(super) attributes: Vec<Value>,
    pub(super) is_error: bool,
}

/// `SpanKind`.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Internal = 1,
    Server = 2,
    Client = 3,
}

/// A method that OpenTelemetry's conventions name.
pub(super) fn method(method: &Method) -> Option<&'static str> {
    const KNOWN: [&str; 9] = [
        "CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE",
    ];
    KNOWN.into_iter().find(|known| *known == method.as_str())
}

impl Span {
    pub(super) fn text(&mut self, key: &str, value: &str) {
        self.add(key, json!({ "stringValue": value }));
    }

    pub(super) fn optional(&mut self, key: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.text(key, value);
        }
    }

    pub(super) fn number(&mut self, key: &str, value: u64) {
        self.add(key, json!({ "intValue": value.to_string() }));
    }

    pub(super) fn seconds(&mut self, key: &str, value: f64) {
        self.add(key, json!({ "doubleValue": value }));
    }

    pub(super) fn flag(&mut self, key: &str, value: bool) {
        self.add(key, json!({ "boolValue": value }));
    }

    /// It has failed.
    pub(super) fn error(&mut self, kind: &str) {
        self.is_error = true;
        self.text("error.type", kind);
    }

    fn add(&mut self, key: &str, value: Value) {
        self.attributes.push(json!({ "key": key, "value": value }));
    }

    fn into_json(self) -> Value {
        let mut span = Map::new();
        span.insert("traceId".to_owned(), to_hex(&self.trace.id).into());
        span.insert("spanId".to_owned(), to_hex(&self.id).into());
        if let Some(parent) = &self.parent {
            span.insert("parentSpanId".to_owned(), to_hex(parent).into());
        }
        if let Some(state) = &self.trace.state {
            span.insert("traceState".to_owned(), state.as_str().into());
        }
        span.insert("name".to_owned(), self.name.into());
        span.insert("kind".to_owned(), (self.kind as u8).into());
        span.insert("startTimeUnixNano".to_owned(), nanos(self.start).into());
        span.insert("endTimeUnixNano".to_owned(), nanos(self.end).into());
        span.insert("attributes".to_owned(), self.attributes.into());
        if self.is_error {
            span.insert("status".to_owned(), json!({ "code": 2 }));
        }
        span.into()
    }
}

/// The document with these spans.
pub(super) fn document(service: &str, spans: impl IntoIterator<Item = Span>) -> String {
    let version = env!("CARGO_PKG_VERSION");
    let spans: Vec<_> = spans.into_iter().map(Span::into_json).collect();
    let attribute =
        |key: &str, value: &str| json!({ "key": key, "value": { "stringValue": value } });
    let document = json!({ "resourceSpans": [{
        "resource": { "attributes": [
            attribute("service.name", service),
            attribute("service.version", version),
        ] },
        "scopeSpans": [{ "scope": { "name": "millpond", "version": version }, "spans": spans }],
    }] });
    document.to_string()
}

/// 64-bit numbers are texts in JSON.
fn nanos(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH);
    since.unwrap_or_default().as_nanos().to_string()
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
