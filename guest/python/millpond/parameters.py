"""A statement's parameters: from a sequence or a mapping to one flat row."""

from collections.abc import Callable, Mapping
from typing import Any

from . import flat, sql
from .adapt import bindable
from .errors import DataError, ProgrammingError
from .statement import Statement


def values(statement: Statement, given: Any) -> list[Any]:
    """The values in the order of the statement's parameters, adapted."""
    names = statement.names
    if isinstance(given, (tuple, list)) or (
        not isinstance(given, Mapping) and hasattr(given, "__getitem__") and hasattr(given, "__len__")
    ):
        count = len(given)
        if count != len(names):
            raise ProgrammingError(
                "Incorrect number of bindings supplied. "
                f"The current statement uses {len(names)}, and there are {count} supplied."
            )
        return [bindable(given[index]) for index in range(count)]
    if isinstance(given, Mapping):
        return [bindable(_named(given, name, index)) for index, name in enumerate(names, 1)]
    raise ProgrammingError("parameters are of unsupported type")


def _named(given: Mapping[str, Any], name: str | None, index: int) -> Any:
    if name is None:
        raise ProgrammingError(
            f"Binding {index} has no name, but you supplied a dictionary (which has only names)."
        )
    try:
        return given[name]
    except LookupError:
        pass
    raise ProgrammingError(f"You did not supply a value for binding parameter :{name}.")


def encode(out: bytearray, row: list[Any], statement: Statement) -> None:
    """Append the row to a list of rows."""
    try:
        flat.encode(out, row)
    except TypeError as error:
        index, kind = error.args
    else:
        return
    name = statement.names[index]
    which = f":{name}" if name else str(index + 1)
    raise ProgrammingError(f"Error binding parameter {which}: type '{kind}' is not supported")


def expanded(statement: Statement, row: list[Any], longest: int) -> str:
    """The statement's text with its values as literals, for a trace."""
    names = statement.names
    next_index = 0

    def literal(parameter: str) -> str:
        nonlocal next_index
        name = parameter[1:]
        if not name or name not in names:
            index = int(name) - 1 if name.isdigit() else next_index
        else:
            index = names.index(name)
        next_index = max(next_index, index + 1)
        return _literal(row[index])

    result = sql.replace_parameters(statement.sql, literal) if row else statement.sql
    if len(result) > longest:
        raise DataError("Expanded SQL string exceeds the maximum string length")
    return result


def _literal(value: Any) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, (int, float)):
        return repr(value + 0)
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    return f"x'{bytes(value).hex()}'"


Trace = Callable[[str], object]
