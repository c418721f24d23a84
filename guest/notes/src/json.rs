//! Responses in JSON.

use http::StatusCode;
use serde::Serialize;

use crate::wasi_http::Response;

/// A JSON response that is not cached.
pub(crate) fn json(status: StatusCode, body: &impl Serialize) -> Response {
    let (status, body) = match serde_json::to_vec(body) {
        Ok(body) => (status, body),
        // Only keys that are not strings could fail, and there are none.
        Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, Vec::new()),
    };
    Response::new(body)
        .status(status)
        .header("content-type", "application/json")
        .header("cache-control", "no-store")
}
