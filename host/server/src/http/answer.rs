//! The answers to requests, and their way to the client.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use http::header::{CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Method, Request, Response, StatusCode, Version};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Bytes, Frame, SizeHint};
use wasmtime_wasi_http::{Error, WasiBody};

use crate::http::access_log::Line;
use crate::http::delivery::Delivery;
use crate::http::exchange::Exchange;
use crate::log::Sent;

/// How long after its request's deadline a response may still be sent: the host's own response,
/// which says that the time is over, only begins at the deadline.
const SENDING_GRACE: Duration = Duration::from_secs(1);

/// How many bytes of a complete response h2 may hold until the client's window has room for them.
const LAST_PART: usize = 1 << 10;

/// What a request gets.
pub(super) enum Answer {
    /// A guest's response.
    Guest(Response<WasiBody>, Arc<Delivery>),
    /// The host's own, and a hint for the log.
    Host(Response<WasiBody>, Option<&'static str>),
}

/// A response of the host.
pub(super) fn text(status: StatusCode, text: &'static str) -> Response<WasiBody> {
    let mut response = response(
        status,
        "text/plain; charset=utf-8",
        Bytes::from_static(text.as_bytes()),
    );
    if matches!(
        status,
        StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS
    ) {
        response
            .headers_mut()
            .insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
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

/// A response's body on its way to the client.
pub(super) struct Outgoing {
    body: WasiBody,
    status: StatusCode,
    /// Taken when this is dropped.
    line: Option<Line>,
    exchange: Arc<Exchange>,
    bytes: u64,
    /// The length of the body, if the response declares it: hyper does not poll beyond it.
    length: Option<u64>,
    /// There is none, whatever the guest writes. hyper sees to that for HTTP/1 only.
    is_omitted: bool,
    is_http2: bool,
    /// With HTTP/2, the end of the last part of the body, which is passed on separately. h2 takes a
    /// whole part once the client's window has room for one byte, and after the last part hyper
    /// drops the stream: then no deadline could end it, and a client could keep the part in memory.
    /// h2 takes this end once the window has room for the rest.
    held: Option<Bytes>,
    ended: bool,
    failed: bool,
    delivery: Arc<Delivery>,
}

impl Outgoing {
    pub(super) fn wrap(
        mut response: Response<WasiBody>,
        version: Version,
        mut line: Line,
        exchange: Arc<Exchange>,
        delivery: Arc<Delivery>,
    ) -> Response<Outgoing> {
        line.deadline = line.deadline.max(Instant::now()) + SENDING_GRACE;
        exchange.respond(line.deadline);
        let is_http2 = version == Version::HTTP_2;
        let status = response.status();
        if status == StatusCode::NO_CONTENT {
            // A client that believes the length would read the next response as content (RFC 9110,
            // 8.6).
            response.headers_mut().remove(CONTENT_LENGTH);
        }
        let has_none = line.method == Method::HEAD
            || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        let length = response.headers().get(CONTENT_LENGTH);
        let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
        response.map(|body| Outgoing {
            is_omitted: has_none && is_http2,
            is_http2,
            held: None,
            ended: body.is_end_stream(),
            length: if has_none {
                Some(0)
            } else {
                length.or(body.size_hint().exact())
            },
            body,
            status,
            line: Some(line),
            exchange,
            bytes: 0,
            failed: false,
            delivery,
        })
    }

    /// For a request whose client has disconnected: no one reads this response.
    pub(super) fn unread(line: Line, exchange: Arc<Exchange>) -> Response<Outgoing> {
        drop(line);
        let response = text(StatusCode::INTERNAL_SERVER_ERROR, "");
        let line = Line::new(0, &Request::new(()), Duration::ZERO, None);
        Outgoing::wrap(response, Version::HTTP_11, line, exchange, Arc::default())
    }
}

impl Outgoing {
    fn hold_end(&mut self, frame: Frame<Bytes>) -> Frame<Bytes> {
        frame.map_data(|mut data| {
            if data.len() > LAST_PART {
                self.held = Some(data.split_off(data.len() - LAST_PART));
            }
            data
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
        if let Some(held) = self.held.take() {
            self.bytes += held.len() as u64;
            return Poll::Ready(Some(Ok(Frame::data(held))));
        }
        let mut frame = std::task::ready!(Pin::new(&mut self.body).poll_frame(cx));
        // The body of a guest that was stopped must not look complete to the client.
        if frame.is_none() && self.delivery.is_cut() {
            frame = Some(Err(Error::ConnectionTerminated));
        }
        if self.is_http2 {
            frame = frame.map(|frame| frame.map(|frame| self.hold_end(frame)));
        }
        match &frame {
            Some(Ok(frame)) => match frame.data_ref() {
                Some(data) => self.bytes += data.len() as u64,
                // Trailers: nothing follows, and hyper does not ask.
                None => self.ended = true,
            },
            Some(Err(_)) => self.failed = true,
            None => self.ended = true,
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.is_omitted
            || self.held.is_none() && self.body.is_end_stream() && !self.delivery.is_cut()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        let Some(mut line) = self.line.take() else {
            return;
        };
        // hyper drops an empty body, and a body with a length once it has that many bytes, without
        // polling for its end.
        let has_all = self.length.is_some_and(|length| self.bytes >= length);
        let is_at_end = self.held.is_none() && self.body.is_end_stream();
        let is_whole = !self.failed && (self.ended || has_all || is_at_end);
        self.delivery.end(is_whole);
        line.outcome = Some(Sent {
            status: self.status,
            bytes: self.bytes,
            is_whole,
        });
        match is_whole {
            true => self.exchange.hand_over(line),
            false => {
                drop(line);
                match self.failed {
                    true => self.exchange.break_off(),
                    false => self.exchange.abandon(),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bytes of a response's body, or `None` if it breaks off.
    fn received(cut: bool) -> Option<Bytes> {
        let response = text(StatusCode::OK, "hello");
        let line = Line::new(1, &Request::new(()), Duration::ZERO, None);
        let delivery = Arc::<Delivery>::default();
        if cut {
            delivery.cut();
        }
        let body = Outgoing::wrap(response, Version::HTTP_11, line, Arc::default(), delivery);
        let collected = millpond_pool::block_on(body.into_body().collect());
        collected.ok().map(|body| body.to_bytes())
    }

    #[test]
    fn a_truncated_body_does_not_look_complete() {
        assert_eq!(received(false), Some(Bytes::from_static(b"hello")));
        assert_eq!(received(true), None);
    }

    #[test]
    fn a_refusal_says_when_to_retry() {
        let busy = text(StatusCode::SERVICE_UNAVAILABLE, "");
        assert!(busy.headers().contains_key(RETRY_AFTER));
        assert!(
            !text(StatusCode::GATEWAY_TIMEOUT, "")
                .headers()
                .contains_key(RETRY_AFTER)
        );
    }
}
