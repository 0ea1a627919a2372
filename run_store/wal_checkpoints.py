"""Runs SQLite's WAL checkpoints after large transactions in a thread."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

_PAGES = 1000
"""SQLite's default: number of WAL pages at which a commit runs a checkpoint."""


class WalCheckpoints:
    """WAL checkpoints of one database.

    After a large transaction, SQLite's commit copies the write-ahead log into the database and
    waits for two disk syncs, which also blocks all other writers. The transaction is durable
    without this, so a thread can run the checkpoint.

    Args:
        engine: The database; without effect if it is not SQLite.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._threads: list[threading.Thread] = []

    @contextlib.contextmanager
    def put_off(self, connection: Connection) -> Iterator[None]:
        """Disables checkpoints at commits in the block; afterwards a thread runs one."""
        if self._engine.dialect.name != "sqlite":
            yield
            return
        driver: Any = connection.connection.driver_connection
        driver.execute("PRAGMA wal_autocheckpoint=0")
        try:
            yield
        finally:
            driver.execute(f"PRAGMA wal_autocheckpoint={_PAGES}")
        thread = threading.Thread(target=self._run, name="checkpoint", daemon=True)
        self._threads = [*(t for t in self._threads if t.is_alive()), thread]
        thread.start()

    def _run(self) -> None:
        # If this fails, the next commit runs the checkpoint, and reports a repeated failure.
        with contextlib.suppress(sa.exc.SQLAlchemyError, sqlite3.Error):
            connection = self._engine.raw_connection()
            try:
                connection.cursor().execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
            finally:
                connection.close()

    def close(self) -> None:
        """Waits for running checkpoints."""
        for thread in self._threads:
            thread.join()
