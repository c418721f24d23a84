"""Compiled statements, cached by their text and dropped explicitly."""

import weakref
from collections import OrderedDict
from typing import Any

from . import host, sql as text
from .errors import Error, ProgrammingError

# A request may have 64 statements open, unless the host chose otherwise. A cache keeps fewer, so
# that two connections and some statements in use fit.
_MOST = 24
_CHANGES = frozenset(("INSERT", "UPDATE", "DELETE", "REPLACE"))
_TRANSACTIONS = frozenset(("BEGIN", "SAVEPOINT", "COMMIT", "END", "ROLLBACK", "RELEASE"))
_caches: "weakref.WeakSet[StatementCache]" = weakref.WeakSet()


class Statement:
    """One compiled statement, and what is known about it."""

    __slots__ = ("sql", "handle", "names", "yields_rows", "read_only", "changes_rows",
                 "controls_transaction")

    def __new__(cls, *arguments: Any, _internal: bool = False) -> "Statement":
        if not _internal:
            raise TypeError(f"cannot create '{cls.__module__}.{cls.__name__}' instances")
        return super().__new__(cls)

    def __init__(self, sql: str, handle: Any, *, _internal: bool = False) -> None:
        description = host.call(handle.describe)
        self.sql = sql
        self.handle = handle
        self.names: list[str | None] = description.parameter_names
        self.yields_rows = bool(description.columns)
        self.read_only: bool = description.read_only
        keyword = text.keyword(sql)
        self.changes_rows = keyword in _CHANGES
        self.controls_transaction = keyword in _TRANSACTIONS


class StatementCache:
    """The statements of one connection that no cursor is using, the last used at the end."""

    def __init__(self, connection: Any, size: int) -> None:
        self._connection = connection
        self._size = max(0, min(size, _MOST))
        self._idle: OrderedDict[str, Statement] = OrderedDict()
        _caches.add(self)

    def idle(self, sql: str) -> Statement | None:
        """The cached statement, if there is one, for the caller alone until `give_back`."""
        return self._idle.pop(sql, None)

    def compile(self, sql: str) -> Statement:
        """A new statement. The caller calls `give_back` or drops its handle."""
        handle = host.attempt(self._connection.prepare, sql)
        if isinstance(handle, Error) and handle.kind == "too-many-handles":
            for cache in list(_caches):
                cache.clear()
            handle = host.attempt(self._connection.prepare, sql)
        if isinstance(handle, Error):
            if handle.kind == "sql" and text.has_more(sql):
                raise ProgrammingError("You can only execute one statement at a time.")
            raise handle
        return Statement(sql, handle, _internal=True)

    def give_back(self, statement: Statement) -> None:
        """Keep a statement for the next run of the same text."""
        if statement.sql in self._idle or not self._size:
            host.drop(statement.handle)
            return
        self._idle[statement.sql] = statement
        if len(self._idle) > self._size:
            host.drop(self._idle.popitem(last=False)[1].handle)

    def clear(self) -> None:
        """Drop all statements."""
        while self._idle:
            host.drop(self._idle.popitem()[1].handle)
