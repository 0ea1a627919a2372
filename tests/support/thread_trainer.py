"""A real trainer in the tests' process, for tests that are not about processes."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from unittest import mock

from prometheus_client import CollectorRegistry

from mentorgrad.client import BackgroundLoop
from run_store.open import open_for_service
from service_common.security import protect
from tests.support.thread_executor import ThreadExecutor
from trainer_service import composition
from trainer_service.agent import local_agent
from trainer_service.settings import TrainerSettings


class ThreadTrainer:
    """A trainer on a free port, whose runs are executed on threads: the imports of a trainer and a
    worker of their own take ten seconds of a core.

    Args:
        folder: Where its cache goes, and its store.
        store: URL of its store; empty: SQLite in the folder.
        **settings: More settings; the environment names others, as for a trainer's process.
    """

    def __init__(self, folder: Path, store: str = "", **settings: Any) -> None:
        self._settings = TrainerSettings(
            listen="127.0.0.1:0",
            store=store or f"sqlite:///{folder}/runs.sqlite",
            cache_dir=folder / "cache",
            threads=1,
            device="cpu",
            **settings,
        )
        self._loop, self._stack = BackgroundLoop.acquire(), AsyncExitStack()
        self.address = self._loop.run(self._start())

    async def _start(self) -> str:
        store = open_for_service(self._settings.store)
        self._stack.callback(store.close)
        with mock.patch.object(local_agent, "LocalExecutor", ThreadExecutor):
            return await composition.start_service(
                self._settings, store, self._stack, protect(self._settings), CollectorRegistry()
            )

    def stop(self) -> None:
        """Ends what it serves."""
        self._loop.run(self._stack.aclose())
        self._loop.release()
