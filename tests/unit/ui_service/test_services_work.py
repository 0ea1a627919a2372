"""What the services are busy with."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from mentorgrad.domain.agent import SILENT, Agent
from mentorgrad.domain.run import Run, RunState
from tests.support.told_trainer import ToldTrainer
from ui_service import services_work
from ui_service.services_work import ServicesWork
from ui_service.shared_reads import SharedReads

NOW = datetime(2026, 1, 2, 3, 30, tzinfo=UTC)
AGENT = Agent("gpu1", "worker", devices=("cuda:0",), slots=2, run_ids=("b",), seen_at=NOW)


def told(**states: RunState) -> ToldTrainer:
    """A trainer with runs in some states."""
    trainer = ToldTrainer()
    trainer.agents = (AGENT,)
    trainer.runs = {run_id: Run(run_id, state=state) for run_id, state in states.items()}
    return trainer


async def work(trainer: ToldTrainer) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(await ServicesWork(trainer, lambda: NOW).read())
    return found


async def test_agents_running_and_waiting_runs_are_told() -> None:
    trainer = told(a=RunState.QUEUED, b=RunState.RUNNING, c=RunState.INTERRUPTED)
    refusing = replace(AGENT, refused={"a": "requires gpu = h200"})
    trainer.agents = (refusing, replace(AGENT, name="gone", seen_at=NOW - SILENT))
    found = await work(trainer)
    assert [(one["name"], one["isAlive"]) for one in found["agents"]] == [
        ("gpu1", True),
        ("gone", False),
    ]
    assert [run["runId"] for run in found["running"]] == ["b"]
    assert [(run["runId"], run["waits"]) for run in found["waiting"]] == [
        ("a", "gpu1: requires gpu = h200"),
        ("c", ""),
    ]


async def test_a_trainer_that_lists_no_agents_is_shown_all_the_same() -> None:
    trainer = told(a=RunState.QUEUED)
    trainer.agents = None
    found = await work(trainer)
    assert (found["agents"], found["waiting"][0]["waits"]) == (None, "")


async def test_ended_runs_are_counted_by_the_hour_of_their_end() -> None:
    trainer = told(a=RunState.SUCCEEDED, b=RunState.FAILED, c=RunState.SUCCEEDED, d=RunState.QUEUED)
    ends = {"a": NOW, "b": NOW - timedelta(hours=23, minutes=30), "c": NOW - timedelta(hours=24)}
    for run_id, end in ends.items():
        trainer.runs[run_id] = replace(trainer.runs[run_id], finished_at=end)
    ended = (await work(trainer))["ended"]
    zero = {"succeeded": 0, "failed": 0, "cancelled": 0}
    assert len(ended["hours"]) == services_work.HOURS
    assert ended["hours"][0] == {"from": "2026-01-01T04:00:00+00:00"} | zero | {"failed": 1}
    assert ended["hours"][-1] == {"from": "2026-01-02T03:00:00+00:00"} | zero | {"succeeded": 1}
    assert not any(any(hour[name] for name in zero) for hour in ended["hours"][1:-1])
    assert ended["isPartial"] is False


async def test_ended_runs_are_counted_once_a_minute() -> None:
    trainer, now = told(a=RunState.SUCCEEDED), NOW
    services = ServicesWork(trainer, lambda: now, SharedReads(0))
    lists = []
    for seconds in (0, 59, 60):
        now = NOW + timedelta(seconds=seconds)
        trainer.lists.clear()
        await services.read()
        await asyncio.sleep(0)  # forgets what it has just read
        lists.append(len(trainer.lists))
    assert lists == [4, 2, 4]
