//! The access log: one event for each request, and for what hyper itself refuses.

use std::sync::Arc;
use std::time::Instant;

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
    pub(super) fn new<B>(number: u64, request: &Request<B>, log: Option<Arc<dyn Log>>) -> Line {
        Line {
            number,
            since: Instant::now(),
            method: request.method().clone(),
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

/// A client chooses its path: it must not control the terminal of the log's reader, nor fill the
/// log.
fn loggable(path: &str) -> String {
    const MAX_CHARS: usize = 512;
    start_of(path, MAX_CHARS)
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
    }
}
