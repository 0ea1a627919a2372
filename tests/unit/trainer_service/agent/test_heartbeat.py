from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterator, Mapping
from datetime import UTC, datetime, timedelta

import pytest
from structlog.testing import capture_logs

from mentorgrad.domain.agent import Agent, AgentList
from mentorgrad.domain.run import DesiredState
from mentorgrad.errors import Conflict, Unavailable
from run_store.agents import Beat
from trainer_service.agent import heartbeat as module
from trainer_service.agent.heartbeat import AgentHeartbeat
from trainer_service.running.stop_control import LEASE


class Reports:
    """A store of agents that is away now and then, and the runs of an agent."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.renewed: list[Mapping[str, int]] = []
        self.beat = Beat()
        self.looked: list[Collection[str]] = []
        self.wanted: dict[str, DesiredState] = {}
        self.error: Exception | None = None
        self.held: dict[str, int] = {}
        self.told: list[Mapping[str, DesiredState]] = []
        self.buried = 0
        self.left_off = 0
        self.others: Iterator[datetime] = iter(())

    def report_agent(
        self, agent: Agent, holder: str, held: Mapping[str, int], lease: timedelta
    ) -> Beat:
        self.renewed.append(held)
        if self.error is not None:
            raise self.error
        assert lease == LEASE
        self.seen.append(agent.name)
        return self.beat

    def wishes(self, run_ids: Collection[str]) -> Mapping[str, DesiredState]:
        self.looked.append(run_ids)
        return self.wanted

    def end_agent(self, name: str, holder: str) -> None:
        self.seen.append(f"-{name}")

    def list_workers(self) -> AgentList:
        return AgentList((Agent("gpu1", seen_at=next(self.others)),))

    def tell(self, wishes: Mapping[str, DesiredState]) -> None:
        self.told.append(wishes)

    def leave_off(self) -> None:
        self.left_off += 1

    async def bury(self) -> None:
        self.buried += 1


@pytest.fixture
def reports() -> Reports:
    return Reports()


@pytest.fixture
def heartbeat(reports: Reports, monkeypatch: pytest.MonkeyPatch) -> AgentHeartbeat:
    monkeypatch.setattr(module, "BEAT_SECONDS", 0.01)
    return AgentHeartbeat(reports, lambda: Agent("gpu1"), reports)  # type: ignore[arg-type]


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(120):
        while not condition():
            await asyncio.sleep(0.005)


async def test_an_agent_reports_until_its_end(reports: Reports, heartbeat: AgentHeartbeat) -> None:
    await heartbeat.start()
    await until(lambda: len(reports.seen) >= 3)
    await heartbeat.close()
    assert set(reports.seen[:-1]) == {"gpu1"}
    assert reports.seen[-1] == "-gpu1"
    assert (reports.buried, reports.looked) == (0, [])


async def test_a_beat_renews_the_leases_and_tells_what_is_wanted(
    reports: Reports, heartbeat: AgentHeartbeat
) -> None:
    reports.held = {"a": 1, "b": 2}
    reports.beat = Beat({"a": DesiredState.RUN}, buries=True)
    await heartbeat.start()
    await until(lambda: reports.buried > 1)
    await heartbeat.close()
    assert reports.renewed[0] == {"a": 1, "b": 2}
    assert reports.told[0] == {"a": DesiredState.RUN}


async def test_between_two_beats_one_query_for_all_runs_asks_what_is_wanted(
    reports: Reports, heartbeat: AgentHeartbeat, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BEAT_SECONDS", 600.0)
    monkeypatch.setattr(module, "LOOK_SECONDS", 600.0)
    reports.held = {"a": 1, "b": 2}
    reports.wanted = {"a": DesiredState.RUN, "b": DesiredState.PAUSE}
    await heartbeat.start()
    heartbeat.wake()
    await until(lambda: len(reports.told) > 1)
    await heartbeat.close()
    assert reports.looked == [["a", "b"]]
    # RUN would mean that the lease is renewed.
    assert reports.told[1] == {"b": DesiredState.PAUSE}


@pytest.mark.parametrize("error", [Unavailable("restarting"), ZeroDivisionError("injected")])
async def test_an_end_does_not_wait_for_a_store_that_is_away(
    reports: Reports, heartbeat: AgentHeartbeat, error: Exception
) -> None:
    await heartbeat.start()
    reports.error = error
    asked = len(reports.renewed)
    await until(lambda: len(reports.renewed) > asked + 2)
    await heartbeat.close()
    assert "-gpu1" not in reports.seen


async def test_a_store_that_is_away_is_asked_by_beats_only_and_logged_once(
    reports: Reports, heartbeat: AgentHeartbeat, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Workers ask it themselves meanwhile, and many agents would ask at once when it is back."""
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.001)
    reports.held = {"a": 1}
    with capture_logs() as logs:
        await heartbeat.start()
        await until(lambda: bool(reports.looked))
        reports.error, asked = Unavailable("restarting"), len(reports.renewed)
        await until(lambda: len(reports.renewed) > asked + 1)
        looks, asked = len(reports.looked), len(reports.renewed)
        await until(lambda: len(reports.renewed) > asked + 3)
        assert len(reports.looked) == looks
        reports.error = None
        await until(lambda: len(reports.looked) > looks)
        await heartbeat.close()
    assert [entry["event"] for entry in logs] == ["not_reported", "reported_again"]


async def test_a_store_that_is_away_at_the_start_ends_it(
    reports: Reports, heartbeat: AgentHeartbeat
) -> None:
    reports.error = Unavailable("restarting")
    with pytest.raises(Unavailable):
        await heartbeat.start()
    await heartbeat.close()


async def test_a_name_is_free_when_who_had_it_is_silent(
    reports: Reports, heartbeat: AgentHeartbeat, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An agent that is killed is started again at once, under the same name."""
    monkeypatch.setattr(module, "NAME_SECONDS", 0.0)
    reports.error = Conflict("another worker has the name", reason="NAME_TAKEN")

    def silent() -> Iterator[datetime]:
        for _ in range(3):
            yield datetime(2026, 1, 1, tzinfo=UTC)
        reports.error = None
        yield datetime(2026, 1, 1, tzinfo=UTC)

    reports.others = silent()
    await heartbeat.start()
    await heartbeat.close()
    assert reports.seen[-1] == "-gpu1"


async def test_the_name_of_an_agent_that_reports_is_refused(
    reports: Reports, heartbeat: AgentHeartbeat, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "NAME_SECONDS", 0.0)
    reports.error = Conflict("another worker has the name", reason="NAME_TAKEN")
    reports.others = iter(datetime(2026, 1, day, tzinfo=UTC) for day in (1, 1, 2))
    with pytest.raises(Conflict):
        await heartbeat.start()
    assert len(reports.renewed) == 3
    await heartbeat.close()


async def test_after_the_store_was_away_others_get_time_to_renew_their_leases(
    reports: Reports, heartbeat: AgentHeartbeat, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SPARE_SECONDS", 600.0)
    reports.beat = Beat(buries=True)
    await heartbeat.start()
    reports.error = Unavailable("restarting")
    asked = len(reports.renewed)
    await until(lambda: len(reports.renewed) > asked + 1)
    reports.error, buried = None, reports.buried
    back = len(reports.seen)
    await until(lambda: len(reports.seen) > back + 3)
    await heartbeat.close()
    assert reports.buried == buried
