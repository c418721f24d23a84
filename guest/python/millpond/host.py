"""The contract's functions, as componentize-py generates them, with exceptions of this package."""

from collections.abc import Callable
from typing import TypeVar

try:
    from componentize_py_types import Err

    from .wit.imports import millpond_sqlite_connections_0_1_0 as connections
    from .wit.imports import millpond_sqlite_pool_0_1_0 as pool
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        "millpond works inside a WebAssembly component only: build one with componentize-py",
        name=error.name,
    ) from error

from .errors import Error, from_host

T = TypeVar("T")

__all__ = ["call", "connections", "pool", "drop"]


def call(function: Callable[..., T], *arguments: object) -> T:
    """Call the host, and raise an exception of this package if the host answers with an error.

    The raise is outside of `except`: a generated error is a frozen dataclass, and Python's own
    tools fail on one that stays as an exception's context.
    """
    try:
        return function(*arguments)
    except Err as err:
        error = err.value
    raise from_host(error)


def attempt(function: Callable[..., T], *arguments: object) -> "T | Error":
    """Like `call`, but return the exception."""
    try:
        return function(*arguments)
    except Err as err:
        error = err.value
    return from_host(error)


def drop(handle: object) -> None:
    """Drop a handle now instead of when Python's garbage collector finds it."""
    handle.__exit__(None, None, None)  # type: ignore[attr-defined]
