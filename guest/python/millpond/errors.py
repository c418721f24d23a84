"""The exceptions of DB-API 2.0, and how the host's errors become them."""

from typing import Any

from . import codes


class Warning(Exception):
    """Not raised by this package; part of DB-API 2.0."""


class Error(Exception):
    """The base class of all other exceptions here.

    The attributes are set if the host answered with an error:
    """

    kind: str | None = None
    """The contract's kind, such as `"busy"` or `"constraint-unique"`."""
    sqlite_errorcode: int
    """SQLite's extended result code."""
    sqlite_errorname: str
    """Its name, such as `"SQLITE_CONSTRAINT_UNIQUE"`."""
    offset: int | None = None
    """The byte offset of the error in the SQL text, if SQLite knows it."""
    rolled_back: bool = False
    """Whether SQLite or the host rolled back the open transaction."""


class InterfaceError(Error):
    """A misuse of this package."""


class DatabaseError(Error):
    """An error of the database."""


class DataError(DatabaseError):
    """A value is too large."""


class OperationalError(DatabaseError):
    """An error of the database's operation: a lock, a timeout, SQL that does not compile."""


class IntegrityError(DatabaseError):
    """A constraint failed."""


class InternalError(DatabaseError):
    """SQLite is in an unexpected state."""


class ProgrammingError(DatabaseError):
    """A mistake of the program: wrong parameters, a closed connection."""


class NotSupportedError(DatabaseError):
    """The library or the database cannot do this."""


# By SQLite's primary result code, as the standard library does it.
_BY_CODE: dict[int, type[Error]] = {
    codes.SQLITE_INTERNAL: InternalError,
    codes.SQLITE_NOTFOUND: InternalError,
    codes.SQLITE_ERROR: OperationalError,
    codes.SQLITE_PERM: OperationalError,
    codes.SQLITE_ABORT: OperationalError,
    codes.SQLITE_BUSY: OperationalError,
    codes.SQLITE_LOCKED: OperationalError,
    codes.SQLITE_NOMEM: OperationalError,
    codes.SQLITE_READONLY: OperationalError,
    codes.SQLITE_INTERRUPT: OperationalError,
    codes.SQLITE_IOERR: OperationalError,
    codes.SQLITE_FULL: OperationalError,
    codes.SQLITE_CANTOPEN: OperationalError,
    codes.SQLITE_PROTOCOL: OperationalError,
    codes.SQLITE_EMPTY: OperationalError,
    codes.SQLITE_SCHEMA: OperationalError,
    codes.SQLITE_CORRUPT: DatabaseError,
    codes.SQLITE_TOOBIG: DataError,
    codes.SQLITE_CONSTRAINT: IntegrityError,
    codes.SQLITE_MISMATCH: IntegrityError,
    codes.SQLITE_MISUSE: InterfaceError,
    codes.SQLITE_RANGE: InterfaceError,
}

# By the contract's kind, for errors that are not SQLite's: the class, and the code nearest to it.
_BY_KIND: dict[str, tuple[type[Error], int]] = {
    "no-such-database": (OperationalError, codes.SQLITE_CANTOPEN),
    "not-authorized": (DatabaseError, codes.SQLITE_AUTH),
    "too-many-handles": (OperationalError, codes.SQLITE_CANTOPEN),
    "pool-timeout": (OperationalError, codes.SQLITE_BUSY),
    "pool-closed": (OperationalError, codes.SQLITE_CANTOPEN),
    "busy": (OperationalError, codes.SQLITE_BUSY),
    "busy-snapshot": (OperationalError, codes.SQLITE_BUSY_SNAPSHOT),
    "deadline-exceeded": (OperationalError, codes.SQLITE_INTERRUPT),
    "too-large": (DataError, codes.SQLITE_TOOBIG),
    "quota-exceeded": (OperationalError, codes.SQLITE_FULL),
    "sql": (OperationalError, codes.SQLITE_ERROR),
    "parameters": (ProgrammingError, codes.SQLITE_RANGE),
    "not-utf8": (OperationalError, codes.SQLITE_ERROR),
    "stale-handle": (OperationalError, codes.SQLITE_ABORT),
    "corrupt": (DatabaseError, codes.SQLITE_CORRUPT),
    "io": (OperationalError, codes.SQLITE_IOERR),
    "unsupported": (NotSupportedError, codes.SQLITE_ERROR),
    "unavailable": (OperationalError, codes.SQLITE_CANTOPEN),
    "outcome-unknown": (OperationalError, codes.SQLITE_IOERR),
}


def new(kind: str, message: str, code: int = 0) -> Error:
    """An exception of a kind, with SQLite's code or the one nearest to the kind."""
    by_kind, default = _BY_KIND.get(kind, (DatabaseError, codes.SQLITE_ERROR))
    error = _BY_CODE.get(code & 0xFF, by_kind)(message) if code else by_kind(message)
    error.kind = kind
    error.sqlite_errorcode = code or default
    error.sqlite_errorname = codes.ERROR_NAMES.get(
        error.sqlite_errorcode, codes.ERROR_NAMES.get(error.sqlite_errorcode & 0xFF, "unknown")
    )
    return error


def from_host(error: Any) -> Error:
    """The exception for the contract's record `error`."""
    exception = new(error.kind.name.lower().replace("_", "-"), error.message, error.code)
    exception.offset = error.offset
    exception.rolled_back = error.rolled_back
    return exception


def unsupported(what: str) -> NotSupportedError:
    """The exception for what sqlite3 offers and a pooled database in the host cannot."""
    return NotSupportedError(what)
