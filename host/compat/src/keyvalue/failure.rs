//! Why a function failed.

use millpond_pool::Error;
use millpond_wasmtime::bindings::connections;
use wasmtime::component::ResourceTableError;

use crate::error::summary;

/// Why a function failed: the guest's mistake, or the host's.
#[derive(Debug)]
#[expect(unreachable_pub, reason = "generated code exports it")]
pub enum Failure {
    NoSuchStore,
    AccessDenied,
    Other(String),
    /// Traps: ends the guest.
    Trap(wasmtime::Error),
}

impl Failure {
    /// The bucket is an earlier request's.
    pub(super) fn stale() -> Failure {
        let message = "stale-handle: the bucket was opened by an earlier request: open it again";
        Failure::Other(message.to_owned())
    }
}

impl From<connections::Error> for Failure {
    fn from(error: connections::Error) -> Failure {
        match error.kind {
            connections::ErrorKind::NoSuchDatabase => Failure::NoSuchStore,
            connections::ErrorKind::NotAuthorized => Failure::AccessDenied,
            _ => Failure::Other(summary(&error)),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        connections::Error::from(error).into()
    }
}

impl From<ResourceTableError> for Failure {
    fn from(error: ResourceTableError) -> Failure {
        Failure::Trap(error.into())
    }
}
