//! Notes in a SQLite database, as a web page and a JSON API: one component, which the host runs
//! once for each request.
//!
//! To follow a request: `main` finds its `Route`; `api` handles those under `/api/notes` with
//! `store`, which reads and writes the database; `page` handles the others. Errors on the way are a
//! `Failure`. `wasi_http` reads requests, and sends responses.
#![cfg_attr(
    not(target_family = "wasm"),
    allow(
        dead_code,
        reason = "only a host calls `Notes`: natively there are only tests"
    )
)]

mod api;
mod failure;
mod json;
mod note;
mod page;
mod query;
mod routes;
mod search;
mod store;
mod version;
mod wasi_http;

use http::Method;
use millpond_guest::return_db;
use wasip2::exports::http::incoming_handler::Guest;
use wasip2::http::types::{IncomingRequest, ResponseOutparam};

use failure::Failure;
use routes::Route;
use wasi_http::{Request, Response, respond};

struct Notes;

#[cfg(target_family = "wasm")]
wasip2::http::proxy::export!(Notes);

impl Guest for Notes {
    fn handle(request: IncomingRequest, response: ResponseOutparam) {
        let answer = main(&Request(request));
        // Another request may use the connection while the client takes this response.
        return_db();
        respond(answer, response);
    }
}

fn main(request: &Request) -> Response {
    let method = request.method();
    let mut response = answer(request, &method).unwrap_or_else(Failure::into_response);
    if method == Method::HEAD {
        response.body.clear();
    }
    // So that a client can detect a truncated response.
    if !response.body.is_empty() {
        let length = response.body.len().to_string();
        response = response.header("content-length", length);
    }
    SECURITY_HEADERS
        .into_iter()
        .fold(response, |response, (name, value)| {
            response.header(name, value)
        })
}

fn answer(request: &Request, method: &Method) -> Result<Response, Failure> {
    let target = request.path_with_query();
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    match Route::of(method, path)? {
        Route::File(file) => Ok(page::serve(file)),
        Route::List => api::list(query),
        Route::Create => api::create(request),
        Route::Read(id) => api::read(id),
        Route::Replace(id) => api::replace(id, request),
        Route::Delete(id) => api::delete(id, request),
    }
}

/// On every response. Notes are untrusted text: even if one were shown as markup, this policy runs
/// no script and loads nothing from elsewhere.
const SECURITY_HEADERS: [(&str, &str); 4] = [
    (
        "content-security-policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
         connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'",
    ),
    ("cross-origin-resource-policy", "same-origin"),
    ("referrer-policy", "no-referrer"),
    ("x-content-type-options", "nosniff"),
];
