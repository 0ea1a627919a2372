"""A schema of Postgres whose tables serve many tests, one after another."""

from __future__ import annotations

from typing import TYPE_CHECKING

from run_store.schema_version import VERSION_TABLE

if TYPE_CHECKING:
    import psycopg


class SharedSchema:
    """The tables of a store, made once and emptied.

    Args:
        url: Of an empty schema.
        connection: Of a superuser, in autocommit mode.
    """

    def __init__(self, url: str, connection: psycopg.Connection) -> None:
        from run_store.open import open_store

        self.url = url
        self._connection = connection
        open_store(url).close()
        schema = url.rpartition("search_path%3D")[2]
        tables = connection.execute(
            "SELECT tablename FROM pg_tables WHERE schemaname = %s AND tablename <> %s",
            (schema, VERSION_TABLE),
        ).fetchall()
        sequences = connection.execute(
            "SELECT sequencename FROM pg_sequences WHERE schemaname = %s", (schema,)
        ).fetchall()
        assert tables
        self._statement = ";".join(
            (
                "SET LOCAL session_replication_role = replica",  # no order, no cascades
                *(f'DELETE FROM {schema}."{name}"' for (name,) in tables),
                *(f'ALTER SEQUENCE {schema}."{name}" RESTART' for (name,) in sequences),
            )
        )

    def empty(self) -> None:
        """Deletes all rows; identities count from one again."""
        with self._connection.transaction():
            self._connection.execute(self._statement)
