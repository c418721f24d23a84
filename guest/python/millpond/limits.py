"""The limits of `Connection.getlimit` and `setlimit`: what SQLite in the host is set to.

A program may lower the length of SQL text and the number of parameters; this package checks both.
The host enforces its own limits, whatever a program sets here.
"""

from . import codes
from .errors import DataError, OperationalError, ProgrammingError

_MAXIMA = {
    codes.SQLITE_LIMIT_LENGTH: 1 << 20,
    codes.SQLITE_LIMIT_SQL_LENGTH: 100_000,
    codes.SQLITE_LIMIT_COLUMN: 2_000,
    codes.SQLITE_LIMIT_EXPR_DEPTH: 1_000,
    codes.SQLITE_LIMIT_COMPOUND_SELECT: 500,
    codes.SQLITE_LIMIT_VDBE_OP: 250_000_000,
    codes.SQLITE_LIMIT_FUNCTION_ARG: 1_000,
    codes.SQLITE_LIMIT_ATTACHED: 0,
    codes.SQLITE_LIMIT_LIKE_PATTERN_LENGTH: 1_000,
    codes.SQLITE_LIMIT_VARIABLE_NUMBER: 32_766,
    codes.SQLITE_LIMIT_TRIGGER_DEPTH: 1_000,
    codes.SQLITE_LIMIT_WORKER_THREADS: 0,
}


class Limits:
    """One connection's limits."""

    def __init__(self) -> None:
        self._limits = dict(_MAXIMA)

    def get(self, category: int) -> int:
        """A limit."""
        if category not in self._limits:
            raise ProgrammingError("'category' is out of bounds")
        return self._limits[category]

    def set(self, category: int, limit: int) -> int:
        """Set a limit, at most to the host's default, and return the one before."""
        before = self.get(category)
        if limit >= 0:
            self._limits[category] = min(limit, _MAXIMA[category])
        return before

    def check_sql(self, sql: str) -> None:
        """Raise `DataError` if the text is too long."""
        limit = self._limits[codes.SQLITE_LIMIT_SQL_LENGTH]
        # A text of n characters has at least n bytes. The host checks the bytes.
        if len(sql) > limit and limit < _MAXIMA[codes.SQLITE_LIMIT_SQL_LENGTH]:
            raise DataError("query string is too large")

    def check_parameters(self, count: int) -> None:
        """Raise `OperationalError` if a statement has too many parameters."""
        if count > self._limits[codes.SQLITE_LIMIT_VARIABLE_NUMBER]:
            raise OperationalError("too many SQL variables")
