"""What every `AgentStore` guarantees."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from mentorgrad.domain.agent import Agent, AgentList, no_agent_for, why_waiting
from mentorgrad.domain.event import Created
from mentorgrad.domain.run import DesiredState, Run, RunState
from mentorgrad.domain.spec import MentorChoice, RunSpec
from mentorgrad.errors import Conflict
from run_store import sql_agents
from run_store.visibility import OnBehalf

AGENT = Agent(
    name="gpu1",
    service="worker",
    host="gpu1.lan",
    version="1.0",
    devices=("cuda:0", "cuda:1"),
    slots=2,
    labels={"gpu": "h200"},
    mentors=("small",),
    started_at=datetime(2026, 11, 30, tzinfo=UTC),
)


def test_the_last_report_of_each_agent_is_listed(opened: Any) -> None:
    store = opened.store
    assert list(store.list_workers()) == []
    store.report_agent(replace(AGENT, name="gpu2"), "p2")
    store.report_agent(AGENT, "p1")
    store.report_agent(replace(AGENT, is_draining=True), "p1")
    first, second = opened.reopen().list_workers()
    assert first.is_alive()
    assert replace(first, seen_at=None) == replace(AGENT, is_draining=True)
    assert second.name == "gpu2"
    opened.store.end_agent("gpu1", "another process")
    opened.store.end_agent("gpu2", "p2")
    assert [agent.name for agent in opened.store.list_workers()] == ["gpu1"]


def test_a_name_belongs_to_one_process_until_that_is_silent(
    opened: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = running(opened.store)
    opened.store.report_agent(replace(AGENT, run_ids=(run_id,)), "p1")
    assert opened.store.list_workers().agents[0].run_ids == (run_id,)
    with pytest.raises(Conflict, match="another worker has the name gpu1") as caught:
        opened.store.report_agent(AGENT, "p2")
    assert caught.value.reason == "NAME_TAKEN"
    monkeypatch.setattr(sql_agents, "SILENT", timedelta(0))
    assert opened.store.list_workers().agents[0].run_ids == ()  # others take them up
    opened.store.report_agent(AGENT, "p2")
    opened.store.end_agent("gpu1", "p1")
    assert len(opened.store.list_workers()) == 1


MINUTE = timedelta(minutes=1)


def running(store: Any) -> str:
    run_id: str = store.create(Created())[0].run_id
    store.claim(run_id, "gpu1", timedelta(0))
    return run_id


def test_a_report_renews_the_leases_of_the_agents_runs_and_says_what_is_wanted(
    opened: Any,
) -> None:
    store = opened.store
    first, second, other, ended = (running(store) for _ in range(4))
    store.transition(ended, RunState.SUCCEEDED, attempt=1)
    store.set_desired(second, DesiredState.PAUSE)
    held = {first: 1, second: 1, other: 2, ended: 1, "no-such-run": 1}
    beat = store.report_agent(AGENT, "p1", held, MINUTE)
    wanted = {first: DesiredState.RUN, second: DesiredState.PAUSE}
    assert beat.wishes == wanted
    assert [run.run_id for run in store.expired()] == [other]
    assert store.wishes([first, second, "no-such-run"]) == wanted
    assert store.report_agent(AGENT, "p1", {}, MINUTE).wishes == {}
    # A name that is lost costs no run.
    with pytest.raises(Conflict):
        store.report_agent(AGENT, "p2", {other: 1}, MINUTE)
    assert store.expired() == ()


def test_two_agents_bury(opened: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("a", "b", "c")

    def bury() -> list[bool]:
        return [opened.store.report_agent(replace(AGENT, name=n), "p").buries for n in names]

    assert bury() == [False] * 3  # of the others, nothing is known at the start
    assert bury() == [True, True, False]
    opened.store.end_agent("a", "p")
    names = ("b", "c")
    assert bury() == [True, True]
    opened.store.report_agent(replace(AGENT, name="a"), "p")
    monkeypatch.setattr(sql_agents, "SILENT", timedelta(0))
    assert bury() == [True, True]  # a dead one does not count


def test_dead_agents_are_forgotten_after_a_day(
    opened: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened.store.report_agent(AGENT, "p1")
    monkeypatch.setattr(sql_agents, "_KEPT", timedelta(seconds=-60))
    opened.store.report_agent(replace(AGENT, name="gpu2"), "p2")
    assert list(opened.store.list_workers()) == []


def test_a_caller_sees_only_its_own_runs_at_an_agent(opened: Any) -> None:
    alice, bob = (opened.store.seen_by(OnBehalf(name, "")) for name in ("alice", "bob"))
    running, waiting = (alice.create(Created(request_id=name))[0].run_id for name in "ab")
    agent = replace(AGENT, run_ids=(running,), refused={waiting: "no gpu"})
    opened.store.report_agent(agent, "p1")
    for store, seen in ((alice, agent), (bob, replace(AGENT, run_ids=(), refused={}))):
        (found,) = store.list_workers()
        assert replace(found, seen_at=None) == seen
    run = alice.get_run(waiting)
    assert why_waiting(run, alice.list_workers()) == "gpu1: no gpu"
    late = datetime.now(UTC) + timedelta(minutes=1)
    assert why_waiting(run, alice.list_workers(), late) == "no worker reports"
    assert why_waiting(alice.get_run(running), alice.list_workers()) == ""


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"requires": {"gpu": "h200", "device": "cuda"}}, ""),
        ({"requires": {"device": "any"}}, ""),
        ({"requires": {"gpu": "a100"}}, "requires gpu = a100; this worker has h200"),
        ({"requires": {"device": "cpu"}}, "requires device = cpu; this worker has cuda"),
        (
            {"requires": {"memory_mib": "9000"}},
            "requires memory_mib = 9000; this worker has unknown",
        ),
        ({"devices": 3}, "needs 3 devices; this worker has 2 for one run"),
        ({"mentor": MentorChoice("large")}, "needs the mentor large, which this worker does not"),
        ({"mentor": MentorChoice("perturb")}, ""),
    ],
)
def test_a_run_that_nobody_can_execute_says_so(fields: dict[str, Any], why: str) -> None:
    spec = RunSpec(mentor=MentorChoice("small"))
    spec = replace(spec, **fields)
    now = datetime.now(UTC)
    idle = replace(AGENT, name="trainer", slots=0, seen_at=now)
    leaving = replace(AGENT, name="old", labels={}, is_draining=True, seen_at=now)
    agents = AgentList((replace(AGENT, seen_at=now), idle, leaving))
    said = f"gpu1: {why}" if why else ""
    assert why_waiting(Run(spec=spec), agents).startswith(said)
    assert bool(why_waiting(Run(spec=spec), agents)) is bool(why)
    assert bool(no_agent_for(spec, agents)) is bool(why)
    assert why_waiting(Run(spec=spec), AgentList((idle,))) == "no worker reports"
    if why:
        many = [replace(AGENT, name=f"gpu{n}", seen_at=now) for n in range(10)]
        assert why_waiting(Run(spec=spec), AgentList(tuple(many))).endswith("; and 2 more")
