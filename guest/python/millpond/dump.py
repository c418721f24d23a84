"""A database as SQL text."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from .sql import quote

if TYPE_CHECKING:
    from .connection import Connection

# The host's own tables are left out. So are the tables inside of full-text and R*Tree tables: these
# make them again. (sqlite3 writes to the schema instead, which no grant allows.)
_TABLES = """
    SELECT name, sql FROM sqlite_master
    WHERE type = 'table' AND sql IS NOT NULL AND name NOT LIKE 'millpond\\_%' ESCAPE '\\'
        AND name NOT IN (SELECT name FROM pragma_table_list WHERE type = 'shadow')
    ORDER BY name"""
_OTHERS = """
    SELECT sql FROM sqlite_master
    WHERE type IN ('index', 'trigger', 'view') AND sql IS NOT NULL"""


def dump(connection: "Connection") -> Iterator[str]:
    """The statements that make the database's tables, rows, indexes, triggers and views."""
    yield "BEGIN TRANSACTION;"
    sequences = []
    for name, sql in connection._query(_TABLES):
        if name == "sqlite_sequence":
            sequences = ['DELETE FROM "sqlite_sequence";', *_rows(connection, name)]
        elif not name.startswith("sqlite_"):
            yield sql + ";"
            yield from _rows(connection, name)
    for (sql,) in connection._query(_OTHERS):
        yield sql + ";"
    yield from sequences
    yield "COMMIT;"


def _rows(connection: "Connection", table: str) -> Iterator[str]:
    columns = connection._query("SELECT name FROM pragma_table_info(?)", (table,))
    values = " || ',' || ".join(f"quote({quote(name)})" for (name,) in columns)
    for (row,) in connection._query(f"SELECT {values} FROM {quote(table)}"):
        yield f"INSERT INTO {quote(table)} VALUES({row});"
