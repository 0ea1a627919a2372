"""Run store without durability, for tests and temporary runs."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from pathlib import Path

from sqlalchemy.engine import Engine

from run_store.sql_store import SqlRunStore


class TemporaryRunStore(SqlRunStore):
    """SQLite store in a temporary folder, which is deleted when the store is closed or collected.

    All guarantees of `run_store.protocols.RunStore` but durability; for one process only.
    """

    def __init__(self) -> None:
        folder = Path(tempfile.mkdtemp(prefix="mentorgrad-"))
        super().__init__(f"sqlite:///{folder / 'runs.db'}")
        self.url = "memory:"
        self._discard = weakref.finalize(self, _discard, self._engine, folder)

    def close(self) -> None:
        """See `RunStore.close`."""
        super().close()
        self._discard()


def _discard(engine: Engine, folder: Path) -> None:
    engine.dispose()
    shutil.rmtree(folder, ignore_errors=True)
