//! What a server reports: requests, failures of guests, and their output.

mod json;
mod slow;
mod text;

use std::fmt;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use http::{Method, StatusCode};

pub use self::json::JsonLog;
pub(crate) use self::json::{milliseconds, of_slow};
pub use self::slow::SlowStatement;
pub use self::text::TextLog;
use crate::failure::Reached;

/// Receives what a server reports, such as a line for each request.
///
/// It is called on a runtime's workers: while it blocks, so does a worker, with all that runs
/// there. A guest can choose parts of a report: each is bounded in length, and has no control
/// characters.
pub trait Log: fmt::Debug + Send + Sync {
    /// Write this down.
    fn event(&self, event: &Event<'_>);

    /// Block until the lines that other threads are writing now are written. The default does
    /// nothing.
    ///
    /// The command calls this for a service manager's watchdog. As long as it blocks, requests may
    /// be stuck too, and the watchdog is not notified.
    fn flush(&self) {}
}

/// Something that a server reports. Its `Display` is a line for an operator; that of
/// [`GuestFailed`](Event::GuestFailed) has more lines, for the backtrace.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A component has been compiling for a second. The next time it comes from wasmtime's cache.
    Compiling {
        /// The component's file.
        component: &'a Path,
    },
    /// A component does not fit the instance pool, so each request is slower.
    NoInstancePool {
        /// The component's file.
        component: &'a Path,
        /// What does not fit.
        reason: &'a str,
    },
    /// A request has ended.
    Request(&'a Access<'a>),
    /// A client sent something that is not a valid HTTP request.
    BadRequest {
        /// The request's number.
        request: u64,
        /// The status of the response.
        status: StatusCode,
        /// What is invalid.
        reason: &'a str,
    },
    /// A guest wrote a line to its stdout or stderr.
    Output {
        /// The request's number.
        request: u64,
        /// The line, without its end. A line longer than 4,096 bytes arrives in parts.
        line: &'a str,
    },
    /// A guest wrote more than it may. The rest is dropped.
    OutputDropped {
        /// The request's number.
        request: u64,
        /// How many bytes it may write.
        most: usize,
    },
    /// A guest trapped, returned an error, or set no valid response.
    GuestFailed {
        /// The request's number.
        request: u64,
        /// The component.
        component: &'a str,
        /// The kind of failure: one of a few words, such as `unreachable` or `max-memory-size`.
        cause: &'static str,
        /// The cause, and the lines of the backtrace.
        lines: &'a [String],
    },
    /// A guest reached a limit, and went on.
    LimitReached {
        /// The request's number.
        request: u64,
        /// The limit.
        limit: Reached,
    },
    /// The database of a request's tenant could not be opened.
    DatabaseFailed {
        /// The request's number.
        request: u64,
        /// Why.
        reason: &'a str,
    },
    /// A client has as many connections as one client may have, so another was closed. Reported at
    /// most once a minute.
    TooManyConnections {
        /// Its address.
        client: IpAddr,
        /// How many it may have.
        most: u32,
    },
    /// The certificate of a listener has changed, and is served from now on.
    CertificateReloaded {
        /// Its file.
        certificate: &'a Path,
    },
    /// A certificate that clients refuse is served, or one that has changed cannot be served.
    CertificateProblem {
        /// Its file.
        certificate: &'a Path,
        /// What is wrong, and what the server does.
        reason: &'a str,
    },
    /// A file system with a database or its backups has less free space than
    /// [`min_free_disk`](crate::config::Server::min_free_disk). Reported once, until
    /// [`DiskRecovered`](Event::DiskRecovered).
    DiskLow {
        /// A folder in it.
        folder: &'a Path,
        /// How many bytes are free.
        free: u64,
        /// How many bytes must be free.
        min: u64,
    },
    /// A file system that had too little space has enough again: an eighth more than
    /// [`min_free_disk`](crate::config::Server::min_free_disk).
    DiskRecovered {
        /// A folder in it.
        folder: &'a Path,
        /// How many bytes are free.
        free: u64,
    },
    /// A guest asked for a database that it was not granted. Reported once.
    UnknownDatabase {
        /// The request's number.
        request: u64,
        /// The name, up to 64 characters of it.
        name: &'a str,
    },
    /// A statement ran for longer than
    /// [`slow_statement_time`](crate::config::Server::slow_statement_time).
    SlowStatement(&'a SlowStatement<'a>),
    /// Something is unusual, but works: a migration that changed after it ran, for instance.
    Warning {
        /// What, in one line.
        message: &'a str,
    },
    /// What the program that serves says of itself, such as the address that it listens on.
    Message {
        /// One line.
        message: &'a str,
    },
}

