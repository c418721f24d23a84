//! Why a request has no tenant, and the status of the response.

use std::fmt;

use http::StatusCode;
use millpond_pool::ErrorKind;

/// Why a request has no tenant. The text is for the log: it says nothing that the client sent, and
/// nothing that a client should learn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// The request is malformed or ambiguous, as the text says: 400.
    Malformed(&'static str),
    /// There is no bearer token: 401.
    NoToken,
    /// The token is not valid, as the text says: 401.
    InvalidToken(&'static str),
    /// The request names no possible tenant: 404.
    NoTenant,
}

impl Refusal {
    /// The status of the response.
    pub fn status(&self) -> StatusCode {
        match self {
            Refusal::Malformed(_) => StatusCode::BAD_REQUEST,
            Refusal::NoToken | Refusal::InvalidToken(_) => StatusCode::UNAUTHORIZED,
            Refusal::NoTenant => StatusCode::NOT_FOUND,
        }
    }

    /// Why, for the log.
    pub fn reason(&self) -> &'static str {
        match self {
            Refusal::Malformed(why) | Refusal::InvalidToken(why) => why,
            Refusal::NoToken => "there is no bearer token",
            Refusal::NoTenant => "the request names no tenant",
        }
    }

    /// The header `www-authenticate` of the response, which belongs to the status 401.
    pub fn challenge(&self) -> Option<&'static str> {
        match self {
            Refusal::NoToken => Some("Bearer"),
            Refusal::InvalidToken(_) => Some("Bearer error=\"invalid_token\""),
            Refusal::Malformed(_) | Refusal::NoTenant => None,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason())
    }
}

impl std::error::Error for Refusal {}

/// The status of the response if a tenant's pool cannot be had: 404 if there is no such database,
/// 503 if it is suspended, or could not be opened in time, and 500 otherwise.
pub fn status_of(error: &millpond_pool::Error) -> StatusCode {
    match error.kind() {
        ErrorKind::NoSuchDatabase => StatusCode::NOT_FOUND,
        ErrorKind::Unavailable | ErrorKind::PoolTimeout { .. } | ErrorKind::PoolClosed => {
            StatusCode::SERVICE_UNAVAILABLE
        }
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}
