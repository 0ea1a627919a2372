from __future__ import annotations

import asyncio

import pytest

from mentorgrad.domain.agent import Agent
from mentorgrad.errors import Unavailable
from trainer_service.agent import registration as module
from trainer_service.agent.registration import Registration


class Reports:
    """A store of agents that is away now and then."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.is_away = False
        self.asked = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def report_agent(self, agent: Agent, holder: str) -> None:
        self._loop.call_soon_threadsafe(self.asked.set)
        if self.is_away:
            raise Unavailable("restarting")
        self.seen.append(agent.name)

    def end_agent(self, name: str, holder: str) -> None:
        self.seen.append(f"-{name}")

    def list_workers(self) -> None: ...


async def test_an_agent_reports_until_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REPORT_SECONDS", 0.01)
    reports = Reports()
    registration = Registration(reports, lambda: Agent("gpu1"))  # type: ignore[arg-type]
    await registration.start()
    while len(reports.seen) < 3:
        await asyncio.sleep(0.01)
    await registration.close()
    assert set(reports.seen[:-1]) == {"gpu1"}
    assert reports.seen[-1] == "-gpu1"


async def test_an_end_does_not_wait_for_a_store_that_is_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "REPORT_SECONDS", 0.01)
    reports = Reports()
    registration = Registration(reports, lambda: Agent("gpu1"))  # type: ignore[arg-type]
    await registration.start()
    reports.is_away = True
    reports.asked.clear()
    await reports.asked.wait()
    await registration.close()
    assert "-gpu1" not in reports.seen
    reports.is_away = True
    with pytest.raises(Unavailable):
        await Registration(reports, lambda: Agent("gpu2")).start()  # type: ignore[arg-type]
