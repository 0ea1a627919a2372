"""Which runs an agent leaves to others."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from mentorgrad.domain.agent import Agent
from mentorgrad.domain.event import Created, RunEvent, StageStarted
from mentorgrad.domain.objective import Function
from mentorgrad.domain.run import Run, RunState
from mentorgrad.domain.spec import MentorChoice, RunSpec
from mentorgrad.errors import InvalidInput, Unsupported
from run_store.temporary_store import TemporaryRunStore
from trainer_service.agent import suitability as module
from trainer_service.agent.suitability import Suitability

SPEC = RunSpec(Function())


@pytest.fixture
def store() -> Iterator[TemporaryRunStore]:
    made = TemporaryRunStore()
    yield made
    made.close()


def created(store: TemporaryRunStore, digest: str = "", **fields: Any) -> Run:
    return store.create(Created(replace(SPEC, **fields), task_digest=digest))[0]


def why(suitability: Suitability, store: TemporaryRunStore, run: Run) -> str:
    suitable = suitability.of([run], store, 1)
    said = suitability.refused.get(run.run_id, "")
    assert bool(suitable) is not bool(said)
    return said


H200 = Suitability(
    Agent(
        service="worker",
        devices=("cuda:0", "cuda:1"),
        slots=4,
        labels={"gpu": "h200"},
        mentors=("small",),
        memory_mib=143_000,
    )
)
AGENT = Agent(devices=("cpu",), slots=1)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({}, ""),
        ({"requires": {"gpu": "h200", "device": "cuda"}}, ""),
        ({"requires": {"device": "any"}}, ""),
        ({"requires": {"gpu": "a100"}}, "requires gpu = a100; this worker has h200"),
        ({"requires": {"zone": "eu"}}, "requires zone = eu; this worker has none"),
        ({"requires": {"device": "cpu"}}, "requires device = cpu; this worker has cuda"),
        ({"requires": {"memory_mib": "143000"}}, ""),
        (
            {"requires": {"memory_mib": "143001"}},
            "requires memory_mib = 143001; this worker has 143000",
        ),
        ({"devices": 2}, ""),
        ({"devices": 3}, "needs 3 devices; this worker has 2 for one run"),
        ({"mentor": MentorChoice("small")}, ""),
        (
            {"mentor": MentorChoice("large")},
            "needs the mentor large, which this worker does not know",
        ),
    ],
)
def test_what_a_spec_asks_for(store: TemporaryRunStore, fields: dict[str, Any], said: str) -> None:
    assert why(H200, store, created(store, **fields)) == said


def begun_on(store: TemporaryRunStore, device: str, **fields: Any) -> Run:
    run = created(store, **fields)
    lease = store.claim(run.run_id, "another", timedelta(minutes=1))
    begun = StageStarted(device=device)
    store.append(
        run.run_id, 1, [RunEvent(run.run_id, lease.last_seq + 1, 1, datetime.now(UTC), begun)]
    )
    return store.transition(run.run_id, RunState.INTERRUPTED, "its worker died")


def test_a_run_goes_on_where_it_is_computed_to_the_bit(store: TemporaryRunStore) -> None:
    for device, said in (
        ("cuda:3", ""),
        ("cuda:0,cuda:1", ""),
        (
            "cpu",
            "began on cpu; this worker has cuda (spec.requires: device = any allows another)",
        ),
    ):
        assert why(H200, store, begun_on(store, device)) == said
    assert why(H200, store, begun_on(store, "cpu", requires={"device": "any"})) == ""
    two_slots = Suitability(Agent(devices=("cpu", "cpu"), slots=2))
    assert why(two_slots, store, begun_on(store, "cpu,cpu", devices=2)) == ""
    assert why(H200, store, begun_on(store, "cpu,cpu", devices=2)).startswith("began on cpu;")


def no_file(spec: RunSpec) -> str:
    raise InvalidInput.field("spec.task.data.train", "is not in a data root")


def no_package(spec: RunSpec) -> str:
    raise Unsupported("prompt_tuning needs peft")


@pytest.mark.parametrize(
    ("digest_of", "said"),
    [
        (lambda spec: "abc", ""),
        (lambda spec: "abd", "its data differ from those here"),
        (no_package, "prompt_tuning needs peft"),
        (no_file, "spec.task.data.train: is not in a data root"),
    ],
)
def test_the_data_are_compared_before_a_run_is_claimed(
    store: TemporaryRunStore, digest_of: Callable[[RunSpec], str], said: str
) -> None:
    assert why(Suitability(AGENT, digest_of), store, created(store, digest="abc")) == said


def test_a_run_that_is_deleted_meanwhile_is_not_executed(store: TemporaryRunStore) -> None:
    gone = created(store)
    store.delete(gone.run_id)
    assert not Suitability(AGENT, lambda spec: "rows").of([gone], store, 1)


def test_a_decision_counts_for_a_while(
    store: TemporaryRunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[RunSpec] = []

    def digest_of(spec: RunSpec) -> str:
        asked.append(spec)
        return "" if len(asked) > 1 else "no"

    suitability, run = Suitability(AGENT, digest_of), created(store)
    assert [why(suitability, store, run) for _ in range(2)] == [
        "its data differ from those here"
    ] * 2
    assert len(asked) == 1
    suitability.of([], store, 1, are_first=False)
    assert set(suitability.refused) == {run.run_id}
    suitability.of([], store, 1)
    assert suitability.refused == {}  # it no longer waits
    monkeypatch.setattr(module, "AGAIN_SECONDS", 0.0)
    assert why(suitability, store, run) == ""


def test_data_are_looked_at_in_order_for_the_runs_that_may_be_claimed(
    store: TemporaryRunStore,
) -> None:
    asked: list[int] = []

    def digest_of(spec: RunSpec) -> str:
        asked.append(spec.seed)
        return "" if spec.seed else "others"

    runs = [created(store, seed=seed) for seed in range(5)]
    runs.insert(1, created(store, seed=9, requires={"gpu": "x"}))
    suitability = Suitability(AGENT, digest_of)
    assert suitability.of(runs, store, 1) == [runs[2]]
    assert asked == [0, 1]
    # What asks for something else is refused without a look at data; what is known, is kept.
    assert set(suitability.refused) == {runs[0].run_id, runs[1].run_id}
    assert suitability.of(runs, store, 3) == runs[2:5]
    assert asked == [0, 1, 2, 3]
    assert suitability.of(runs, store, 1) == runs[2:5]
    assert asked == [0, 1, 2, 3]
    assert Suitability(AGENT).of(runs, store, 0) == [runs[0], *runs[2:]]
