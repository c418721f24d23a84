//! Responses in JSON.

use http::{HeaderValue, Response, StatusCode};
use serde::Serialize;

/// A JSON response that is not cached.
pub(crate) fn json(status: StatusCode, body: &impl Serialize) -> Response<Vec<u8>> {
    let (status, body) = match serde_json::to_vec(body) {
        Ok(body) => (status, body),
        // Only keys that are not strings could fail, and there are none.
        Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, Vec::new()),
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    for (name, value) in [
        ("content-type", "application/json"),
        ("cache-control", "no-store"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}
