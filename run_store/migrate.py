"""Migrates a database to the current schema."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory

from mentorgrad.errors import InvalidInput
from run_store import dialects, sql_blocks
from run_store.schema_version import HEAD, check_ours, version_of

_LOCK = 0x6D656E746F72
"""Key of the advisory lock that migrations take on Postgres."""


_WITH_BLOCKS = "0006"
"""First schema with blocks of snapshots."""


def config(connection: sa.Connection | None = None) -> Config:
    """Alembic's configuration, without an ini file."""
    settings = Config()
    scripts = str(Path(__file__).parent / "migrations")
    settings.set_main_option("script_location", scripts.replace("%", "%%"))  # else interpolated
    settings.attributes["connection"] = connection
    return settings


def upgrade(writer: sa.Engine) -> None:
    """Runs the pending migrations.

    Several processes may open the same database at once: the first takes the lock and migrates in
    one transaction; the others wait and then find the schema current.

    Args:
        writer: Engine whose transactions take SQLite's write lock when they begin.

    Raises:
        InvalidInput: The schema is newer than this installation, or the tables belong to another
            application.
    """
    with (
        writer.connect() as connection,
        dialects.tables_made_anew(connection),
        connection.begin(),
    ):
        dialects.lock(connection, _LOCK)
        version = version_of(connection)
        if version == HEAD:
            return
        _check_known(connection, version)
        command.upgrade(config(connection), "head")
        if version is not None and version < _WITH_BLOCKS:
            sql_blocks.fill(connection)


def _check_known(connection: sa.Connection, version: str | None) -> None:
    if version is None:
        check_ours(sa.inspect(connection).get_table_names())
    elif version not in _revisions():
        raise InvalidInput.field(
            "store", f"has schema {version} of a newer mentorgrad; upgrade this installation"
        )


def _revisions() -> set[str]:
    scripts = ScriptDirectory.from_config(config())
    return {script.revision for script in scripts.walk_revisions()}
