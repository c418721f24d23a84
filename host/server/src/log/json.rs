//! A log for programs.

use std::fmt;
use std::io::Write;
use std::sync::Mutex;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::text::write;
use super::{Access, Event, Log, SlowStatement};

/// Writes each event as a line with a JSON object. Its members are described in the crate's README;
/// those without a value are left out.
pub struct JsonLog<W> {
    to: Mutex<W>,
}

impl<W: Write + Send> JsonLog<W> {
    /// A log that writes to `to`, one write for each event. What it cannot write is lost.
    pub fn new(to: W) -> JsonLog<W> {
        JsonLog { to: Mutex::new(to) }
    }
}

impl<W> fmt::Debug for JsonLog<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JsonLog").finish_non_exhaustive()
    }
}

impl<W: Write + Send> Log for JsonLog<W> {
    fn event(&self, event: &Event<'_>) {
        let now = format!("{:.3}", jiff::Timestamp::now());
        let mut line = Map::new();
        line.insert("time".to_owned(), now.into());
        line.insert("level".to_owned(), level(event).into());
        line.insert("event".to_owned(), event.name().into());
        if let Value::Object(members) = members(event) {
            line.extend(members.into_iter().filter(|(_, value)| !value.is_null()));
        }
        write(&self.to, &format!("{}\n", Value::Object(line)));
    }

    fn flush(&self) {
        write(&self.to, "");
    }
}

impl Event<'_> {
    /// Its name, in lower case with `-`. For logs.
    pub fn name(&self) -> &'static str {
        match self {
            Event::Compiling { .. } => "compiling",
            Event::NoInstancePool { .. } => "no-instance-pool",
            Event::Request(_) => "request",
            Event::BadRequest { .. } => "bad-request",
            Event::Output { .. } => "output",
            Event::OutputDropped { .. } => "output-dropped",
            Event::GuestFailed { .. } => "guest-failed",
            Event::LimitReached { .. } => "limit-reached",
            Event::DatabaseFailed { .. } => "database-failed",
            Event::TooManyConnections { .. } => "too-many-connections",
            Event::CertificateReloaded { .. } => "certificate-reloaded",
            Event::CertificateProblem { .. } => "certificate-problem",
            Event::DiskLow { .. } => "disk-low",
            Event::DiskRecovered { .. } => "disk-recovered",
            Event::UnknownDatabase { .. } => "unknown-database",
            Event::SlowStatement(_) => "slow-statement",
            Event::Warning { .. } => "warning",
            Event::Message { .. } => "message",
        }
    }
}

fn level(event: &Event<'_>) -> &'static str {
    match event {
        Event::GuestFailed { .. } | Event::DatabaseFailed { .. } => "error",
        Event::NoInstancePool { .. }
        | Event::OutputDropped { .. }
        | Event::LimitReached { .. }
        | Event::TooManyConnections { .. }
        | Event::CertificateProblem { .. }
        | Event::DiskLow { .. }
        | Event::UnknownDatabase { .. }
        | Event::SlowStatement(_)
        | Event::Warning { .. } => "warn",
        Event::Compiling { .. }
        | Event::Request(_)
        | Event::BadRequest { .. }
        | Event::Output { .. }
        | Event::CertificateReloaded { .. }
        | Event::DiskRecovered { .. }
        | Event::Message { .. } => "info",
    }
}

fn members(event: &Event<'_>) -> Value {
    match event {
        Event::Compiling { component } => json!({ "file": component.to_string_lossy() }),
        Event::NoInstancePool { component, reason } => {
            json!({ "file": component.to_string_lossy(), "reason": reason })
        }
        Event::Request(access) => of_request(access),
        Event::BadRequest {
            request,
            status,
            reason,
        } => json!({ "request": request, "status": status.as_u16(), "reason": reason }),
        Event::Output { request, line } => json!({ "request": request, "line": line }),
        Event::OutputDropped { request, most } => {
            json!({ "request": request, "limit": "max-output-size", "most": most })
        }
        Event::GuestFailed {
            request,
            component,
            cause,
            lines,
        } => json!({
            "request": request, "component": component, "cause": cause, "lines": lines,
        }),
        Event::LimitReached { request, limit } => json!({ "request": request, "limit": limit.0 }),
        Event::DatabaseFailed { request, reason } => {
            json!({ "request": request, "reason": reason })
        }
        Event::TooManyConnections { client, most } => {
            json!({ "client": client.to_string(), "most": most })
        }
        Event::CertificateReloaded { certificate } => {
            json!({ "file": certificate.to_string_lossy() })
        }
        Event::CertificateProblem {
            certificate,
            reason,
        } => json!({ "file": certificate.to_string_lossy(), "reason": reason }),
        Event::DiskLow { folder, free, min } => {
            json!({ "folder": folder.to_string_lossy(), "free": free, "min": min })
        }
        Event::DiskRecovered { folder, free } => {
            json!({ "folder": folder.to_string_lossy(), "free": free })
        }
        Event::UnknownDatabase { request, name } => json!({ "request": request, "name": name }),
        Event::SlowStatement(slow) => of_slow(slow),
        Event::Warning { message } | Event::Message { message } => json!({ "message": message }),
    }
}

fn of_request(access: &Access<'_>) -> Value {
    json!({
        "request": access.request,
        "component": access.component,
        "tenant": access.tenant,
        "method": access.method.as_str(),
        "path": access.path,
        "status": access.response.map(|sent| sent.status.as_u16()),
        "bytes": access.response.map(|sent| sent.bytes),
        "whole": access.response.map(|sent| sent.is_whole),
        "hint": access.hint,
        "ms": milliseconds(access.time),
    })
}

/// The members of a slow statement, for the log and for the operator's page.
pub(crate) fn of_slow(slow: &SlowStatement<'_>) -> Value {
    json!({
        "request": slow.request,
        "component": slow.component,
        "database": slow.database,
        "tenant": slow.tenant,
        "sql": slow.sql,
        "whole": slow.is_whole,
        "ms": milliseconds(slow.time),
        "turn_wait_ms": milliseconds(slow.turn_wait),
        "rows": slow.rows,
        "bytes": slow.bytes,
        "changes": slow.changes,
        "result": slow.result,
        "plan": (!slow.plan.is_empty()).then_some(slow.plan),
        "unlogged": (slow.unlogged > 0).then_some(slow.unlogged),
    })
}

/// To a microsecond.
pub(crate) fn milliseconds(time: Duration) -> f64 {
    // Exact for 285 years.
    time.as_micros() as f64 / 1e3
}
