"""When `mentorgrad serve worker` ends by itself."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from trainer_service import worker_service
from trainer_service.agent.settings import WorkerSettings


@pytest.mark.parametrize("limit", [0.0, 5.0])
async def test_a_worker_that_ends_when_idle_has_looked_before(
    limit: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An agent has been idle for 0 s until it has found nothing to execute."""
    monkeypatch.setattr(worker_service, "_LOOK_SECONDS", 0.0)
    looks = iter([0.0, 0.0, 0.0, limit + 0.001])
    left: list[int] = []

    class Scheduler:
        is_done = False

        @property
        def idle_seconds(self) -> float:
            left.append(1)
            return next(looks)

    agent: Any = SimpleNamespace(scheduler=Scheduler())
    settings = WorkerSettings(store="postgresql://db/x", until_idle=limit)
    await worker_service._until_done(agent, settings, asyncio.create_task(asyncio.sleep(3600)))
    assert len(left) == 4
