"""What the services are busy with: who executes runs, which runs wait and why, and how many end."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from mentorgrad.domain.agent import AgentList, why_waiting
from mentorgrad.domain.query import RunFilter, RunOrder
from mentorgrad.domain.run import Run, RunState
from mentorgrad.errors import Unsupported
from ui_service import messages
from ui_service.shared_reads import SharedReads
from ui_service.trainer import Trainer

SHOWN_RUNS = 50
"""Maximum number of running, and of waiting runs."""
HOURS = 24
"""Hours of which ended runs are counted, the present one included."""
MOST_COUNTED = 1_000
"""Maximum number of runs that are looked at to count those that ended."""

_ENDED = tuple(state for state in RunState if state.is_final)
_CREATED_WITHIN = timedelta(days=7)
"""The API finds runs by the time when they were created, not by that when they ended."""
_PORTION = 100
_COUNT_AGAIN = timedelta(minutes=1)


@dataclass(frozen=True)
class _Counted:
    """How many runs ended in each hour, as JSON."""

    at: datetime
    json: dict[str, Any]


def _now() -> datetime:
    return datetime.now(UTC)


class ServicesWork:
    """Reads what the services are busy with, for all tabs. For one event loop.

    Args:
        trainer: The trainer.
        now: The present time, UTC.
        shared: Answers tabs that ask at the same time.
    """

    def __init__(
        self,
        trainer: Trainer,
        now: Callable[[], datetime] = _now,
        shared: SharedReads[bytes] | None = None,
    ) -> None:
        self._trainer, self._now = trainer, now
        self._shared = shared or SharedReads()
        self._counted: _Counted | None = None

    async def read(self) -> bytes:
        """Agents, running and waiting runs, and the runs that ended in each hour, as JSON.

        `agents` is null if the trainer is of a version that does not list them.

        Raises:
            MentorgradError: The trainer does not answer.
        """
        return await self._shared.get("work", self._read)

    async def why_waiting(self, run: Run) -> str:
        """Why nobody executes a run that waits; empty: it has to wait for its turn.

        Raises:
            MentorgradError: The trainer does not answer.
        """
        agents = await self._agents()
        return "" if agents is None else why_waiting(run, agents, self._now())

    async def _read(self) -> bytes:
        agents = await self._agents()
        running = await self._runs(RunState.RUNNING)
        waiting = await self._runs(RunState.QUEUED, RunState.INTERRUPTED)
        ended = await self._ended()
        now = self._now()
        found = {
            "agents": None
            if agents is None
            else [messages.of_agent(agent, agent.is_alive(now)) for agent in agents],
            "running": [messages.of_run(run) for run in running],
            "waiting": [
                messages.of_run(run)
                | {"waits": "" if agents is None else why_waiting(run, agents, now)}
                for run in waiting
            ],
            "ended": ended,
        }
        return await asyncio.to_thread(messages.encoded, found)

    async def _agents(self) -> AgentList | None:
        try:
            return await self._trainer.list_workers()
        except Unsupported:
            return None

    async def _runs(self, *states: RunState) -> tuple[Run, ...]:
        page = await self._trainer.list_runs(RunFilter(states), RunOrder.OLDEST, SHOWN_RUNS)
        return page.runs

    async def _ended(self) -> dict[str, Any]:
        now = self._now()
        if self._counted is None or now - self._counted.at >= _COUNT_AGAIN:
            self._counted = _Counted(now, await self._count(now))
        return self._counted.json

    async def _count(self, now: datetime) -> dict[str, Any]:
        """How many runs ended in each hour; of the runs created last, if there are many."""
        first = now.replace(minute=0, second=0, microsecond=0) - timedelta(hours=HOURS - 1)
        counts = [Counter[RunState]() for _ in range(HOURS)]
        wanted = RunFilter(_ENDED, created_after=now - _CREATED_WITHIN)
        token = ""
        for _ in range(MOST_COUNTED // _PORTION):
            page = await self._trainer.list_runs(wanted, RunOrder.NEWEST, _PORTION, token)
            for run in page.runs:
                if run.finished_at is not None and first <= run.finished_at:
                    hour = min(HOURS - 1, int((run.finished_at - first) / timedelta(hours=1)))
                    counts[hour][run.state] += 1
            token = page.next_page_token
            if not token:
                break
        hours = [
            {"from": (first + timedelta(hours=at)).isoformat()}
            | {state.value: found[state] for state in _ENDED}
            for at, found in enumerate(counts)
        ]
        return {"hours": hours, "isPartial": bool(token)}
