//! Maps requests to routes.

use http::Method;

use crate::failure::Failure;
use crate::page::{self, File};

/// The collection of notes. A note is this, `/` and its id.
pub(crate) const NOTES: &str = "/api/notes";

/// What a request is for.
#[derive(Debug)]
pub(crate) enum Route {
    File(&'static File),
    List,
    Create,
    Read(i64),
    Replace(i64),
    Delete(i64),
}

impl Route {
    /// The route of a method and a path, without its query.
    pub(crate) fn of(method: &Method, path: &str) -> Result<Route, Failure> {
        if let Some(file) = page::file(path) {
            return match *method {
                Method::GET | Method::HEAD => Ok(Route::File(file)),
                _ => Err(Failure::method_not_allowed("GET, HEAD")),
            };
        }
        if path == NOTES {
            return match *method {
                Method::GET | Method::HEAD => Ok(Route::List),
                Method::POST => Ok(Route::Create),
                _ => Err(Failure::method_not_allowed("GET, HEAD, POST")),
            };
        }
        match path
            .strip_prefix(NOTES)
            .and_then(|rest| rest.strip_prefix('/'))
        {
            Some(id) => match *method {
                Method::GET | Method::HEAD => Ok(Route::Read(parse_id(id)?)),
                Method::PUT => Ok(Route::Replace(parse_id(id)?)),
                Method::DELETE => Ok(Route::Delete(parse_id(id)?)),
                _ => Err(Failure::method_not_allowed("GET, HEAD, PUT, DELETE")),
            },
            None => Err(Failure::no_such_path()),
        }
    }
}

/// Parses the id in a note's path, as the API writes ids: digits, without a sign or leading zeros.
fn parse_id(text: &str) -> Result<i64, Failure> {
    match text.parse::<i64>() {
        Ok(id) if id > 0 && id.to_string() == text => Ok(id),
        _ => Err(Failure::bad_id()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(method: Method, path: &str) -> u16 {
        Route::of(&method, path).unwrap_err().status()
    }

    #[test]
    fn every_route_is_found() {
        let of = |method: Method, path| Route::of(&method, path).unwrap();
        assert!(matches!(of(Method::GET, "/"), Route::File(_)));
        assert!(matches!(of(Method::HEAD, "/notes.js"), Route::File(_)));
        assert!(matches!(of(Method::GET, NOTES), Route::List));
        assert!(matches!(of(Method::POST, NOTES), Route::Create));
        assert!(matches!(of(Method::GET, "/api/notes/7"), Route::Read(7)));
        assert!(matches!(of(Method::PUT, "/api/notes/7"), Route::Replace(7)));
        let last = format!("/api/notes/{}", i64::MAX);
        assert!(matches!(of(Method::DELETE, &last), Route::Delete(i64::MAX)));
    }

    #[test]
    fn an_unknown_route_says_why() {
        for path in ["", "/api", "/api/notesx", "/index.html", "/../notes.js"] {
            assert_eq!(status(Method::GET, path), 404, "{path}");
        }
        for id in ["", "0", "-1", "+1", "01", "1/", "x", "9223372036854775808"] {
            assert_eq!(status(Method::GET, &format!("{NOTES}/{id}")), 400, "{id}");
        }
        assert_eq!(status(Method::DELETE, NOTES), 405);
        assert_eq!(status(Method::POST, "/api/notes/7"), 405);
        assert_eq!(status(Method::POST, "/"), 405);
    }
}
