//! Failures, as the client sees them: a status and a JSON body.

use http::StatusCode;
use millpond_guest::ErrorKind;

use crate::json::json;
use crate::wasi_http::Response;

/// Why a request failed.
#[derive(Debug)]
pub(crate) struct Failure {
    status: StatusCode,
    /// For programs: it never changes.
    kind: &'static str,
    /// For people.
    message: String,
    /// A header that the status requires.
    header: Option<(&'static str, &'static str)>,
}

/// When to retry after a 503, in seconds.
const RETRY_AFTER: &str = "1";

impl Failure {
    fn new(status: StatusCode, kind: &'static str, message: impl Into<String>) -> Failure {
        Failure {
            status,
            kind,
            message: message.into(),
            header: None,
        }
    }

    pub(crate) fn bad_id() -> Failure {
        let message = "a note's id is a number from 1";
        Failure::new(StatusCode::BAD_REQUEST, "bad-id", message)
    }

    pub(crate) fn bad_page() -> Failure {
        let message = "a page is a number from 1 to 4294967295";
        Failure::new(StatusCode::BAD_REQUEST, "bad-page", message)
    }

    pub(crate) fn bad_search(message: impl Into<String>) -> Failure {
        Failure::new(StatusCode::BAD_REQUEST, "bad-search", message)
    }

    pub(crate) fn bad_query() -> Failure {
        let message = "the address's query is not percent-encoded UTF-8";
        Failure::new(StatusCode::BAD_REQUEST, "bad-query", message)
    }

    pub(crate) fn bad_body() -> Failure {
        let message = "the request's body is incomplete";
        Failure::new(StatusCode::BAD_REQUEST, "bad-body", message)
    }

    pub(crate) fn bad_json(message: String) -> Failure {
        Failure::new(StatusCode::BAD_REQUEST, "bad-json", message)
    }

    pub(crate) fn no_such_path() -> Failure {
        Failure::new(StatusCode::NOT_FOUND, "not-found", "not found")
    }

    pub(crate) fn no_such_note(id: i64) -> Failure {
        let message = format!("there is no note {id}");
        Failure::new(StatusCode::NOT_FOUND, "not-found", message)
    }

    pub(crate) fn changed_elsewhere(id: i64) -> Failure {
        let message = format!("note {id} has changed since it was read: read it again");
        Failure::new(
            StatusCode::PRECONDITION_FAILED,
            "changed-elsewhere",
            message,
        )
    }

    pub(crate) fn method_not_allowed(allowed: &'static str) -> Failure {
        let message = format!("only {allowed} is allowed here");
        let status = StatusCode::METHOD_NOT_ALLOWED;
        Failure {
            header: Some(("allow", allowed)),
            ..Failure::new(status, "method-not-allowed", message)
        }
    }

    pub(crate) fn too_large(limit: usize) -> Failure {
        let message = format!("a request's body may have at most {limit} bytes");
        Failure::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", message)
    }

    pub(crate) fn not_json() -> Failure {
        let message = "send a note with content-type: application/json";
        let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        Failure::new(status, "unsupported-media-type", message)
    }

    pub(crate) fn invalid_note(message: String) -> Failure {
        Failure::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid-note", message)
    }

    pub(crate) fn into_response(self) -> Response {
        let error = serde_json::json!({ "error": { "kind": self.kind, "message": self.message } });
        let response = json(self.status, &error);
        match self.header {
            Some((name, value)) => response.header(name, value),
            None => response,
        }
    }

    #[cfg(test)]
    pub(crate) fn status(&self) -> u16 {
        self.status.as_u16()
    }
}

/// Converts database errors. The client learns what it can act on; the rest goes to standard error,
/// for the operator.
impl From<millpond_guest::Error> for Failure {
    fn from(error: millpond_guest::Error) -> Failure {
        let busy = |kind| Failure {
            header: Some(("retry-after", RETRY_AFTER)),
            ..Failure::new(
                StatusCode::SERVICE_UNAVAILABLE,
                kind,
                "the server is busy: try again",
            )
        };
        match error.kind() {
            ErrorKind::PoolTimeout => busy("pool-timeout"),
            ErrorKind::PoolClosed => busy("pool-closed"),
            ErrorKind::Busy | ErrorKind::BusySnapshot => busy("busy"),
            ErrorKind::DeadlineExceeded => busy("deadline-exceeded"),
            ErrorKind::QuotaExceeded => Failure::new(
                StatusCode::INSUFFICIENT_STORAGE,
                "quota-exceeded",
                "the storage is full: delete a note",
            ),
            kind => {
                eprintln!("{kind:?} (code {}): {error}", error.code());
                Failure::new(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "internal",
                    "the notes cannot be reached",
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_has_a_status_and_headers() {
        let response = Failure::method_not_allowed("GET").into_response();
        assert_eq!(response.status, 405);
        assert!(response.headers.contains(&("allow", "GET".into())));
        let json = ("content-type", "application/json".into());
        assert!(response.headers.contains(&json));
    }

    #[test]
    fn a_caller_learns_nothing_of_an_internal_error() {
        let secret = millpond_guest::Error::to_sql("secret");
        let failure = Failure::from(secret);
        assert_eq!(failure.status(), 500);
        assert!(!failure.message.contains("secret"));
    }
}
