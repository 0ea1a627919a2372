"""New stores without running the migrations for each."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import command
from alembic.config import Config

from run_store.schema_version import VERSION_TABLE


class RecordedMigrations:
    """Stands for `alembic.command` where stores are opened.

    The first new store of each kind of database is migrated; the statements that this takes make
    the tables of the next ones, in a tenth of the time. Databases with a schema are migrated.
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
            for statement, parameters in self._statements[kind]:
                connection.exec_driver_sql(statement, parameters)
        else:
            self._statements[kind] = self._recorded(connection, config, revision)

    def _recorded(
        self, connection: sa.Connection, config: Config, revision: str
    ) -> list[tuple[str, Any]]:
        statements: list[tuple[str, Any]] = []

        def note(_c: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
            if not statement.lstrip().upper().startswith(("SELECT", "PRAGMA")):
                statements.append((statement, parameters or None))

        sa.event.listen(connection, "before_cursor_execute", note)
        try:
            command.upgrade(config, revision)
        finally:
            sa.event.remove(connection, "before_cursor_execute", note)
        return statements
