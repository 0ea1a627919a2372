"""Which schema a database has: read at every opening, without Alembic, whose import takes longer
than all the rest of it."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

HEAD = "0002"
"""The present schema: the last revision of `run_store.migrations`."""

VERSION_TABLE = "mentorgrad_schema"
"""Where a database's own is kept."""

_VERSION: sa.Select[Any] = sa.select(sa.column("version_num")).select_from(sa.table(VERSION_TABLE))


def version_of(connection: sa.Connection) -> str | None:
    """The revision of a database's schema; None: it has none of ours."""
    if not sa.inspect(connection).has_table(VERSION_TABLE):
        return None
    found: str | None = connection.execute(_VERSION).scalar_one_or_none()
    return found
