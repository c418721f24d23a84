//! An HTTP handler that returns a constant: what a server costs without any work.

use wstd::http::{Body, Error, Request, Response};

#[wstd::http_server]
async fn main(_: Request<Body>) -> Result<Response<Body>, Error> {
    Ok(Response::new(Body::from("constant\n")))
}
