"""Reads the schema version of a database, without Alembic: importing it takes longer than opening
a store does otherwise."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

HEAD = "0003"
"""Current schema: the last revision of `run_store.migrations`."""

VERSION_TABLE = "mentorgrad_schema"
"""Table that holds a database's schema version."""

_VERSION: sa.Select[Any] = sa.select(sa.column("version_num")).select_from(sa.table(VERSION_TABLE))


def version_of(connection: sa.Connection) -> str | None:
    """The schema revision of a database; None if it is not a run store."""
    if not sa.inspect(connection).has_table(VERSION_TABLE):
        return None
    found: str | None = connection.execute(_VERSION).scalar_one_or_none()
    return found
