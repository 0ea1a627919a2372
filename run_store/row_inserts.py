"""Inserts of rows, by the fastest method of each database."""

from __future__ import annotations

import functools
import itertools
import operator
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection

_MAX_VALUES = 999
"""Maximum bound values per statement that every SQLite build accepts."""
_COPY_ROWS = 8
"""Number of rows from which binary COPY is faster than INSERT on Postgres."""


def insert_rows(connection: Connection, table: sa.Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Inserts many rows with the same columns, by the fastest method of the database."""
    if not rows:
        return
    if connection.dialect.name == "postgresql" and len(rows) >= _COPY_ROWS:
        _copy(connection, table, rows)
    elif connection.dialect.name == "sqlite":
        _insert_at_once(connection, table, rows)
    else:
        connection.execute(_insert_into(table), list(rows))


@functools.cache
def _insert_into(table: sa.Table) -> sa.Insert:
    """The INSERT statement of a table; cached, so that it is compiled once per table."""
    return table.insert()


def insert_missing(
    connection: Connection, table: sa.Table, rows: Sequence[Mapping[str, Any]]
) -> None:
    """Inserts those rows, of the same columns, whose keys are not there yet."""
    if connection.dialect.name == "sqlite":
        _insert_at_once(connection, table, rows, "ON CONFLICT DO NOTHING")
    elif rows:
        statement = postgresql.insert(table).values(list(rows)).on_conflict_do_nothing()
        connection.execute(statement)


@functools.cache
def _upserts(table: sa.Table) -> dict[str, sa.Insert]:
    """By dialect; cached, so that they are compiled once per table."""
    found: dict[str, sa.Insert] = {}
    for module in (sqlite, postgresql):
        statement = module.insert(table)
        given = {c.name: statement.excluded[c.name] for c in table.columns if not c.primary_key}
        keys = [column.name for column in table.primary_key]
        found[module.dialect.name] = statement.on_conflict_do_update(
            index_elements=keys, set_=given
        )
    return found


def upsert_into(connection: Connection, table: sa.Table) -> sa.Insert:
    """Inserts a row, or replaces the one with the same key."""
    return _upserts(table)[connection.dialect.name]


def _insert_at_once(
    connection: Connection, table: sa.Table, rows: Sequence[Mapping[str, Any]], end: str = ""
) -> None:
    """Inserts many rows per statement on SQLite, whose driver accepts the values unconverted.

    The driver releases the GIL in every statement. With one statement per row, it would have to
    reacquire the GIL after every row.
    """
    if not rows:
        return
    names = tuple(rows[0])
    values = operator.itemgetter(*names)
    most = _MAX_VALUES // len(names)
    for start in range(0, len(rows), most):
        part = rows[start : start + most]
        flat = tuple(itertools.chain.from_iterable(map(values, part)))
        connection.exec_driver_sql(_insert_positional(table, names, len(part), end), flat)


@functools.lru_cache(256)
def _insert_positional(table: sa.Table, names: tuple[str, ...], count: int, end: str) -> str:
    columns = ", ".join(f'"{name}"' for name in names)
    row = f"({', '.join('?' * len(names))})"
    rows = ", ".join([row] * count)
    return f'INSERT INTO "{table.name}" ({columns}) VALUES {rows} {end}'  # noqa: S608 - our names


_COPY_TYPES: dict[type, str] = {
    sa.Text: "text",
    sa.BigInteger: "int8",
    sa.Boolean: "bool",
    sa.Double: "float8",
    sa.LargeBinary: "bytea",
}


def _copy(connection: Connection, table: sa.Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Inserts rows by binary COPY, in the connection's transaction.

    Raises:
        sqlalchemy.exc.DBAPIError: The driver's error, wrapped as for any other statement.
    """
    names = list(rows[0])
    types = [_COPY_TYPES[type(table.c[name].type)] for name in names]
    driver: Any = connection.connection.driver_connection
    columns = ", ".join(f'"{name}"' for name in names)
    statement = f'COPY "{table.name}" ({columns}) FROM STDIN (FORMAT BINARY)'
    errors = connection.dialect.loaded_dbapi
    try:
        with driver.cursor() as cursor, cursor.copy(statement) as copy:
            copy.set_types(types)
            for row in rows:
                copy.write_row([row[name] for name in names])
    except errors.Error as error:
        # SQLAlchemy does not see errors of direct driver calls, so this handles them as it would.
        is_gone = connection.dialect.is_disconnect(error, driver, None)
        if is_gone:
            connection.invalidate(error)
        raise sa.exc.DBAPIError.instance(
            statement,
            None,
            error,
            errors.Error,
            hide_parameters=True,
            connection_invalidated=is_gone,
            dialect=connection.dialect,
        ) from error
