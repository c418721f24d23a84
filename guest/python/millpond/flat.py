"""Rows and parameters as the contract's flat list of bytes (`rows` in connections.wit)."""

from collections.abc import Iterable, Iterator
from struct import Struct
from typing import Any, Protocol

_U32 = Struct("<I")
_INTEGER = Struct("<Bq")
_REAL = Struct("<Bd")
_LENGTH = Struct("<BI")
_read_u32 = _U32.unpack_from
_read_s64 = Struct("<q").unpack_from
_read_f64 = Struct("<d").unpack_from

INTEGER, REAL, TEXT, BLOB, NULL = 1, 2, 3, 4, 5


class TextSource(Protocol):
    """What says how to make a Python value of text: the connection."""

    text_factory: Any


def header(width: int) -> bytearray:
    """The beginning of a list of rows of `width` values."""
    return bytearray(_U32.pack(width))


def encode(out: bytearray, values: Iterable[Any]) -> None:
    """Append one row. Raises `TypeError` with the index and type of a value that has no form."""
    for index, value in enumerate(values):
        kind = type(value)
        if kind is str:
            _text(out, value)
        elif value is None:
            out.append(NULL)
        elif kind is int:
            _integer(out, value)
        elif kind is float:
            out += _REAL.pack(REAL, value)
        elif isinstance(value, (bytes, bytearray)):
            out += _LENGTH.pack(BLOB, len(value))
            out += value
        elif isinstance(value, int):
            _integer(out, value)
        elif isinstance(value, float):
            out += _REAL.pack(REAL, value)
        elif isinstance(value, str):
            _text(out, value)
        else:
            try:
                data = memoryview(value).tobytes()
            except TypeError:
                raise TypeError(index, kind.__name__) from None
            out += _LENGTH.pack(BLOB, len(data))
            out += data


def _integer(out: bytearray, value: int) -> None:
    if not -(2**63) <= value < 2**63:
        raise OverflowError("Python int too large to convert to SQLite INTEGER")
    out += _INTEGER.pack(INTEGER, value)


def _text(out: bytearray, value: str) -> None:
    data = value.encode()  # a lone surrogate fails here; past here it would trap
    out += _LENGTH.pack(TEXT, len(data))
    out += data


def width(rows: bytes) -> int:
    """The number of values in each row; 0 if there are no rows."""
    return _read_u32(rows)[0] if rows else 0


def decode(rows: bytes, source: TextSource) -> Iterator[tuple[Any, ...]]:
    """The rows, each decoded when it is asked for."""
    if not rows:
        return
    columns = range(_read_u32(rows)[0])
    position, end = 4, len(rows)
    while position < end:
        factory = source.text_factory
        row: list[Any] = []
        add = row.append
        for _ in columns:
            code = rows[position]
            position += 1
            if code == INTEGER:
                add(_read_s64(rows, position)[0])
                position += 8
            elif code == TEXT:
                start = position + 4
                position = start + _read_u32(rows, position)[0]
                data = rows[start:position]
                add(data.decode() if factory is str else factory(data))
            elif code == NULL:
                add(None)
            elif code == REAL:
                add(_read_f64(rows, position)[0])
                position += 8
            else:
                start = position + 4
                position = start + _read_u32(rows, position)[0]
                add(rows[start:position])
        yield tuple(row)


class _Raw:
    """A text source that keeps text apart from blobs."""

    text_factory = memoryview


def decode_with(rows: bytes, source: TextSource, converters: list[Any]) -> Iterator[tuple[Any, ...]]:
    """The rows, with a converter or `None` for each column. A converter gets bytes."""
    for row in decode(rows, _Raw):
        yield tuple(
            _plain(value, source) if converter is None else _convert(value, converter)
            for value, converter in zip(row, converters)
        )


def _plain(value: Any, source: TextSource) -> Any:
    if type(value) is memoryview:
        factory = source.text_factory
        return str(value, "utf-8") if factory is str else factory(bytes(value))
    return value


def _convert(value: Any, converter: Any) -> Any:
    if value is None:
        return None
    if isinstance(value, int):
        data = b"%d" % value
    elif isinstance(value, float):
        data = _real_text(value)
    else:
        data = bytes(value)
    return converter(data) if data else None


def _real_text(value: float) -> bytes:
    """As SQLite writes a real: 15 digits, always with a point."""
    text = format(value, ".15g")
    if text in ("inf", "-inf"):
        return text.capitalize().encode()
    mantissa, e, exponent = text.partition("e")
    return ((mantissa if "." in mantissa else mantissa + ".0") + e + exponent).encode()
