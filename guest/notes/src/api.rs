//! The JSON API: the responses of each route.

use wstd::http::body::Bytes;
use wstd::http::body::util::{BodyExt, Empty, LengthLimitError, Limited};
use wstd::http::{Body, HeaderMap, Response, StatusCode};

use crate::failure::Failure;
use crate::json::json;
use crate::note::{Draft, Note};
use crate::query::ListQuery;
use crate::routes::NOTES;
use crate::store::{self, Change};
use crate::version::{self, IfMatch};

/// The maximum size of a request body, in bytes: larger than the longest note as JSON, and small
/// enough that it cannot exhaust this component's memory.
const MAX_REQUEST: usize = 256 * 1024;

/// `GET /api/notes?search=&page=`
pub(crate) fn list(query: &str) -> Result<Response<Body>, Failure> {
    let query = ListQuery::parse(query)?;
    let listing = store::list(&query.search, query.page)?;
    Ok(json(StatusCode::OK, &listing))
}

/// `POST /api/notes`
pub(crate) fn create(draft: Draft) -> Result<Response<Body>, Failure> {
    let note = store::create(&draft)?;
    let mut response = one(StatusCode::CREATED, &note);
    let location = format!("{NOTES}/{}", note.id);
    if let Ok(location) = location.parse() {
        response.headers_mut().insert("location", location);
    }
    Ok(response)
}

/// `GET /api/notes/{id}`
pub(crate) fn read(id: i64) -> Result<Response<Body>, Failure> {
    match store::read(id)? {
        Some(note) => Ok(one(StatusCode::OK, &note)),
        None => Err(Failure::no_such_note(id)),
    }
}

/// `PUT /api/notes/{id}`
///
/// With `If-Match`, only if the note has one of these versions.
pub(crate) fn replace(
    id: i64,
    draft: Draft,
    if_match: &IfMatch,
) -> Result<Response<Body>, Failure> {
    let note = changed(id, store::replace(id, &draft, if_match)?)?;
    Ok(one(StatusCode::OK, &note))
}

/// `DELETE /api/notes/{id}`
///
/// With `If-Match`, only if the note has one of these versions.
pub(crate) fn delete(id: i64, if_match: &IfMatch) -> Result<Response<Body>, Failure> {
    changed(id, store::delete(id, if_match)?)?;
    let mut response = Response::new(no_body());
    *response.status_mut() = StatusCode::NO_CONTENT;
    Ok(response)
}

/// The result of a change, or the failure if there was none.
fn changed<T>(id: i64, change: Change<T>) -> Result<T, Failure> {
    match change {
        Change::Made(made) => Ok(made),
        Change::NoSuchNote => Err(Failure::no_such_note(id)),
        Change::OtherVersion => Err(Failure::changed_elsewhere(id)),
    }
}

/// A response of one note, with its version.
fn one(status: StatusCode, note: &Note) -> Response<Body> {
    let mut response = json(status, note);
    if let Ok(tag) = version::tag(note.version).parse() {
        response.headers_mut().insert("etag", tag);
    }
    response
}

/// Reads the draft in a request.
///
/// Only accepts `application/json`: another site's page can make a browser send a form here, but
/// not JSON.
pub(crate) async fn draft(headers: &HeaderMap, body: Body) -> Result<Draft, Failure> {
    if !is_json(headers) {
        return Err(Failure::not_json());
    }
    let body = Limited::new(body.into_boxed_body(), MAX_REQUEST);
    match body.collect().await {
        Ok(body) => Draft::from_json(&body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(Failure::too_large(MAX_REQUEST)),
        Err(_) => Err(Failure::bad_body()),
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let Some(Ok(value)) = headers.get("content-type").map(|value| value.to_str()) else {
        return false;
    };
    let media_type = value.split(';').next().unwrap_or_default().trim();
    media_type.eq_ignore_ascii_case("application/json")
}

/// An empty body. `Body::empty` does not work: wstd writes to a stream that the server has already
/// closed, and panics.
pub(crate) fn no_body() -> Body {
    Body::from_http_body(Empty::<Bytes>::new())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_json_is_json() {
        let with = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert("content-type", value.parse().unwrap());
            is_json(&headers)
        };
        assert!(with("application/json"));
        assert!(with("Application/JSON; charset=utf-8"));
        assert!(!with("text/plain"));
        assert!(!with("application/jsonp"));
        assert!(!with("text/plain; application/json"));
        assert!(!is_json(&HeaderMap::new()));
    }
}
