"""SQLite databases that a Millpond host lends to WebAssembly components: DB-API 2.0 (PEP 249).

Used like the standard library's `sqlite3`, with the name of a granted database for a path:

    import millpond

    with millpond.connect("default") as db:
        db.execute("INSERT INTO visit VALUES (?, datetime())", ("Ada",))
"""

import warnings
from datetime import date as Date
from datetime import datetime as Timestamp
from datetime import time as Time
from typing import Any

from .adapt import (
    PARSE_COLNAMES as PARSE_COLNAMES,
    PARSE_DECLTYPES as PARSE_DECLTYPES,
    PrepareProtocol as PrepareProtocol,
    adapt as adapt,
    adapters as adapters,
    converters as converters,
    register_adapter as register_adapter,
    register_converter as register_converter,
)
from .blob import Blob as Blob
from .codes import *  # noqa: F403
from .connection import (
    LEGACY_TRANSACTION_CONTROL as LEGACY_TRANSACTION_CONTROL,
    Connection as Connection,
    enable_callback_tracebacks as enable_callback_tracebacks,
)
from .cursor import Cursor as Cursor
from .errors import (
    DatabaseError as DatabaseError,
    DataError as DataError,
    Error as Error,
    IntegrityError as IntegrityError,
    InterfaceError as InterfaceError,
    InternalError as InternalError,
    NotSupportedError as NotSupportedError,
    OperationalError as OperationalError,
    ProgrammingError as ProgrammingError,
    Warning as Warning,
)
from .row import Row as Row
from .sql import complete_statement as complete_statement

apilevel = "2.0"
paramstyle = "qmark"
threadsafety = 1
"""Threads may share this module, but not connections."""

sqlite_version_info = (3, 45, 0)
"""At least this version of SQLite runs in the host. The host does not tell which one."""
sqlite_version = ".".join(map(str, sqlite_version_info))

Binary = memoryview

# In messages and tracebacks, these are named as programs know them.
for _class in (Blob, Connection, Cursor, Row, Warning, Error, InterfaceError, DatabaseError, DataError,
               OperationalError, IntegrityError, InternalError, ProgrammingError, NotSupportedError):
    _class.__module__ = "millpond"


def connect(
    database: Any = "default", *arguments: Any, factory: type[Connection] | None = None, **options: Any
) -> Connection:
    """A connection to the database that the host granted under this name.

    Arguments are those of `Connection`, and `factory`, a subclass of it.
    """
    if len(arguments) > 4:  # `factory` is the sixth positional argument, as in sqlite3
        factory = arguments[4] if factory is None else factory
    return (factory or Connection)(database, *arguments, **options)


def databases() -> list[str]:
    """The names of the databases that the host granted, in alphabetical order."""
    from . import host

    names: list[str] = host.pool.databases()
    return names


def DateFromTicks(ticks: float) -> Date:
    """The local date at a time in seconds since 1970."""
    return Date.fromtimestamp(ticks)


def TimeFromTicks(ticks: float) -> Time:
    """The local time of day at a time in seconds since 1970."""
    return Timestamp.fromtimestamp(ticks).time()


def TimestampFromTicks(ticks: float) -> Timestamp:
    """The local date and time at a time in seconds since 1970."""
    return Timestamp.fromtimestamp(ticks)


def enable_shared_cache(do_enable: bool) -> None:
    """Does nothing. Deprecated, as in sqlite3: the host's pool decides about caches."""
    warnings.warn("enable_shared_cache is deprecated", DeprecationWarning, stacklevel=2)


def __getattr__(name: str) -> Any:
    if name == "OptimizedUnicode":
        warnings.warn("OptimizedUnicode is deprecated: use str", DeprecationWarning, stacklevel=2)
        return str
    if name == "version":
        return "0.1.0"
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
