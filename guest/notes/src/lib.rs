//! Notes in a SQLite database, as a web page and a JSON API: one component, which the host runs
//! once for each request.
//!
//! To follow a request: `main` finds its `Route`; `api` handles those under `/api/notes` with
//! `store`, which reads and writes the database; `page` handles the others. Errors on the way are a
//! `Failure`.
#![cfg_attr(
    not(any(target_family = "wasm", test)),
    expect(
        dead_code,
        reason = "natively there is no host to call main, only tests"
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

use wstd::http::{Body, Error, HeaderValue, Method, Request, Response};

use failure::Failure;
use routes::Route;
use version::IfMatch;

#[cfg_attr(target_family = "wasm", wstd::http_server)]
async fn main(request: Request<Body>) -> Result<Response<Body>, Error> {
    let head = request.method() == Method::HEAD;
    let mut response = match answer(request).await {
        Ok(response) => response,
        Err(failure) => failure.into_response(),
    };
    if head {
        *response.body_mut() = api::no_body();
    }
    // So that a client can detect a truncated response.
    if let Some(length @ 1..) = response.body().content_length() {
        let length = HeaderValue::from(length);
        response.headers_mut().insert("content-length", length);
    }
    for (name, value) in SECURITY_HEADERS {
        let value = HeaderValue::from_static(value);
        response.headers_mut().insert(name, value);
    }
    Ok(response)
}

async fn answer(request: Request<Body>) -> Result<Response<Body>, Failure> {
    let (head, body) = request.into_parts();
    match Route::of(&head.method, head.uri.path())? {
        Route::File(file) => Ok(page::serve(file)),
        Route::List => api::list(head.uri.query().unwrap_or_default()),
        Route::Create => api::create(api::draft(&head.headers, body).await?),
        Route::Read(id) => api::read(id),
        Route::Replace(id) => {
            let draft = api::draft(&head.headers, body).await?;
            api::replace(id, draft, &IfMatch::of(&head.headers))
        }
        Route::Delete(id) => api::delete(id, &IfMatch::of(&head.headers)),
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
