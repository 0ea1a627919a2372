"""Run store in SQLite (the embedded default) or Postgres."""

from __future__ import annotations

import sqlalchemy as sa

from mentorgrad.errors import InvalidInput, Unavailable
from run_store import dialects
from run_store.schema_version import HEAD, version_of
from run_store.sql_experiments import SqlExperiments
from run_store.sql_reader import SqlReader
from run_store.sql_writer import SqlWriter


class SqlRunStore(SqlWriter, SqlReader, SqlExperiments):
    """SQL implementation of `run_store.protocols.RunStore`, migrated to the current schema.

    Args:
        url: ``sqlite:///path`` or ``postgresql://user:password@host/database``.

    Raises:
        InvalidInput: The URL is malformed, or the database is not a run store.
        Unavailable: The database is not available.
    """

    def __init__(self, url: str) -> None:
        parsed = dialects.parse(url)
        engine = dialects.engine_of(parsed)
        super().__init__(engine, dialects.shown(parsed))
        try:
            with self._translated():
                self._migrate()
        except sa.exc.ProgrammingError as error:  # for example, no permission to create tables
            self.close()
            said = dialects.one_line(error)
            raise Unavailable(f"cannot prepare the run store {self.url}: {said}") from None
        except (InvalidInput, Unavailable):
            self.close()
            raise

    def _migrate(self) -> None:
        with self._engine.connect() as connection:
            if version_of(connection) == HEAD:
                return
        from run_store import migrate  # rarely needed and slow to import

        migrate.upgrade(self._writer)
