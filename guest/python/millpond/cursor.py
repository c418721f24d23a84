"""Cursors: run statements and read their rows."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from . import flat, host, parameters, sql as text
from .adapt import PARSE_COLNAMES, converter_for
from .errors import Error, ProgrammingError
from .statement import Statement

if TYPE_CHECKING:
    from .connection import Connection

# How much of `executemany` crosses the boundary at a time.
_BATCH_BYTES = 1 << 20

Rows = Iterator[tuple[Any, ...]]


class Cursor:
    """Runs statements on a connection and reads their rows.

    Rows are read page by page (1 MiB unless the host chose otherwise) and decoded one by one.
    """

    connection: "Connection"
    description: tuple[tuple[str, None, None, None, None, None, None], ...] | None
    """A tuple for each column of the last statement, with its name first; `None` without columns."""
    rowcount: int
    """How many rows the last statement changed; -1 if it only read."""
    lastrowid: int | None
    """The rowid that this connection inserted last."""
    arraysize: int
    """How many rows `fetchmany` reads by default."""
    row_factory: Any
    """Makes a row from the cursor and a tuple; `None` for the tuple."""

    _ready = False
    _locked = False

    def __init__(self, connection: "Connection", /) -> None:
        from .connection import Connection

        if not isinstance(connection, Connection):
            raise TypeError(
                f"Cursor() argument 1 must be millpond.Connection, not {type(connection).__name__}"
            )
        if self._locked:
            raise ProgrammingError("Recursive use of cursors not allowed.")
        self.connection = connection
        self.description = None
        self.rowcount = -1
        self.lastrowid = None
        self.arraysize = 1
        self.row_factory = connection.row_factory
        self._names: tuple[str, ...] = ()
        self._rows: Rows | None = None
        self._rest: Any = None
        self._closed = False
        self._has_run = False
        self._ready = True

    def execute(self, sql: str, parameters: Any = (), /) -> "Cursor":
        """Run one statement. `parameters` is a sequence, or a mapping for named parameters."""
        self._check()
        self._reset()
        self._locked = True
        try:
            if not self._executes(sql, parameters):
                self._execute(sql, parameters)
        finally:
            self._locked = False
        return self

    def executemany(self, sql: str, rows: Iterable[Any], /) -> "Cursor":
        """Run one statement that changes data for each row of parameters.

        Rows cross to the host in batches. A row that fails undoes its whole batch, so run this in a
        transaction, as it does by default.
        """
        self._check()
        self._reset()
        self._locked = True
        try:
            self.connection._refresh()
            self._execute_many(sql, iter(rows))
        finally:
            self._locked = False
        return self

    def executescript(self, sql_script: str, /) -> "Cursor":
        """Commit the open transaction, if there is one, and run every statement of a script."""
        self._check()
        connection = self.connection
        check_sql(connection, sql_script, ValueError("embedded null character"))
        self._reset()
        connection._refresh()
        connection._commit_before_script()
        if not text.is_empty(sql_script):
            connection._trace(sql_script)
            try:
                host.call(connection._open().execute_script, sql_script)
            finally:
                connection._note_transaction()
        return self

    def fetchone(self) -> Any:
        """The next row, or `None` at the end."""
        self._check()
        return self._next()

    def fetchmany(self, size: int | None = None) -> list[Any]:
        """The next `size` rows, fewer at the end."""
        self._check()
        rows: list[Any] = []
        most = self.arraysize if size is None else size
        while len(rows) < most and (row := self._next()) is not None:
            rows.append(row)
        return rows

    def fetchall(self) -> list[Any]:
        """All rows that are left."""
        self._check()
        rows: list[Any] = []
        if self._rows is not None and self.row_factory is None:
            self._locked = True
            try:
                rows = list(self._rows)
            finally:
                self._locked = False
            self._rows = None
            return rows
        while (row := self._next()) is not None:
            rows.append(row)
        return rows

    def __iter__(self) -> "Cursor":
        return self

    def __next__(self) -> Any:
        self._check()
        row = self._next()
        if row is None:
            raise StopIteration
        return row

    def close(self) -> None:
        """Close the cursor. The rows that are left are skipped."""
        if not self._ready:
            raise ProgrammingError("Base Cursor.__init__ not called.")
        if self._locked:
            raise ProgrammingError("Recursive use of cursors not allowed.")
        self.connection._check()
        self._reset()
        self._closed = True

    def setinputsizes(self, sizes: Any, /) -> None:
        """Does nothing; required by DB-API 2.0."""

    def setoutputsize(self, size: int, column: int | None = None, /) -> None:
        """Does nothing; required by DB-API 2.0."""

    def _check(self) -> None:
        if not self._ready:
            raise ProgrammingError("Base Cursor.__init__ not called.")
        if self._closed:
            raise ProgrammingError("Cannot operate on a closed cursor.")
        if self._locked:
            raise ProgrammingError("Recursive use of cursors not allowed.")
        self.connection._check()

    def _reset(self) -> None:
        self._rows = None
        if self._rest is not None:
            rest, self._rest = self._rest, None
            host.drop(rest)

    def _executes(self, sql: str, given: Any) -> bool:
        """Run a statement, or return whether that is to do again, on another connection."""
        try:
            self._execute(sql, given)
            return True
        except Error as error:
            if self._has_run or not self.connection._reconnects(error):
                raise
        return False

    def _execute(self, sql: str, given: Any) -> None:
        connection = self.connection
        self._has_run = False
        self.description = None
        self.rowcount = -1
        statement = self._compile(sql)
        if statement is None:
            return
        reusable = False
        try:
            connection._limits.check_parameters(len(statement.names))
            row = parameters.values(statement, given)
            out = flat.header(len(row)) if row else bytearray()
            parameters.encode(out, row, statement)
            connection._begin_for(statement)
            connection._trace_statement(statement, row)
            if statement.yields_rows:
                self._query(statement, bytes(out))
            else:
                summary = host.call(statement.handle.execute, bytes(out))
                self._has_run = True
                self._changed(statement, summary.changes, summary.last_insert_rowid)
            if statement.controls_transaction:
                connection._note_transaction()
            reusable = self._rest is None
        except Exception as error:
            connection._failed(error)
            raise
        finally:
            if reusable:
                connection._statements().give_back(statement)
            else:
                host.drop(statement.handle)

    def _compile(self, sql: str) -> Statement | None:
        """The statement, or `None` if the text holds none."""
        connection = self.connection
        if (cache := connection._cache) is not None and (statement := cache.idle(sql)):
            return statement
        check_sql(connection, sql)
        return None if text.is_empty(sql) else connection._statements().compile(sql)

    def _query(self, statement: Statement, row: bytes) -> None:
        """Run a statement that yields rows."""
        page = host.call(statement.handle.query, row, 0, True)
        self._has_run = True
        self._describe(page.columns)
        self._rest = page.rest
        if statement.read_only:
            self.lastrowid = self.connection._last_rowid
            self._rows = self._decode(page.rows, page.columns)
            return
        # Until its rows are read, a statement that writes is not committed, and keeps its turn.
        pages = [page.rows]
        while self._rest is not None:
            rows = host.call(self._rest.next, 0)
            if not rows:
                self._reset()
            pages.append(rows)
        self._rows = (row for rows in pages for row in self._decode_page(rows, page.columns))
        if statement.changes_rows:
            self._changed(statement, *self.connection._counters())

    def _changed(self, statement: Statement, changes: int, last_rowid: int) -> None:
        if statement.changes_rows:
            self.rowcount = changes
        self.connection._last_rowid = self.lastrowid = last_rowid

    def _execute_many(self, sql: str, rows: Iterator[Any]) -> None:
        connection = self.connection
        self.description = None
        self.rowcount = -1
        statement = self._compile(sql)
        if statement is None:
            return
        reusable = False
        try:
            if statement.read_only:
                raise ProgrammingError("executemany() can only execute DML statements.")
            width = len(statement.names)
            connection._limits.check_parameters(width)
            total = 0
            batch = flat.header(width)
            for given in rows:
                row = parameters.values(statement, given)
                parameters.encode(batch, row, statement)
                connection._begin_for(statement)
                connection._trace_statement(statement, row)
                if not width or len(batch) >= _BATCH_BYTES:
                    total += self._run_batch(statement, batch)
                    batch = flat.header(width)
            if len(batch) > 4:
                total += self._run_batch(statement, batch)
            if statement.changes_rows:
                self.rowcount = total
            reusable = True
        except Exception as error:
            connection._failed(error)
            raise
        finally:
            if reusable:
                connection._statements().give_back(statement)
            else:
                host.drop(statement.handle)

    def _run_batch(self, statement: Statement, batch: bytearray) -> int:
        if statement.names:
            summary = host.call(statement.handle.execute_many, bytes(batch))
        else:
            summary = host.call(statement.handle.execute, b"")
        self.connection._last_rowid = summary.last_insert_rowid
        changes: int = summary.changes
        return changes

    def _describe(self, columns: Any) -> None:
        names = [column.name for column in columns]
        if self.connection._detect_types & PARSE_COLNAMES:
            names = [name.partition("[")[0].rstrip(" ") if "[" in name else name for name in names]
        self._names = tuple(names)
        self.description = tuple((name, None, None, None, None, None, None) for name in names)

    def _decode(self, rows: bytes, columns: Any) -> Rows:
        yield from self._decode_page(rows, columns)
        while self._rest is not None:
            rows = host.call(self._rest.next, 0)
            if not rows:
                self._reset_rest()
                return
            yield from self._decode_page(rows, columns)

    def _reset_rest(self) -> None:
        rest, self._rest = self._rest, None
        host.drop(rest)

    def _decode_page(self, rows: bytes, columns: Any) -> Rows:
        connection = self.connection
        detect = connection._detect_types
        if detect:
            converters = [converter_for(c.name, c.declared_type, detect) for c in columns]
            if any(converters):
                return flat.decode_with(rows, connection, converters)
        return flat.decode(rows, connection)

    def _next(self) -> Any:
        if self._rows is None:
            return None
        self._locked = True
        try:
            row = next(self._rows, None)
        finally:
            self._locked = False
        if row is None:
            self._rows = None
            return None
        return row if self.row_factory is None else self.row_factory(self, row)


def check_sql(connection: "Connection", sql: str, null: Exception | None = None) -> None:
    """Check what the boundary would refuse, before it does."""
    if not isinstance(sql, str):
        raise TypeError(f"SQL must be str, not {type(sql).__name__}")
    sql.encode()  # a lone surrogate fails here; past here it would trap
    if "\0" in sql:
        raise null or ProgrammingError("the query contains a null character")
    connection._limits.check_sql(sql)