/// One request, for an access log.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Access<'a> {
    /// The request's number: 1 for the first one of the server.
    pub request: u64,
    /// The component that handled it. `None` if no route fits.
    pub component: Option<&'a str>,
    /// Whether the server has several components, so that a line for people names it.
    pub has_many: bool,
    /// The tenant that it was for, if its route has tenants.
    pub tenant: Option<&'a str>,
    /// The method, up to 32 characters of it.
    pub method: &'a Method,
    /// The path without the query, up to 512 characters of it.
    pub path: &'a str,
    /// The response. `None`: the client disconnected before there was one.
    pub response: Option<Sent>,
    /// Why the host answered instead of the guest.
    pub hint: Option<&'a str>,
    /// The time from the request's head to the end of its response.
    pub time: Duration,
}

/// A response as far as it was sent.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Sent {
    /// The status.
    pub status: StatusCode,
    /// How many bytes of the body were sent.
    pub bytes: u64,
    /// Whether that was the whole body.
    pub is_whole: bool,
}

impl fmt::Display for Event<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::Compiling { component } => write!(
                f,
                "Compiling {} (next time it comes from the cache)",
                component.display()
            ),
            Event::NoInstancePool { component, reason } => write!(
                f,
                "{} does not fit the instance pool, so each request is slower: {reason}",
                component.display()
            ),
            Event::Request(access) => access.fmt(f),
            Event::BadRequest {
                request,
                status,
                reason,
            } => {
                let status = status.as_u16();
                write!(f, "[{request}] - - {status} 0 bytes ({reason})")
            }
            Event::Output { request, line } => write!(f, "[{request}] guest: {line}"),
            Event::OutputDropped { request, most } => write!(
                f,
                "[{request}] guest: (more than {most} bytes: the rest is dropped; see \
                 max-output-size)"
            ),
            Event::GuestFailed { request, lines, .. } => {
                for (index, line) in lines.iter().enumerate() {
                    let end = if index == 0 { "" } else { "\n" };
                    write!(f, "{end}[{request}] {line}")?;
                }
                Ok(())
            }
            Event::LimitReached { request, limit } => write!(f, "[{request}] the guest {limit}"),
            Event::DatabaseFailed { request, reason } => {
                write!(f, "[{request}] the tenant's database: {reason}")
            }
            Event::TooManyConnections { client, most } => write!(
                f,
                "{client} has {most} connections, as many as one client may have: others are closed"
            ),
            Event::CertificateReloaded { certificate } => {
                write!(f, "{}: read again", certificate.display())
            }
            Event::CertificateProblem {
                certificate,
                reason,
            } => write!(f, "{}: {reason}", certificate.display()),
            Event::DiskLow { folder, free, min } => write!(
                f,
                "warning: the disk with {} has {free} bytes left, less than min-free-disk ({min}): make \
                 room, or writes will fail",
                folder.display()
            ),
            Event::DiskRecovered { folder, free } => write!(
                f,
                "The disk with {} has enough space again: {free} bytes",
                folder.display()
            ),
            Event::UnknownDatabase { request, name } => write!(
                f,
                "[{request}] the guest asked for the database `{name}`, which is not granted"
            ),
            Event::SlowStatement(slow) => slow.fmt(f),
            Event::Warning { message } => write!(f, "warning: {message}"),
            Event::Message { message } => f.write_str(message),
        }
    }
}

impl fmt::Display for Access<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Access {
            request,
            component,
            has_many,
            tenant,
            method,
            path,
            response,
            hint,
            time,
        } = self;
        let ms = time.as_secs_f64() * 1e3;
        write!(f, "[{request}] ")?;
        if let Some(component) = component
            && *has_many
        {
            write!(f, "{component} ")?;
        }
        if let Some(tenant) = tenant {
            write!(f, "({tenant}) ")?;
        }
        let Some(sent) = response else {
            return write!(f, "{method} {path} - (the client disconnected) {ms:.1} ms");
        };
        let (status, bytes) = (sent.status.as_u16(), sent.bytes);
        let cut = if sent.is_whole { "" } else { " (cut short)" };
        write!(f, "{method} {path} {status} {bytes} bytes{cut}")?;
        if let Some(hint) = hint {
            write!(f, " ({hint})")?;
        }
        write!(f, " {ms:.1} ms")
    }
}
