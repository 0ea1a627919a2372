"""An upgrade while runs are executed: agents of two versions at one store."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa

from mentorgrad.domain.agent import Agent
from mentorgrad.domain.event import Created
from mentorgrad.domain.objective import Function
from mentorgrad.domain.run import RunState
from mentorgrad.domain.spec import RunSpec
from mentorgrad.errors import InvalidInput
from run_store import sql_agents, sql_store
from run_store.open import open_store
from run_store.schema_version import VERSION_TABLE
from tests.support.scheduling import FakeExecutor, Rig
from trainer_service.agent import heartbeat as module
from trainer_service.agent import scheduler as scheduling
from trainer_service.agent.heartbeat import AgentHeartbeat
from trainer_service.agent.scheduler import Scheduler
from trainer_service.job import EXIT_OK, EXIT_STORE

NEXT = "9999"
"""The schema of the next version, which only adds to the present one."""


class Installation(Rig):
    """An agent of one version, with a store of its own on the same file."""

    def __init__(self, url: str, name: str) -> None:
        self.store = open_store(url, migrate=False)  # type: ignore[assignment]
        self.executor = FakeExecutor(self.store)
        self.scheduler = Scheduler(
            self.store, self.executor, ["cpu"] * 2, per_device=1, max_restarts=0, holder=name
        )
        self.heartbeat = AgentHeartbeat(self.store, lambda: Agent(name), self.scheduler)

    async def start(self) -> None:
        await self.heartbeat.start()
        self.scheduler.start()

    async def close(self) -> None:
        await self.scheduler.close(10.0)
        await self.heartbeat.close()
        self.store.close()


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(scheduling, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(scheduling, "RETRY_SECONDS", 0.01)
    monkeypatch.setattr(module, "BEAT_SECONDS", 0.02)
    return f"sqlite:///{tmp_path}/runs.db"


def upgrade(url: str) -> None:
    """What the first service of the next version does at its start."""
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.execute(sa.text(f"UPDATE {VERSION_TABLE} SET version_num = '{NEXT}'"))
    engine.dispose()


async def test_old_and_new_agents_together_lose_no_run(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(open_store(url)) as store:
        runs = [store.create(Created(RunSpec(Function())))[0].run_id for _ in range(4)]
    old = Installation(url, "old")
    await old.start()
    first, second = await old.worker(1), await old.worker(2)
    first.begin()
    upgrade(url)
    await old.until(lambda: old.scheduler.is_leaving)
    second.end(EXIT_STORE)  # it was just starting, and finds a store that it does not know
    with pytest.raises(InvalidInput, match=f"has schema {NEXT} of a newer mentorgrad"):
        open_store(url, migrate=False)

    monkeypatch.setattr(sql_store, "HEAD", NEXT)
    new = Installation(url, "new")
    await old.until(lambda: not old.scheduler.held.get(second.run_id))
    monkeypatch.setattr(sql_agents, "HEAD", NEXT)
    await new.start()
    taken = [await new.worker(1), await new.worker(2)]
    for worker in taken:
        worker.begin()
        worker.end(EXIT_OK, RunState.SUCCEEDED)
    last = await new.worker(3)
    last.begin()
    assert old.state(first.run_id) is RunState.RUNNING
    first.end(EXIT_OK, RunState.SUCCEEDED)
    last.end(EXIT_OK, RunState.SUCCEEDED)
    await old.until(lambda: old.scheduler.is_done)
    await new.until(lambda: all(new.state(run_id) is RunState.SUCCEEDED for run_id in runs))
    assert len(old.executor.started) == 2
    assert sorted(worker.run_id for worker in (*taken, last)) == sorted(
        run_id for run_id in runs if run_id != first.run_id
    )
    assert new.interruptions(second.run_id) == ["the worker did not reach the run store"]
    await new.close()
    await old.close()
