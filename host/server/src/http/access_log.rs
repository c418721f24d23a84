//! The access log: one event for each request, and for what hyper itself refuses.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{Method, Request, StatusCode, Uri};

use crate::config::Name;
use crate::log::{Access, Event, Log, Sent};
use crate::printable::{one_line, start_of};
use crate::telemetry::TracedRequest;

/// One request's line in the access log. Dropping it writes it: when the end of the response has
/// been sent, or cannot be sent any more.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) number: u64,
    pub(super) since: Instant,
    /// When the request's time is over.
    pub(super) deadline: Instant,
    pub(super) method: Method,
    uri: Uri,
    pub(super) component: Option<Name>,
    /// Whether there are other components.
    pub(super) has_many: bool,
    pub(super) tenant: Option<String>,
    /// The outcome of the request. `None`: its client disconnected before there was a response.
    pub(super) outcome: Option<Sent>,
    /// Why the host answered instead of the guest.
    pub(super) hint: Option<&'static str>,
    /// Dropped after the line is written.
    pub(super) traced: Option<Arc<TracedRequest>>,
    /// `None`: the line is not written.
    log: Option<Arc<dyn Log>>,
}

impl Line {
    /// The line of a request that arrives now and may take up to `time`.
    pub(super) fn new<B>(
        number: u64,
        request: &Request<B>,
        time: Duration,
        log: Option<Arc<dyn Log>>,
    ) -> Line {
        let since = Instant::now();
        Line {
            number,
            since,
            deadline: since + time,
            method: loggable_method(request.method()),
            uri: request.uri().clone(),
            component: None,
            has_many: false,
            tenant: None,
            outcome: None,
            hint: None,
            traced: None,
            log,
        }
    }

    /// Write the line of a response that was not sent in full.
    pub(super) fn cut_short(mut self) {
        if let Some(outcome) = &mut self.outcome {
            outcome.is_whole = false;
        }
    }
}

/// Report an invalid request that hyper itself has answered.
pub(super) fn log_refusal(log: &dyn Log, request: u64, status: StatusCode, reason: &hyper::Error) {
    let reason = &one_line(&reason.to_string());
    log.event(&Event::BadRequest {
        request,
        status,
        reason,
    });
}

/// A client chooses its method, so its length in the log is limited. It has no control characters.
fn loggable_method(method: &Method) -> Method {
    const MAX_BYTES: usize = 32;
    let bytes = method.as_str().as_bytes();
    match bytes.get(..MAX_BYTES) {
        // The beginning of a method is a valid method.
        Some(start) if start.len() < bytes.len() => Method::from_bytes(start).unwrap_or_default(),
        _ => method.clone(),
    }
}

/// A client chooses its path: it must not control the terminal of the log's reader, nor fill the
/// log.
fn loggable(path: &str) -> Cow<'_, str> {
    const MAX_CHARS: usize = 512;
    match path.len() <= MAX_CHARS && path.bytes().all(|byte| byte.is_ascii_graphic()) {
        true => Cow::Borrowed(path),
        false => Cow::Owned(start_of(path, MAX_CHARS)),
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if let Some(log) = &self.log {
            log.event(&Event::Request(&Access {
                request: self.number,
                component: self.component.as_ref().map(Name::as_str),
                has_many: self.has_many,
                tenant: self.tenant.as_deref(),
                method: &self.method,
                path: &loggable(self.uri.path()),
                response: self.outcome,
                hint: self.hint,
                time: self.since.elapsed(),
            }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_in_the_log_is_bounded_and_plain() {
        assert_eq!(loggable("/a\u{9b}b"), "/a\u{fffd}b");
        assert_eq!(loggable(&"/".repeat(70_000)).len(), 512);
        for (length, expected) in [(32, 32), (33, 32), (70_000, 32)] {
            let method = Method::from_bytes(&vec![b'X'; length]).expect("a method");
            assert_eq!(loggable_method(&method).as_str().len(), expected);
        }
    }
}
