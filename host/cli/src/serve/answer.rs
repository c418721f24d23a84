//! The responses that are the host's own, and the access log's line for any.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Instant;

use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Bytes, Frame, SizeHint};
use serde_json::Value;
use wasmtime_wasi_http::{Error, WasiBody};

use crate::failure::one_line;
use crate::output::say;

pub(super) fn text(status: StatusCode, text: &'static str) -> Response<WasiBody> {
    let mut response = response(
        status,
        "text/plain; charset=utf-8",
        Bytes::from_static(text.as_bytes()),
    );
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response
            .headers_mut()
            .insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

pub(super) fn json(value: &Value) -> Response<WasiBody> {
    response(
        StatusCode::OK,
        "application/json",
        Bytes::from(format!("{value:#}\n")),
    )
}

fn response(status: StatusCode, kind: &'static str, body: Bytes) -> Response<WasiBody> {
    let body = Full::new(body)
        .map_err(|never| match never {})
        .boxed_unsync();
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

/// One request's line in the access log. It is written when this is dropped: when the last of
/// the response is sent, or when nobody wants it any more.
pub(super) struct Line {
    pub(super) number: u64,
    pub(super) since: Instant,
    method: Method,
    uri: Uri,
    /// What became of the request, once there is something to tell.
    outcome: Option<String>,
    /// Whether the line is to be written at all.
    wanted: bool,
}

impl Line {
    pub(super) fn new<B>(number: u64, request: &Request<B>, wanted: bool) -> Line {
        Line {
            number,
            since: Instant::now(),
            method: request.method().clone(),
            uri: request.uri().clone(),
            outcome: None,
            wanted,
        }
    }
}

/// A client chooses its path: it must not steer the terminal that the log is read on, nor fill it.
fn loggable(path: &str) -> String {
    const MAX_CHARS: usize = 512;
    one_line(path).chars().take(MAX_CHARS).collect()
}

impl Drop for Line {
    fn drop(&mut self) {
        if self.wanted {
            let (number, method, path) = (self.number, &self.method, loggable(self.uri.path()));
            let outcome = self
                .outcome
                .as_deref()
                .unwrap_or("- (the client went away)");
            let ms = self.since.elapsed().as_secs_f64() * 1e3;
            say(format_args!(
                "[{number}] {method} {path} {outcome} {ms:.1} ms"
            ));
        }
    }
}

/// A response's body on its way to the client.
pub(super) struct Outgoing {
    body: WasiBody,
    status: StatusCode,
    line: Line,
    bytes: u64,
    ended: bool,
    failed: bool,
    /// Set before the guest is dropped with its work undone.
    cut: Arc<AtomicBool>,
}

impl Outgoing {
    pub(super) fn wrap(
        response: Response<WasiBody>,
        line: Line,
        cut: Arc<AtomicBool>,
    ) -> Response<Outgoing> {
        let status = response.status();
        response.map(|body| Outgoing {
            ended: body.is_end_stream(),
            body,
            status,
            line,
            bytes: 0,
            failed: false,
            cut,
        })
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let mut frame = std::task::ready!(Pin::new(&mut self.body).poll_frame(cx));
        // To a client, the body of a guest that was stopped half-way must not look whole.
        if frame.is_none() && self.cut.load(Ordering::Acquire) {
            frame = Some(Err(Error::ConnectionTerminated));
        }
        match &frame {
            Some(Ok(frame)) => self.bytes += frame.data_ref().map_or(0, |data| data.len() as u64),
            Some(Err(_)) => self.failed = true,
            None => self.ended = true,
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream() && !self.cut.load(Ordering::Acquire)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        if !self.line.wanted {
            return;
        }
        let status = self.status.as_u16();
        let bytes = self.bytes;
        // hyper drops the body of a response that has none, and one with a length once it is
        // sent, without asking for its end.
        let sent = self.ended
            || self.line.method == Method::HEAD
            || self.body.is_end_stream()
            || self.size_hint().exact() == Some(0);
        let sent = sent && !self.failed;
        let cut = if sent { "" } else { " (cut short)" };
        self.line.outcome = Some(format!("{status} {bytes} bytes{cut}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bytes of a response's body, or `None` where it breaks off.
    fn received(cut: bool) -> Option<Bytes> {
        let response = text(StatusCode::OK, "hello");
        let line = Line::new(1, &Request::new(()), false);
        let body = Outgoing::wrap(response, line, Arc::new(AtomicBool::new(cut)));
        let collected = millpond_pool::block_on(body.into_body().collect());
        collected.ok().map(|body| body.to_bytes())
    }

    #[test]
    fn a_body_that_was_cut_does_not_look_whole() {
        assert_eq!(received(false), Some(Bytes::from_static(b"hello")));
        assert_eq!(received(true), None);
    }

    #[test]
    fn a_refusal_says_when_to_come_back() {
        let busy = text(StatusCode::SERVICE_UNAVAILABLE, "");
        assert!(busy.headers().contains_key(RETRY_AFTER));
        assert!(
            !text(StatusCode::GATEWAY_TIMEOUT, "")
                .headers()
                .contains_key(RETRY_AFTER)
        );
    }

    #[test]
    fn a_path_in_the_log_is_bounded_and_plain() {
        assert_eq!(loggable("/a\u{9b}b"), "/a\u{fffd}b");
        assert_eq!(loggable(&"/".repeat(70_000)).len(), 512);
    }
}
