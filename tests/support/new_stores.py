"""New stores without running the migrations for each."""

from __future__ import annotations

import sqlite3
from typing import Any

import sqlalchemy as sa
from alembic import command
from alembic.config import Config

from run_store.schema_version import VERSION_TABLE


class RecordedMigrations:
    """Stands for `alembic.command` where stores are opened.

    The first new store of each kind of database is migrated; the statements that this takes make
    the tables of the next ones, in a small part of the time. SQLite makes them once, in memory,
    and copies the pages. Databases with a schema are migrated.
    """

    def __init__(self) -> None:
        self._statements: dict[str, list[tuple[str, Any]]] = {}
        self._pages: sqlite3.Connection | None = None

    def upgrade(self, config: Config, revision: str) -> None:
        """See `alembic.command.upgrade`."""
        connection: sa.Connection = config.attributes["connection"]
        kind = connection.dialect.name
        if sa.inspect(connection).has_table(VERSION_TABLE):
            command.upgrade(config, revision)
        elif kind not in self._statements:
            self._statements[kind] = self._recorded(connection, config, revision)
        elif kind == "sqlite":
            self._copy(connection.connection.driver_connection)
        else:
            text = ";\n".join(statement for statement, _ in self._statements[kind])
            connection.exec_driver_sql(text)

    def close(self) -> None:
        """Forgets the copied pages."""
        if self._pages is not None:
            self._pages.close()

    def _copy(self, into: Any) -> None:
        if self._pages is None:
            self._pages = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
            for name in ("page_size", "auto_vacuum"):
                (value,) = into.execute(f"PRAGMA {name}").fetchone()
                self._pages.execute(f"PRAGMA {name}={value}")
            for statement, parameters in self._statements["sqlite"]:
                self._pages.execute(statement, parameters)
        into.rollback()  # a copy is a transaction of its own
        self._pages.backup(into)

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
