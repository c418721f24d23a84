"""Rows that know their columns' names."""

from collections.abc import Iterator, Sequence
from typing import Any

from .cursor import Cursor


class Row(Sequence[Any]):
    """A row whose values are read by index, or by the column's name in any case.

    Set it as the `row_factory` of a connection or a cursor.
    """

    __slots__ = ("_values", "_names")
    _values: tuple[Any, ...]
    _names: tuple[str, ...]

    def __new__(cls, cursor: Cursor, values: tuple[Any, ...]) -> "Row":
        if not issubclass(type(cursor), Cursor):
            raise TypeError(f"Row() argument 1 must be millpond.Cursor, not {type(cursor).__name__}")
        if not isinstance(values, tuple):
            raise TypeError(f"Row() argument 2 must be tuple, not {type(values).__name__}")
        row = super().__new__(cls)
        row._values = values
        row._names = cursor._names
        return row

    def __init__(self, cursor: Cursor, values: tuple[Any, ...]) -> None:
        pass

    def keys(self) -> list[str]:
        """The columns' names."""
        return list(self._names)

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, str):
            if key in self._names:
                return self._values[self._names.index(key)]
            wanted = _fold(key)
            for index, name in enumerate(self._names):
                if _fold(name) == wanted:
                    return self._values[index]
            raise IndexError("No item with that key")
        if isinstance(key, (int, slice)):
            return self._values[key]
        raise IndexError("Index must be int or string")

    def __len__(self) -> int:
        return len(self._values)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._values)

    def __hash__(self) -> int:
        return hash((self._names, self._values))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Row):
            return NotImplemented
        return self._names == other._names and self._values == other._values

    def __repr__(self) -> str:
        return f"<millpond.Row {dict(zip(self._names, self._values))!r}>"


def _fold(name: str) -> str:
    """SQLite's names are equal if they differ only in the case of ASCII letters."""
    return name.encode("utf-8", "surrogatepass").lower().decode("utf-8", "surrogatepass")
