"""Adapters, which turn Python values into SQLite's, and converters, which do the opposite."""

from collections.abc import Callable
from datetime import date, datetime
from typing import Any

from .errors import ProgrammingError

PARSE_DECLTYPES = 1
"""For `connect(detect_types=…)`: choose converters by the columns' declared types."""
PARSE_COLNAMES = 2
"""For `connect(detect_types=…)`: choose converters by names such as `AS "day [date]"`."""


class PrepareProtocol:
    """The protocol of values that are bound to a parameter."""


adapters: dict[tuple[type, Any], Callable[[Any], Any]] = {}
converters: dict[str, Callable[[bytes], Any]] = {}

_BASE = (int, float, str, bytearray)
_base_adapted = False


def register_adapter(type: type, adapter: Callable[[Any], Any], /) -> None:
    """Bind values of exactly this type as what `adapter` returns."""
    global _base_adapted
    if not isinstance(type, _Type):
        raise TypeError("register_adapter() argument 1 must be a type")
    if type in _BASE:
        _base_adapted = True
    adapters[(type, PrepareProtocol)] = adapter


_Type = type


def register_converter(typename: str, converter: Callable[[bytes], Any], /) -> None:
    """Convert columns of this type, whose name is not case-sensitive, by `converter`."""
    converters[typename.upper()] = converter


_MISSING = object()


def adapt(value: Any, protocol: Any = PrepareProtocol, alternate: Any = _MISSING, /) -> Any:
    """The value as its adapter, `protocol.__adapt__` or its own `__conform__` gives it."""
    adapter = adapters.get((type(value), protocol))
    if adapter is not None:
        return adapter(value)
    for method, argument in ((getattr(protocol, "__adapt__", None), value),
                             (getattr(value, "__conform__", None), protocol)):
        if method is None:
            continue
        try:
            adapted = method(argument)
        except TypeError:
            continue
        if adapted is not None:
            return adapted
    if alternate is not _MISSING:
        return alternate
    raise ProgrammingError("can't adapt")


def bindable(value: Any) -> Any:
    """What to bind for a value."""
    kind = type(value)
    if value is None or (not _base_adapted and kind in _BASE) or kind is bytes:
        return value
    return adapt(value, PrepareProtocol, value)


def converter_for(name: str, declared: str | None, detect_types: int) -> Callable[[bytes], Any] | None:
    """The converter of a column, if it has one."""
    if detect_types & PARSE_COLNAMES and "[" in name:
        typename = name[name.index("[") + 1 :].partition("]")[0]
        if converter := converters.get(typename.upper()):
            return converter
    if detect_types & PARSE_DECLTYPES and declared:
        typename = declared.partition("(")[0].partition(" ")[0]
        return converters.get(typename.upper())
    return None


def _date(value: bytes) -> date:
    return date(*map(int, value.split(b"-")))


def _timestamp(value: bytes) -> datetime:
    day, _, time = value.partition(b" ")
    clock, _, fraction = time.partition(b".")
    year, month, day_of_month = map(int, day.split(b"-"))
    hour, minute, second = map(int, clock.split(b":"))
    microsecond = int(fraction[:6].ljust(6, b"0") or 0)
    return datetime(year, month, day_of_month, hour, minute, second, microsecond)


register_adapter(date, date.isoformat)
register_adapter(datetime, lambda value: value.isoformat(" "))
register_converter("date", _date)
register_converter("timestamp", _timestamp)
