//! The access log: a line for each request, and for what hyper itself refuses.

use std::time::Instant;

use http::{Method, Request, StatusCode, Uri};

use crate::output::say;
use crate::printable::one_line;

/// One request's line in the access log. Dropping it writes it: when the end of the response has
/// been sent, or cannot be sent any more.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) number: u64,
    pub(super) since: Instant,
    pub(super) method: Method,
    uri: Uri,
    /// The outcome of the request. `None`: its client disconnected before there was a response.
    pub(super) outcome: Option<Outcome>,
    /// Why the host answered instead of the guest.
    pub(super) hint: Option<&'static str>,
    /// Whether to write the line at all.
    wanted: bool,
}

#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) status: StatusCode,
    pub(super) bytes: u64,
    pub(super) is_whole: bool,
}

impl Line {
    pub(super) fn new<B>(number: u64, request: &Request<B>, wanted: bool) -> Line {
        Line {
            number,
            since: Instant::now(),
            method: request.method().clone(),
            uri: request.uri().clone(),
            outcome: None,
            hint: None,
            wanted,
        }
    }

    /// Write the line of a response that was not sent in full.
    pub(super) fn cut_short(mut self) {
        if let Some(outcome) = &mut self.outcome {
            outcome.is_whole = false;
        }
    }
}

/// Write the line of an invalid request that hyper itself has answered.
pub(super) fn log_refusal(number: u64, status: StatusCode, reason: &hyper::Error) {
    let (status, reason) = (status.as_u16(), one_line(&reason.to_string()));
    say(format_args!("[{number}] - - {status} 0 bytes ({reason})"));
}

/// A client chooses its path: it must not control the terminal of the log's reader, nor fill the
/// log.
fn loggable(path: &str) -> String {
    const MAX_CHARS: usize = 512;
    one_line(path).chars().take(MAX_CHARS).collect()
}

impl Drop for Line {
    fn drop(&mut self) {
        if !self.wanted {
            return;
        }
        let (number, method, path) = (self.number, &self.method, loggable(self.uri.path()));
        let ms = self.since.elapsed().as_secs_f64() * 1e3;
        match &self.outcome {
            None => say(format_args!(
                "[{number}] {method} {path} - (the client disconnected) {ms:.1} ms"
            )),
            Some(outcome) => {
                let (status, bytes) = (outcome.status.as_u16(), outcome.bytes);
                let cut = if outcome.is_whole { "" } else { " (cut short)" };
                let hint = self.hint.map(|hint| format!(" ({hint})"));
                let hint = hint.unwrap_or_default();
                say(format_args!(
                    "[{number}] {method} {path} {status} {bytes} bytes{cut}{hint} {ms:.1} ms"
                ));
            }
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
