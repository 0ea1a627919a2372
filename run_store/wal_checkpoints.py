"""SQLite's checkpoints after large transactions, apart from their callers."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

_PAGES = 1000
"""SQLite's own default: pages in the log at which a commit checkpoints."""


class WalCheckpoints:
    """Checkpoints of one database.

    A commit that leaves much in SQLite's write-ahead log copies it into the database at once and
    waits for the disk, twice, and with it waits everybody who wants to write. The transaction is
    stored before that as it is after, so a thread can do the copying.

    Args:
        engine: The database; nothing is done for one that is not SQLite.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._threads: list[threading.Thread] = []

    @contextlib.contextmanager
    def put_off(self, connection: Connection) -> Iterator[None]:
        """Commits in the block do not checkpoint; a thread begins to when the block has ended."""
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
        # What fails is done by the next commit, which says what is wrong if it fails again.
        with contextlib.suppress(sa.exc.SQLAlchemyError, sqlite3.Error):
            connection = self._engine.raw_connection()
            try:
                connection.cursor().execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
            finally:
                connection.close()

    def close(self) -> None:
        """Waits for what is under way."""
        for thread in self._threads:
            thread.join()
