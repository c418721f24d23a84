//! The JSON API: the responses of each route.

use http::StatusCode;

use crate::failure::Failure;
use crate::json::json;
use crate::note::{Draft, Note};
use crate::query::ListQuery;
use crate::routes::NOTES;
use crate::store::{self, Change};
use crate::version::{self, IfMatch};
use crate::wasi_http::{BodyError, Request, Response};

/// The maximum size of a request body, in bytes: larger than the longest note as JSON, and small
/// enough that it cannot exhaust this component's memory.
const MAX_REQUEST: usize = 256 * 1024;

/// `GET /api/notes?search=&page=`
pub(crate) fn list(query: &str) -> Result<Response, Failure> {
    let query = ListQuery::parse(query)?;
    let listing = store::list(&query.search, query.page)?;
    Ok(json(StatusCode::OK, &listing))
}

/// `POST /api/notes`
pub(crate) fn create(request: &Request) -> Result<Response, Failure> {
    let note = store::create(&draft(request)?)?;
    let location = format!("{NOTES}/{}", note.id);
    Ok(one(StatusCode::CREATED, &note).header("location", location))
}

/// `GET /api/notes/{id}`
pub(crate) fn read(id: i64) -> Result<Response, Failure> {
    match store::read(id)? {
        Some(note) => Ok(one(StatusCode::OK, &note)),
        None => Err(Failure::no_such_note(id)),
    }
}

/// `PUT /api/notes/{id}`
///
/// With `If-Match`, only if the note has one of these versions.
pub(crate) fn replace(id: i64, request: &Request) -> Result<Response, Failure> {
    let change = store::replace(id, &draft(request)?, &IfMatch::of(request))?;
    let note = changed(id, change)?;
    Ok(one(StatusCode::OK, &note))
}

/// `DELETE /api/notes/{id}`
///
/// With `If-Match`, only if the note has one of these versions.
pub(crate) fn delete(id: i64, request: &Request) -> Result<Response, Failure> {
    changed(id, store::delete(id, &IfMatch::of(request))?)?;
    Ok(Response::new("").status(StatusCode::NO_CONTENT))
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
fn one(status: StatusCode, note: &Note) -> Response {
    json(status, note).header("etag", version::tag(note.version))
}

/// Reads the draft in a request.
///
/// Only accepts `application/json`: another site's page can make a browser send a form here, but
/// not JSON.
fn draft(request: &Request) -> Result<Draft, Failure> {
    if !is_json(&request.header("content-type")) {
        return Err(Failure::not_json());
    }
    match request.body(MAX_REQUEST) {
        Ok(body) => Draft::from_json(&body),
        Err(BodyError::TooLarge) => Err(Failure::too_large(MAX_REQUEST)),
        Err(BodyError::Incomplete) => Err(Failure::bad_body()),
    }
}

/// Whether the `content-type` is JSON.
fn is_json(values: &[String]) -> bool {
    let value = values.first().map_or("", String::as_str);
    let media_type = value.split(';').next().unwrap_or_default().trim();
    media_type.eq_ignore_ascii_case("application/json")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_json_is_json() {
        let with = |value: &str| is_json(&[value.to_owned()]);
        assert!(with("application/json"));
        assert!(with("Application/JSON; charset=utf-8"));
        assert!(!with("text/plain"));
        assert!(!with("application/jsonp"));
        assert!(!with("text/plain; application/json"));
        assert!(!is_json(&[]));
    }
}
