//! Answers as its path says, in ways that a test must notice.

use std::pin::Pin;
use std::task::{Context, Poll};

use wstd::http::body::{Bytes, Frame, HttpBody};
use wstd::http::{Body, Error, Request, Response};

#[wstd::http_server]
async fn main(request: Request<Body>) -> Result<Response<Body>, Error> {
    let length = request.headers().get("content-length");
    let length = length.map_or("none", |length| length.to_str().unwrap_or("not text"));
    let answer = Response::builder();
    Ok(match request.uri().path() {
        "/exit" => std::process::exit(1),
        "/early" => answer.status(103).body(Body::empty())?,
        "/half" => answer.body(Body::from_http_body(Panics { after: false }))?,
        "/late" => answer.body(Body::from_http_body(Panics { after: true }))?,
        "/binary" => answer.body(Body::from(vec![0, 0xff, 0xfe, 10]))?,
        _ => answer.body(Body::from(format!("{length}\n")))?,
    })
}

/// A body that panics as it is sent, or once it has been.
struct Panics {
    after: bool,
}

impl HttpBody for Panics {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        match self.after {
            true => Poll::Ready(None),
            false => panic!("in the middle"),
        }
    }
}

impl Drop for Panics {
    fn drop(&mut self) {
        assert!(!self.after, "at the end");
    }
}
