"""New stores without running the migrations for each."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import command
from alembic.config import Config

from run_store.schema_version import HEAD, VERSION_TABLE


class RecordedMigrations:
    """Stands for `alembic.command` where stores are opened.

    The first new store of each kind of database is migrated; the statements that this takes make
    the tables of the next ones, in a tenth of the time. Of SQLite, whose migrations make tables
    anew, only the statements of the last schema do. Databases with a schema are migrated.
    """

    def __init__(self) -> None:
        self._statements: dict[str, list[tuple[str, Any]]] = {}

    def upgrade(self, config: Config, revision: str) -> None:
        """See `alembic.command.upgrade`."""
        connection: sa.Connection = config.attributes["connection"]
        kind = connection.dialect.name
        if sa.inspect(connection).has_table(VERSION_TABLE):
            command.upgrade(config, revision)
        elif kind in self._statements:
            cursor = connection.connection.cursor()
            for statement, parameters in self._statements[kind]:
                cursor.execute(statement, parameters)
            cursor.close()
        else:
            recorded = self._recorded(connection, config, revision)
            self._statements[kind] = _schema(connection) if kind == "sqlite" else recorded

    def _recorded(
        self, connection: sa.Connection, config: Config, revision: str
    ) -> list[tuple[str, Any]]:
        statements: list[tuple[str, Any]] = []

        def note(_c: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
            if not statement.lstrip().upper().startswith(("SELECT", "PRAGMA")):
                statements.append((statement, parameters or ()))

        sa.event.listen(connection, "before_cursor_execute", note)
        try:
            command.upgrade(config, revision)
        finally:
            sa.event.remove(connection, "before_cursor_execute", note)
        return statements


def _schema(connection: sa.Connection) -> list[tuple[str, Any]]:
    """What makes the tables of an SQLite database, which are empty but for its version."""
    found = connection.exec_driver_sql(
        "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL"
        # Made by that of the full-text index.
        " AND NOT (type = 'table' AND name GLOB 'run_search_*') ORDER BY rowid"
    )
    version = f"INSERT INTO {VERSION_TABLE} VALUES (?)"
    return [*((statement, ()) for statement in found.scalars()), (version, (HEAD,))]
