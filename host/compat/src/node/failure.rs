//! Errors, as Node throws them.

use millpond_pool::Error;
use millpond_wasmtime::bindings::connections::{self, ErrorKind};
use wasmtime::component::ResourceTableError;

use super::wit;

/// Why a function failed: the guest's mistake, or the host's.
#[derive(Debug)]
#[expect(unreachable_pub, reason = "generated code exports it")]
pub enum Failure {
    /// Thrown by the guest.
    Guest(wit::Error),
    /// Traps: ends the guest.
    Trap(wasmtime::Error),
}

/// The result of every function here.
pub(super) type Result<T> = std::result::Result<T, Failure>;

impl Failure {
    fn of(name: &str, code: &str, message: impl Into<String>) -> Failure {
        Failure::Guest(wit::Error {
            name: name.to_owned(),
            message: message.into(),
            code: Some(code.to_owned()),
            errcode: None,
            errstr: None,
        })
    }

    pub(super) fn state(message: impl Into<String>) -> Failure {
        Failure::of("Error", "ERR_INVALID_STATE", message)
    }

    pub(super) fn not_open() -> Failure {
        Failure::state("database is not open")
    }

    pub(super) fn finalized() -> Failure {
        Failure::state("statement has been finalized")
    }

    pub(super) fn argument(message: impl Into<String>) -> Failure {
        Failure::of("TypeError", "ERR_INVALID_ARG_TYPE", message)
    }

    pub(super) fn url_scheme() -> Failure {
        let message = "The URL must be of scheme file:";
        Failure::of("TypeError", "ERR_INVALID_URL_SCHEME", message)
    }

    pub(super) fn out_of_range(message: impl Into<String>) -> Failure {
        Failure::of("RangeError", "ERR_OUT_OF_RANGE", message)
    }

    /// `what` and its verb.
    pub(super) fn unavailable(what: &str) -> Failure {
        let message = format!("node:sqlite: {what} not available on this host");
        Failure::of("Error", "ERR_FEATURE_UNAVAILABLE_ON_PLATFORM", message)
    }

    pub(super) fn sqlite(code: i32, message: impl Into<String>) -> Failure {
        Failure::Guest(wit::Error {
            name: "Error".to_owned(),
            message: message.into(),
            code: Some("ERR_SQLITE_ERROR".to_owned()),
            errcode: Some(code),
            errstr: Some(meaning(code).to_owned()),
        })
    }

    pub(super) fn too_large(message: impl Into<String>) -> Failure {
        Failure::sqlite(code::TOOBIG, message)
    }
}

impl From<connections::Error> for Failure {
    fn from(error: connections::Error) -> Failure {
        let code = match error.code {
            0 => nearest_code(error.kind),
            code => code,
        };
        match code & 0xff {
            // Use SQLite's message, which Node programs match; ours describes Millpond's interface.
            code::READONLY => Failure::sqlite(code, meaning(code)),
            _ => Failure::sqlite(code, error.message),
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
        match error {
            // Guests leave it to their garbage collector to drop handles.
            ResourceTableError::Full => {
                let message = "this request holds as many handles as it may: use fewer statements";
                Failure::sqlite(code::NOMEM, message)
            }
            error => Failure::Trap(error.into()),
        }
    }
}

/// The primary result codes that are used here: <https://sqlite.org/rescode.html>.
mod code {
    pub(super) const ERROR: i32 = 1;
    pub(super) const BUSY: i32 = 5;
    pub(super) const NOMEM: i32 = 7;
    pub(super) const READONLY: i32 = 8;
    pub(super) const INTERRUPT: i32 = 9;
    pub(super) const IOERR: i32 = 10;
    pub(super) const CORRUPT: i32 = 11;
    pub(super) const FULL: i32 = 13;
    pub(super) const CANTOPEN: i32 = 14;
    pub(super) const TOOBIG: i32 = 18;
    pub(super) const CONSTRAINT: i32 = 19;
    pub(super) const MISMATCH: i32 = 20;
    pub(super) const MISUSE: i32 = 21;
    pub(super) const AUTH: i32 = 23;
    pub(super) const RANGE: i32 = 25;
}

/// Binding more values than there are parameters.
pub(super) fn too_many_values() -> Failure {
    Failure::sqlite(code::RANGE, meaning(code::RANGE))
}

/// For errors that are not SQLite's own, the nearest code.
fn nearest_code(kind: ErrorKind) -> i32 {
    match kind {
        ErrorKind::NoSuchDatabase | ErrorKind::PoolClosed | ErrorKind::Unavailable => {
            code::CANTOPEN
        }
        ErrorKind::NotAuthorized => code::AUTH,
        ErrorKind::TooManyHandles => code::NOMEM,
        ErrorKind::PoolTimeout | ErrorKind::Busy => code::BUSY,
        ErrorKind::BusySnapshot => code::BUSY | 2 << 8,
        ErrorKind::DeadlineExceeded => code::INTERRUPT,
        ErrorKind::TooLarge => code::TOOBIG,
        ErrorKind::QuotaExceeded => code::FULL,
        ErrorKind::ConstraintUnique
        | ErrorKind::ConstraintPrimaryKey
        | ErrorKind::ConstraintForeignKey
        | ErrorKind::ConstraintNotNull
        | ErrorKind::ConstraintCheck
        | ErrorKind::ConstraintOther => code::CONSTRAINT,
        ErrorKind::Parameters => code::RANGE,
        ErrorKind::NotUtf8 => code::MISMATCH,
        ErrorKind::StaleHandle => code::MISUSE,
        ErrorKind::Corrupt => code::CORRUPT,
        ErrorKind::Io => code::IOERR,
        ErrorKind::Sql | ErrorKind::Unsupported | ErrorKind::OutcomeUnknown | ErrorKind::Other => {
            code::ERROR
        }
    }
}

/// What SQLite says of a result code: <https://sqlite.org/c3ref/errcode.html>.
fn meaning(code: i32) -> &'static str {
    // An abort by a rollback has words of its own.
    if code == (4 | 2 << 8) {
        return "abort due to ROLLBACK";
    }
    match code & 0xff {
        0 => "not an error",
        1 => "SQL logic error",
        3 => "access permission denied",
        4 => "query aborted",
        5 => "database is locked",
        6 => "database table is locked",
        7 => "out of memory",
        8 => "attempt to write a readonly database",
        9 => "interrupted",
        10 => "disk I/O error",
        11 => "database disk image is malformed",
        12 => "unknown operation",
        13 => "database or disk is full",
        14 => "unable to open database file",
        15 => "locking protocol",
        17 => "database schema has changed",
        18 => "string or blob too big",
        19 => "constraint failed",
        20 => "datatype mismatch",
        21 => "bad parameter or other API misuse",
        23 => "authorization denied",
        25 => "column index out of range",
        26 => "file is not a database",
        _ => "unknown error",
    }
}
