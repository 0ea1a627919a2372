"""Run store in SQLite (the embedded default) or Postgres."""

from __future__ import annotations

import sqlalchemy as sa

from mentorgrad.errors import InvalidInput, Unavailable
from run_store import dialects
from run_store.checks.sql_checks import SqlChecks
from run_store.schema_version import HEAD, check_ours, version_of
from run_store.sql_agents import SqlAgents
from run_store.sql_audit import SqlAudit
from run_store.sql_experiments import SqlExperiments
from run_store.sql_news import SqlNews
from run_store.sql_outbox import SqlOutbox
from run_store.sql_uploads import SqlUploads
from run_store.tables import metadata


class SqlRunStore(SqlChecks, SqlNews, SqlExperiments, SqlUploads, SqlAudit, SqlAgents, SqlOutbox):
    """SQL implementation of `run_store.protocols.RunStore`, migrated to the current schema.

    Args:
        url: ``sqlite:///path`` or ``postgresql://user:password@host/database``.
        read_only: Whether the store is only read: it is neither created nor migrated.
        migrate: Whether a store that is to be written is created or migrated.

    Raises:
        InvalidInput: The URL is malformed, the database is not a run store, or cannot be written.
            With `read_only` or without `migrate`: there is no run store, or its schema is older.
        Unavailable: The database is not available.
    """

    def __init__(self, url: str, *, read_only: bool = False, migrate: bool = True) -> None:
        parsed = dialects.parse(url)
        check_ours(dialects.tables_before(parsed))
        engine = dialects.engine_of(parsed, read_only, create=migrate)
        super().__init__(engine, dialects.shown(parsed))
        try:
            with self._translated():
                self._check_schema(read_only, migrate and not read_only)
        except sa.exc.ProgrammingError as error:  # for example, no permission to create tables
            self.close()
            said = dialects.one_line(error)
            raise Unavailable(f"cannot prepare the run store {self.url}: {said}") from None
        except (InvalidInput, Unavailable):
            self.close()
            raise

    def _check_schema(self, read_only: bool, migrate: bool) -> None:
        """Checks the tables, and that they can be written; creates or migrates them if it may."""
        with self._engine.connect() as connection:
            version = version_of(connection)
            is_written = version == HEAD and not read_only
            if is_written and (why := dialects.missing_privilege(connection, metadata.tables)):
                said = f"{self.url} cannot be written: {why}"
                raise InvalidInput.field("store", said, reason=dialects.READ_ONLY)
        if version == HEAD:
            return
        if migrate:
            from run_store.migrate import upgrade  # rarely needed and slow to import

            upgrade(self._writer)
            return
        if version is None:
            raise InvalidInput.field("store", f"there is no store at {self.url}")
        how = "a newer mentorgrad; upgrade this installation"
        if version < HEAD:
            how = (
                "an older mentorgrad; a trainer service upgrades it when it starts with it, and so "
                "does: mentorgrad store migrate --store URL"
            )
        raise InvalidInput.field("store", f"has schema {version} of {how}")
