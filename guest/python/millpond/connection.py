"""Connections: transactions, and what sqlite3's connections offer besides."""

import sys
from collections.abc import Callable, Iterable, Iterator
from os import fspath
from types import SimpleNamespace, TracebackType
from typing import Any, Literal
from urllib.parse import parse_qs, unquote, urlsplit

from . import codes, errors, flat, host, parameters
from .blob import Blob
from .cursor import Cursor, check_sql
from .dump import dump
from .errors import DataError, Error, NotSupportedError, OperationalError, ProgrammingError, unsupported
from .limits import Limits
from .statement import Statement, StatementCache

LEGACY_TRANSACTION_CONTROL: Literal[-1] = -1
"""For `connect(autocommit=…)`: `isolation_level` decides when transactions begin."""

_LEVELS = ("", "DEFERRED", "IMMEDIATE", "EXCLUSIVE")


class Connection:
    """A connection to a database that the host granted to this component.

    The host lends it at the first statement, not before: a module's top level runs when the
    component is built, and a connection taken there would be invalid later. `close` returns it. The
    end of the request does too.
    """

    Warning = errors.Warning
    Error = errors.Error
    InterfaceError = errors.InterfaceError
    DatabaseError = errors.DatabaseError
    DataError = errors.DataError
    OperationalError = errors.OperationalError
    IntegrityError = errors.IntegrityError
    InternalError = errors.InternalError
    ProgrammingError = errors.ProgrammingError
    NotSupportedError = errors.NotSupportedError

    row_factory: Any
    """Makes rows for new cursors from the cursor and a tuple; `None` for the tuple."""
    text_factory: Any
    """Makes a Python value from the UTF-8 bytes of text; `str` by default."""

    _ready = False

    def __init__(
        self,
        database: Any,
        timeout: float = 5.0,
        detect_types: int = 0,
        isolation_level: str | None = "",
        check_same_thread: bool = True,
        factory: Any = None,
        cached_statements: int = 128,
        uri: bool = False,
        *,
        autocommit: bool | Literal[-1] = LEGACY_TRANSACTION_CONTROL,
        read_only: bool = False,
    ) -> None:
        if self._ready:
            self._ready = False
            self._return()
        self._name, self._read_only = _parse(fspath(database), uri, read_only)
        self._isolation_level = _level(isolation_level)
        self._autocommit = _autocommit(autocommit)
        self._detect_types = detect_types
        self._cached_statements = cached_statements
        self._limits = Limits()
        self._handle: Any = None
        self._cache: StatementCache | None = None
        # A transaction is open that has written, or that SQL text has begun.
        self._in_transaction = False
        self._trace_callback: parameters.Trace | None = None
        self._last_rowid = 0
        self._closed = False
        self.row_factory = None
        self.text_factory = str
        self._ready = True

    # Cursors and statements

    def cursor(self, factory: Callable[["Connection"], Cursor] = Cursor) -> Cursor:
        """A new cursor."""
        self._check()
        cursor = factory(self)
        if not issubclass(type(cursor), Cursor):
            raise TypeError(f"factory must return a cursor, not {type(cursor).__name__}")
        if self.row_factory is not None:
            cursor.row_factory = self.row_factory
        return cursor

    def execute(self, sql: str, parameters: Any = (), /) -> Cursor:
        """Run one statement on a new cursor, and return the cursor."""
        return self.cursor().execute(sql, parameters)

    def executemany(self, sql: str, parameters: Iterable[Any], /) -> Cursor:
        """Run one statement for each row of parameters on a new cursor, and return the cursor."""
        return self.cursor().executemany(sql, parameters)

    def executescript(self, sql_script: str, /) -> Cursor:
        """Run every statement of a script on a new cursor, and return the cursor."""
        return self.cursor().executescript(sql_script)

    def __call__(self, sql: Any = None, /) -> Statement:
        """Compile a statement without running it, as a check of its text."""
        self._check()
        check_sql(self, sql)
        cache = self._statements()
        statement = cache.idle(sql) or cache.compile(sql)
        self._statements().give_back(statement)
        return statement

    # Transactions

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open."""
        self._check()
        return self._handle is not None and self._handle.in_transaction()

    @property
    def total_changes(self) -> int:
        """How many rows this connection has changed."""
        self._check()
        if self._handle is None:
            return 0
        return int(self._query("SELECT total_changes()")[0][0])

    @property
    def isolation_level(self) -> str | None:
        """How transactions begin by themselves before `INSERT`, `UPDATE`, `DELETE` and `REPLACE`.

        `""` and `"DEFERRED"`: see `deferred` in the contract; `"IMMEDIATE"` and `"EXCLUSIVE"`: see
        `immediate`; `None`: they do not.
        """
        self._check()
        return self._isolation_level

    @isolation_level.setter
    def isolation_level(self, level: str | None) -> None:
        self._check()
        self._isolation_level = _level(level)
        if level is None:
            self.commit()

    @property
    def autocommit(self) -> bool | Literal[-1]:
        """Whether statements commit by themselves (PEP 249), or `LEGACY_TRANSACTION_CONTROL`.

        If false, a transaction begins before the first statement, and after `commit` and
        `rollback` again before the next one.
        """
        self._check()
        return self._autocommit

    @autocommit.setter
    def autocommit(self, autocommit: bool | Literal[-1]) -> None:
        self._check()
        value = _autocommit(autocommit)
        if value is True:
            self._end("COMMIT")
        self._autocommit = value

    def commit(self) -> None:
        """Commit the open transaction, if there is one."""
        self._check()
        if self._autocommit is not True:
            self._end("COMMIT")

    def rollback(self) -> None:
        """Roll back the open transaction, if there is one."""
        self._check()
        if self._autocommit is not True:
            self._end("ROLLBACK")

    def __enter__(self) -> "Connection":
        self._check()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> Literal[False]:
        """Commit, or roll back if the block or the commit raised an exception."""
        if kind is not None:
            self.rollback()
            return False
        try:
            self.commit()
        except Error:
            self.rollback()
            raise
        return False

    def close(self) -> None:
        """Return the connection to the host's pool. An open transaction is rolled back."""
        if not self._ready:
            raise ProgrammingError("Base Connection.__init__ not called.")
        self._closed = True
        self._return()

    # What else sqlite3's connections offer

    def getlimit(self, category: int, /) -> int:
        """A limit of SQLite, such as `SQLITE_LIMIT_SQL_LENGTH`."""
        self._check()
        return self._limits.get(category)

    def setlimit(self, category: int, limit: int, /) -> int:
        """Lower a limit for this connection, and return the one before."""
        self._check()
        return self._limits.set(category, limit)

    def iterdump(self) -> Iterator[str]:
        """The database as SQL text."""
        self._check()
        return dump(self)

    def blobopen(
        self, table: str, column: str, row: int, /, *, readonly: bool = False, name: str = "main"
    ) -> Blob:
        """Open a value to read and write parts of it. A write replaces the whole value."""
        self._check()
        return Blob(self, (name, table, column, row), readonly, _internal=True)

    def set_trace_callback(self, trace_callback: parameters.Trace | None) -> None:
        """Call a function with each statement before it runs, its parameters filled in.

        It does not see the statements of triggers, and sees a script as a whole.
        """
        self._check()
        self._trace_callback = trace_callback

    def interrupt(self) -> None:
        """Does nothing: no other thread could call it while a statement runs.

        The host stops statements that take too long.
        """
        self._check()

    def create_function(
        self, name: str, narg: int, func: Any, *, deterministic: bool = False
    ) -> None:
        """Not supported."""
        self._refuse("functions in SQL: the database runs in the host and cannot call the component")

    def create_aggregate(self, name: str, n_arg: int, aggregate_class: Any) -> None:
        """Not supported."""
        self._refuse("aggregates in SQL: the database runs in the host and cannot call the component")

    def create_window_function(self, name: str, num_params: int, aggregate_class: Any, /) -> None:
        """Not supported."""
        self._refuse("window functions: the database runs in the host and cannot call the component")

    def create_collation(self, name: str, callback: Any, /) -> None:
        """Not supported, except to remove a collation that is not there."""
        self._check()
        if not isinstance(name, str):
            raise TypeError(f"create_collation() argument 1 must be str, not {type(name).__name__}")
        name.encode()
        if callback is None:
            return
        if not callable(callback):
            raise TypeError("parameter must be callable")
        self._refuse("collations: the database runs in the host and cannot call the component")

    def set_authorizer(self, authorizer_callback: Any) -> None:
        """Not supported, except `None`. The host authorizes by the component's grant."""
        self._check()
        if authorizer_callback is not None:
            self._refuse("authorizers: the host authorizes statements by the component's grant")

    def set_progress_handler(self, progress_handler: Any, n: int) -> None:
        """Not supported, except `None`. The host stops statements that take too long."""
        self._check()
        if progress_handler is not None:
            self._refuse("progress handlers: the host stops statements that take too long")

    def backup(self, target: Any, **options: Any) -> None:
        """Not supported."""
        self._refuse("backups: only the host reaches the database's file. See `iterdump`")

    def _refuse(self, what: str) -> None:
        self._check()
        raise unsupported("millpond does not support " + what)

    # What cursors use

    def _check(self) -> None:
        if not self._ready:
            raise ProgrammingError("Base Connection.__init__ not called.")
        if self._closed:
            raise ProgrammingError("Cannot operate on a closed database.")

    def _open(self) -> Any:
        """The host's connection, which it lends now if it has not yet."""
        if self._handle is None:
            access = host.pool.Access
            mode = access.READ_ONLY if self._read_only else access.READ_WRITE
            self._handle = host.call(host.pool.get_connection, self._name, mode)
        return self._handle

    def _statements(self) -> StatementCache:
        if self._cache is None:
            self._cache = StatementCache(self._open(), self._cached_statements)
        return self._cache

    def _begin_for(self, statement: Statement) -> None:
        """Begin a transaction if this statement needs one."""
        if self._autocommit is True:
            return
        if self._autocommit is False:
            begin = "BEGIN"
        elif self._isolation_level is None or not statement.changes_rows:
            return
        else:
            begin = "BEGIN " + self._isolation_level
        handle = self._open()
        if not handle.in_transaction():
            self._trace(begin)
            host.call(handle.execute, begin, b"")
        if not statement.read_only:
            self._in_transaction = True

    def _end(self, sql: str) -> None:
        if self.in_transaction:
            self._trace(sql)
            host.call(self._handle.execute, sql, b"")
        elif self._in_transaction and sql == "COMMIT":
            self._refresh()
        self._in_transaction = False

    def _note_transaction(self) -> None:
        """SQL text may have begun or ended a transaction."""
        self._in_transaction = self._handle is not None and self._handle.in_transaction()

    def _refresh(self) -> None:
        """Have no stale connection, before something that cannot be run again."""
        if self._handle is not None:
            # Without a statement the call does nothing: it fails in any case.
            error = host.attempt(self._handle.execute, "", b"")
            if isinstance(error, Error):
                self._reconnects(error)

    def _reconnects(self, error: errors.Error) -> bool:
        """Whether the next statement gets another connection, because the host took this one back.

        It does so at the end of a request, and an instance may serve several. A transaction that
        was open is lost, and the program must know.
        """
        if error.kind != "stale-handle" or error.rolled_back or self._handle is None:
            return False
        lost, self._in_transaction = self._in_transaction, False
        self._forget()
        if lost:
            raise errors.new(
                "stale-handle",
                "the open transaction was rolled back, because its request or its time has ended",
            )
        return True

    def _commit_before_script(self) -> None:
        if self._autocommit == LEGACY_TRANSACTION_CONTROL:
            self._end("COMMIT")

    def _failed(self, error: Exception) -> None:
        """End a transaction that a constraint's `ON CONFLICT ROLLBACK` has ended, as sqlite3 does.

        One that was rolled back for another reason stays: until `rollback`, every statement fails,
        so that none runs outside of the transaction that it was meant for.
        """
        if isinstance(error, Error) and error.rolled_back and (error.kind or "").startswith("constraint-"):
            host.attempt(self._handle.execute, "ROLLBACK", b"")
            self._in_transaction = False

    def _query(self, sql: str, values: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        """The rows of one of this package's own statements."""
        cursor = Cursor(self)
        cursor.row_factory = None
        return cursor.execute(sql, values).fetchall()

    def _counters(self) -> tuple[int, int]:
        """The rows that the last statement changed, and the rowid inserted last."""
        try:
            changes, last_rowid = self._row("SELECT changes(), last_insert_rowid()")
            return changes, last_rowid
        except NotSupportedError:
            # A libSQL server knows the rowid only once this connection has inserted a row.
            return self._row("SELECT changes()")[0], self._last_rowid

    def _row(self, sql: str) -> tuple[Any, ...]:
        result = host.call(self._open().query, sql, b"", False)
        row: tuple[Any, ...] = next(flat.decode(result.rows, self))
        return row

    def _trace(self, sql: str) -> None:
        if self._trace_callback is not None:
            try:
                self._trace_callback(sql)
            except Exception as error:
                report(error, self._trace_callback)

    def _trace_statement(self, statement: Statement, row: list[Any]) -> None:
        if self._trace_callback is None:
            return
        try:
            sql = parameters.expanded(statement, row, self._limits.get(codes.SQLITE_LIMIT_LENGTH))
        except DataError as error:
            report(error, self._trace_callback)
            sql = statement.sql
        self._trace(sql)

    def _return(self) -> None:
        self._forget()

    def _forget(self) -> None:
        cache, self._cache = self._cache, None
        if cache is not None:
            cache.clear()
        handle, self._handle = self._handle, None
        if handle is not None:
            host.pool.return_connection(handle)


_tracebacks = False


def enable_callback_tracebacks(enable: bool, /) -> None:
    """Whether exceptions of trace callbacks are reported (by `sys.unraisablehook`) or ignored."""
    global _tracebacks
    _tracebacks = bool(enable)


def report(error: Exception, callback: Any) -> None:
    """Report an exception of a callback, if that was asked for."""
    if _tracebacks:
        sys.unraisablehook(
            SimpleNamespace(
                exc_type=type(error),
                exc_value=error,
                exc_traceback=error.__traceback__,
                err_msg=None,
                object=callback,
            )
        )


def _parse(database: Any, uri: bool, read_only: bool) -> tuple[str, bool]:
    """The database's name and access. A URI is `file:NAME?mode=ro`."""
    name = database.decode() if isinstance(database, bytes) else str(database)
    name.encode()
    if not uri or not name.startswith("file:"):
        return name, read_only
    parts = urlsplit(name)
    mode = parse_qs(parts.query).get("mode", ["rw"])[0]
    if mode not in ("ro", "rw", "rwc"):
        raise OperationalError(f"no such access mode: {mode}")
    return unquote(parts.path), read_only or mode == "ro"


def _level(level: Any) -> str | None:
    if level is None:
        return None
    if not isinstance(level, str):
        raise TypeError(f"isolation_level must be str or None, not {type(level).__name__}")
    for known in _LEVELS:
        if str.upper(level) == known:
            return known
    raise ValueError(
        "isolation_level string must be '', 'DEFERRED', 'IMMEDIATE', or 'EXCLUSIVE'"
    )


def _autocommit(value: Any) -> bool | Literal[-1]:
    if value is True or value is False:
        return bool(value)
    if value == LEGACY_TRANSACTION_CONTROL:
        return LEGACY_TRANSACTION_CONTROL
    raise ValueError(
        "autocommit must be True, False, or millpond.LEGACY_TRANSACTION_CONTROL"
    )
