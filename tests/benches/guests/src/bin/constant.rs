//! An HTTP handler that answers a constant: what a server costs before there is any work to do.

use wstd::http::{Body, Error, Request, Response};

#[wstd::http_server]
async fn main(_: Request<Body>) -> Result<Response<Body>, Error> {
    Ok(Response::new(Body::from("constant\n")))
}
