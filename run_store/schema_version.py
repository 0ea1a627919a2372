"""Reads the schema version of a database, without Alembic: importing it takes longer than opening
a store does otherwise."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import sqlalchemy as sa

from mentorgrad.errors import InvalidInput

HEAD = "0010"
"""Current schema: the last revision of `run_store.migrations`."""

VERSION_TABLE = "mentorgrad_schema"
"""Table that holds a database's schema version."""

_NAMED = 5
"""Tables of another application that an error names."""

VERSION: sa.Select[Any] = sa.select(sa.column("version_num")).select_from(sa.table(VERSION_TABLE))
"""Statement for the schema revision of a run store."""


def version_of(connection: sa.Connection) -> str | None:
    """The schema revision of a database; None if it is not a run store."""
    if not sa.inspect(connection).has_table(VERSION_TABLE):
        return None
    found: str | None = connection.execute(VERSION).scalar_one_or_none()
    return found


def check_ours(tables: Collection[str], field: str = "store", file: str = "") -> None:
    """Checks, before anything is changed, that a database is a run store or empty.

    Args:
        tables: Names of its tables.
        field: What has named it.
        file: Its file, if that is not what has named it.

    Raises:
        InvalidInput: Another application has filled it.
    """
    if tables and VERSION_TABLE not in tables:
        names = ", ".join(sorted(tables)[:_NAMED]) + (", ..." if len(tables) > _NAMED else "")
        said = f"contains tables of another application ({names}); use another database"
        raise InvalidInput.field(field, f"{file} {said}" if file else said)
