//! The host's answers to requests that it runs no guest for, or whose guest failed.

use http::header::{HeaderValue, WWW_AUTHENTICATE};
use http::{Response, StatusCode};
use millpond_wasmtime::pool::{self, ErrorKind};
use wasmtime::PoolConcurrencyLimitError;
use wasmtime_wasi_http::WasiBody;

use crate::failure::{self, guest_ended, guest_failure};
use crate::http::answer::{self, Answer};
use crate::http::request;
use crate::log::{Event, Log};
use crate::printable::one_line;
use crate::site::Component;
use crate::tenant::{Refusal, status_of};

/// The answer to a request whose tenant's database cannot be opened.
pub(super) fn without_database(log: &dyn Log, request: u64, error: &pool::Error) -> Answer {
    let status = status_of(error);
    let text = match status {
        StatusCode::NOT_FOUND => NO_TENANT,
        StatusCode::SERVICE_UNAVAILABLE => "the database is not available: try again\n",
        _ => {
            let reason = &one_line(&error.to_string());
            log.event(&Event::DatabaseFailed { request, reason });
            "the database cannot be opened\n"
        }
    };
    let hint = match error.kind() {
        ErrorKind::Unavailable => Some("the database is suspended, or its server does not answer"),
        ErrorKind::PoolTimeout { .. } => Some("see max-open-pools"),
        _ => None,
    };
    Answer::Host(answer::text(status, text), hint)
}

/// The answer to a request whose body is not as it should be.
pub(super) fn wrong_body((status, text): request::Refusal) -> Answer {
    Answer::Host(answer::text(status, text), None)
}

/// The answer to a request whose time is over.
pub(super) fn timed_out() -> Answer {
    let text = "the request took longer than this server allows\n";
    let response = answer::text(StatusCode::GATEWAY_TIMEOUT, text);
    Answer::Host(response, Some("see request-timeout"))
}

/// The answer to a request that the end of the server ends.
pub(super) fn shutting_down() -> Answer {
    let text = "the server is shutting down\n";
    Answer::Host(answer::text(StatusCode::SERVICE_UNAVAILABLE, text), None)
}

/// The response to a request that names no tenant. It says no more than its status.
pub(super) fn without_tenant(refusal: &Refusal) -> Response<WasiBody> {
    let text = match refusal.status() {
        StatusCode::BAD_REQUEST => "the request names no tenant, or more than one\n",
        StatusCode::UNAUTHORIZED => "the request has no valid token\n",
        _ => NO_TENANT,
    };
    let mut response = answer::text(refusal.status(), text);
    if let Some(challenge) = refusal.challenge() {
        let challenge = HeaderValue::from_static(challenge);
        response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    }
    response
}

/// The same for a name that is none as for a tenant without a database.
const NO_TENANT: &str = "there is no such tenant\n";

/// The answer to a request whose guest failed. Its client does not learn why: that is logged.
pub(super) fn failed(
    log: &dyn Log,
    request: u64,
    component: &Component,
    error: &wasmtime::Error,
) -> Answer {
    log.event(&Event::GuestFailed {
        request,
        component: component.name.as_str(),
        cause: failure::kind(error),
        lines: &guest_failure(error),
    });
    let response = match error.downcast_ref::<PoolConcurrencyLimitError>() {
        Some(_) => answer::text(
            StatusCode::SERVICE_UNAVAILABLE,
            "out of instances: try again\n",
        ),
        None => answer::text(StatusCode::INTERNAL_SERVER_ERROR, GUEST_FAILED),
    };
    Answer::Host(response, Some(guest_ended(error)))
}

/// The answer to a request whose guest is gone, and has told no reason.
pub(super) fn lost() -> Answer {
    let response = answer::text(StatusCode::INTERNAL_SERVER_ERROR, GUEST_FAILED);
    Answer::Host(response, Some("the guest failed"))
}

const GUEST_FAILED: &str = "the guest failed\n";
