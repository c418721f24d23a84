//! Responses of the host to requests that it runs no guest for, or whose guest failed.

use http::header::{HeaderValue, WWW_AUTHENTICATE};
use http::{Response, StatusCode};
use millpond_wasmtime::pool;
use wasmtime::PoolConcurrencyLimitError;
use wasmtime_wasi_http::WasiBody;

use crate::failure::{self, guest_failure};
use crate::http::answer;
use crate::log::{Event, Log};
use crate::printable::one_line;
use crate::site::Component;
use crate::tenant::{Refusal, status_of};

/// The response to a request whose tenant's database cannot be had.
pub(super) fn without_database(
    log: &dyn Log,
    request: u64,
    error: &pool::Error,
) -> Response<WasiBody> {
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
    answer::text(status, text)
}

/// The response to a request whose time is over, and a hint for the log.
pub(super) fn timed_out() -> (Response<WasiBody>, Option<&'static str>) {
    let text = "the request took longer than this server allows\n";
    let response = answer::text(StatusCode::GATEWAY_TIMEOUT, text);
    (response, Some("see request-timeout"))
}

/// The response to a request that the end of the server ends.
pub(super) fn shutting_down() -> (Response<WasiBody>, Option<&'static str>) {
    let text = "the server is shutting down\n";
    (answer::text(StatusCode::SERVICE_UNAVAILABLE, text), None)
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

pub(super) fn failed(
    log: &dyn Log,
    number: u64,
    component: &Component,
    error: &wasmtime::Error,
) -> Response<WasiBody> {
    log_failure(log, number, component, error);
    match error.downcast_ref::<PoolConcurrencyLimitError>() {
        Some(_) => answer::text(
            StatusCode::SERVICE_UNAVAILABLE,
            "out of instances: try again\n",
        ),
        None => guest_failed(),
    }
}

/// Report why a guest failed. Its client learns nothing of it.
pub(super) fn log_failure(
    log: &dyn Log,
    request: u64,
    component: &Component,
    error: &wasmtime::Error,
) {
    log.event(&Event::GuestFailed {
        request,
        component: component.name.as_str(),
        cause: failure::kind(error),
        lines: &guest_failure(error),
    });
}

pub(super) fn guest_failed() -> Response<WasiBody> {
    answer::text(StatusCode::INTERNAL_SERVER_ERROR, "the guest failed\n")
}
