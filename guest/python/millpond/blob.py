"""Parts of one value, read and written like a file."""

from operator import index as to_index
from os import SEEK_CUR, SEEK_END, SEEK_SET
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal

from . import flat, host
from .errors import Error, OperationalError, ProgrammingError, new
from .sql import quote

if TYPE_CHECKING:
    from .connection import Connection

_INT_MAX = 2**31 - 1


class Blob:
    """An open value of a column. Its length cannot change.

    A read transfers the part that was asked for; a write replaces the whole value.
    """

    def __new__(cls, *arguments: Any, _internal: bool = False, **options: Any) -> "Blob":
        if not _internal:
            raise TypeError(f"cannot create '{cls.__module__}.{cls.__name__}' instances")
        return super().__new__(cls)

    def __init__(
        self,
        connection: "Connection",
        place: tuple[str, str, str, int],
        readonly: bool,
        *,
        _internal: bool = False,
    ) -> None:
        name, table, column, row = place
        self._connection = connection
        self._table = f"{quote(name)}.{quote(table)}"
        self._column = quote(column)
        self._row = row
        self._readonly = readonly
        self._offset = 0
        self._closed = False
        state = self._state()
        if state is None:
            raise OperationalError(f"no such rowid: {row}")
        if state[0] not in ("blob", "text"):
            raise OperationalError(f"cannot open value of type {state[0]}")
        self._opened = state

    def read(self, length: int = -1, /) -> bytes:
        """Read at most `length` bytes, or to the end."""
        self._check()
        left = len(self) - self._offset
        length = left if length < 0 else min(length, left)
        data = self._read(self._offset, length)
        self._offset += length
        return data

    def write(self, data: Any, /) -> None:
        """Write bytes at the current position. They must fit."""
        self._check()
        data = _bytes(data)
        if len(data) > len(self) - self._offset:
            raise ValueError("data longer than blob length")
        self._write(self._offset, data)
        self._offset += len(data)

    def tell(self) -> int:
        """The current position."""
        self._check()
        return self._offset

    def seek(self, offset: int, origin: int = SEEK_SET, /) -> None:
        """Set the current position."""
        self._check()
        if origin not in (SEEK_SET, SEEK_CUR, SEEK_END):
            raise ValueError("'origin' should be os.SEEK_SET, os.SEEK_CUR, or os.SEEK_END")
        base = {SEEK_SET: 0, SEEK_CUR: self._offset, SEEK_END: len(self)}[origin]
        if offset > _INT_MAX - base:
            raise OverflowError("seek offset results in overflow")
        if not 0 <= base + offset <= len(self):
            raise ValueError("offset out of blob range")
        self._offset = base + offset

    def close(self) -> None:
        """Close the blob."""
        self._connection._check()
        self._closed = True

    def __len__(self) -> int:
        self._check()
        return self._opened[1]

    def __enter__(self) -> "Blob":
        self._check()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> Literal[False]:
        self._check()
        self._closed = True
        return False

    __iter__ = None  # without this, Python would iterate by index

    def __getitem__(self, key: Any) -> Any:
        self._check()
        if isinstance(key, slice):
            start, stop, step = _indices(key, len(self))
            length = len(range(start, stop, step))
            if not length:
                return b""
            if step == 1:
                return self._read(start, length)
            return self._read(0, len(self))[key]
        return self._read(self._position(key), 1)[0]

    def __setitem__(self, key: Any, value: Any) -> None:
        self._check()
        if isinstance(key, slice):
            places = range(*_indices(key, len(self)))
            data = _bytes(value)
            if len(data) != len(places):
                raise IndexError("Blob slice assignment is wrong size")
            if not places:
                return
            if places.step == 1:
                self._write(places.start, data)
                return
            whole = bytearray(self._read(0, len(self)))
            whole[key] = data
            self._write(0, bytes(whole))
            return
        position = self._position(key)
        if not isinstance(value, int):
            raise TypeError(f"'{type(value).__name__}' object cannot be interpreted as an integer")
        if not 0 <= value <= 255:
            raise ValueError("byte must be in range(0, 256)")
        self._write(position, bytes((value,)))

    def __delitem__(self, key: Any) -> None:
        self._check()
        what = "slice" if isinstance(key, slice) else "item"
        raise TypeError(f"Blob object doesn't support {what} deletion")

    def _position(self, key: Any) -> int:
        if not hasattr(key, "__index__"):
            raise TypeError("Blob indices must be integers")
        position = to_index(key)
        if not -(2**63) <= position < 2**63:
            raise IndexError(f"cannot fit '{type(key).__name__}' into an index-sized integer")
        if position < 0:
            position += len(self)
        if not 0 <= position < len(self):
            raise IndexError("Blob index out of range")
        return position

    def _check(self) -> None:
        self._connection._check()
        if self._closed:
            raise ProgrammingError("Cannot operate on a closed blob.")

    def _state(self) -> tuple[str, int] | None:
        """The value's type and length in bytes; `None` without the row."""
        column = "t." + self._column
        rows = self._connection._query(
            f"SELECT typeof({column}), length(CAST({column} AS BLOB)) "
            f"FROM {self._table} AS t WHERE t.rowid = ?",
            (self._row,),
        )
        return rows[0] if rows else None

    def _read(self, offset: int, length: int) -> bytes:
        column = "t." + self._column
        rows = self._connection._query(
            f"SELECT substr(CAST({column} AS BLOB), ?, ?), typeof({column}), "
            f"length(CAST({column} AS BLOB)) FROM {self._table} AS t WHERE t.rowid = ?",
            (offset + 1, length, self._row),
        )
        if not rows or rows[0][1:] != self._opened:
            raise _expired()
        data: bytes = rows[0][0]
        return data

    def _write(self, offset: int, data: bytes) -> None:
        if self._readonly:
            raise new("not-authorized", "attempt to write a readonly blob", 8)
        whole = bytearray(self._read(0, len(self)))
        whole[offset : offset + len(data)] = data
        value = "CAST(? AS TEXT)" if self._opened[0] == "text" else "?"
        connection = self._connection
        # Not by a cursor: a blob, as in sqlite3, begins no transaction.
        row = flat.header(2)
        flat.encode(row, (bytes(whole), self._row))
        sql = f"UPDATE {self._table} SET {self._column} = {value} WHERE rowid = ?"
        host.call(connection._open().execute, sql, bytes(row))


def _expired() -> Error:
    return new("other", "the row has changed since the blob was opened", 4)


def _bytes(data: Any) -> bytes:
    view = memoryview(data)
    if not view.c_contiguous:
        raise BufferError("memoryview: underlying buffer is not C-contiguous")
    return view.tobytes()


def _indices(key: slice, length: int) -> tuple[int, int, int]:
    try:
        return key.indices(length)
    except TypeError:
        raise TypeError("Blob indices must be integers") from None
