"""Makes the index of texts that the database's extensions offer; see `run_store.text_search`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from run_store.text_search import TRIGRAMS

_COLUMNS = "name, other"
_OLD = f"('delete', old.text_id, {', '.join(f'old.{name}' for name in _COLUMNS.split(', '))})"
_NEW = f"(new.text_id, {', '.join(f'new.{name}' for name in _COLUMNS.split(', '))})"
_REMOVE = f"INSERT INTO run_search (run_search, rowid, {_COLUMNS}) VALUES {_OLD};"
_ADD = f"INSERT INTO run_search (rowid, {_COLUMNS}) VALUES {_NEW};"

_SQLITE = (
    f"CREATE VIRTUAL TABLE run_search USING fts5({_COLUMNS}, content='run_texts', "
    "content_rowid='text_id', columnsize=0, tokenize='trigram case_sensitive 1')",
    "INSERT INTO run_search (run_search) VALUES ('rebuild')",
    f"CREATE TRIGGER run_search_added AFTER INSERT ON run_texts BEGIN {_ADD} END",
    f"CREATE TRIGGER run_search_removed AFTER DELETE ON run_texts BEGIN {_REMOVE} END",
    f"CREATE TRIGGER run_search_changed AFTER UPDATE ON run_texts BEGIN {_REMOVE} {_ADD} END",
)

_IS_AVAILABLE = sa.text("SELECT count(*) FROM pg_available_extensions WHERE name = 'pg_trgm'")
_SCHEMA_OF_EXTENSION = sa.text(
    "SELECT quote_ident(nspname) FROM pg_extension JOIN pg_namespace "
    "ON pg_namespace.oid = extnamespace WHERE extname = 'pg_trgm'"
)


def create(connection: Connection) -> None:
    """Makes the index if the database has what it needs, or lets this user install it; otherwise
    texts are searched by the beginnings of names."""
    if connection.dialect.name == "sqlite":
        with _unless_refused(connection):
            for statement in _SQLITE:
                connection.exec_driver_sql(statement)
        return
    if not connection.execute(_IS_AVAILABLE).scalar_one():
        return
    with _unless_refused(connection):
        # Not in the schema of this store, which may be dropped while others use the extension.
        connection.exec_driver_sql("CREATE EXTENSION IF NOT EXISTS pg_trgm SCHEMA public")
    with _unless_refused(connection):
        schema = connection.execute(_SCHEMA_OF_EXTENSION).scalar_one_or_none()
        if schema is not None:
            columns = ", ".join(f"{name} {schema}.gin_trgm_ops" for name in _COLUMNS.split(", "))
            connection.exec_driver_sql(
                f"CREATE INDEX {TRIGRAMS} ON run_texts USING gin ({columns})"
            )


def drop(connection: Connection) -> None:
    """Removes the index."""
    if connection.dialect.name == "sqlite":
        for name in ("added", "removed", "changed"):
            connection.exec_driver_sql(f"DROP TRIGGER IF EXISTS run_search_{name}")
        connection.exec_driver_sql("DROP TABLE IF EXISTS run_search")
    else:
        connection.exec_driver_sql(f"DROP INDEX IF EXISTS {TRIGRAMS}")


@contextlib.contextmanager
def _unless_refused(connection: Connection) -> Iterator[None]:
    """Undoes the block alone if the database refuses a statement of it."""
    with contextlib.suppress(sa.exc.DBAPIError), connection.begin_nested():
        yield
