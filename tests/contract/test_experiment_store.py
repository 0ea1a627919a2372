"""What every `ExperimentStore` guarantees. Each test reads back from a store opened anew."""

from __future__ import annotations

import dataclasses
import threading
from datetime import timedelta
from typing import Any

import pytest

from mentorgrad.domain.event import Created
from mentorgrad.domain.experiment import (
    EXPERIMENT_TRANSITIONS,
    Arm,
    ExperimentSpec,
    ExperimentState,
    Tuning,
    Variation,
)
from mentorgrad.domain.objective import Function
from mentorgrad.domain.run import RunState
from mentorgrad.domain.spec import MentorChoice, RunSpec, Task
from mentorgrad.errors import AlreadyExists, InvalidInput, NotFound, PreconditionFailed

SPEC = ExperimentSpec(
    name="which",
    base=RunSpec(Function()),
    tasks=(Task("toy"),),
    variations=(Variation("few", {"stages": {"count": 2, "deep": [1, 2.5, "x"]}}),),
    arms=(Arm("a"), Arm("b", MentorChoice("perturb", options={"scale": 0.5}))),
    seeds=(0, 2**63 - 1),
    tuning=Tuning((0.1, 0.01), Task("toy"), (1,)),
)


def test_an_experiment_is_kept_as_it_was_given(opened: Any) -> None:
    made, is_new = opened.store.create_experiment(SPEC, "key")
    assert is_new
    assert (made.spec, made.request_id, made.state) == (SPEC, "key", ExperimentState.RUNNING)
    assert made.created_at is not None
    assert made.finished_at is None
    assert opened.reopen().get_experiment(made.experiment_id) == made
    assert opened.store.running_experiments() == (made.experiment_id,)


def test_the_same_request_is_the_same_experiment(opened: Any) -> None:
    first, _ = opened.store.create_experiment(SPEC, "key")
    assert opened.store.find_experiment("key", SPEC) == first
    assert opened.reopen().create_experiment(SPEC, "key") == (first, False)
    assert opened.store.find_experiment("other", SPEC) is None
    other = dataclasses.replace(SPEC, seeds=(5,))
    for call in (opened.store.create_experiment, lambda s, k: opened.store.find_experiment(k, s)):
        with pytest.raises(AlreadyExists) as caught:
            call(other, "key")
        assert caught.value.reason == "REQUEST_ID_TAKEN"
        assert caught.value.metadata == {"experiment_id": first.experiment_id}
    assert len(opened.store.list_experiments().experiments) == 1


def test_without_a_key_each_call_makes_one(opened: Any) -> None:
    made = [opened.store.create_experiment(SPEC) for _ in range(2)]
    assert all(is_new and item.request_id for item, is_new in made)
    assert len({item.experiment_id for item, _ in made}) == 2
    assert opened.store.find_experiment("", SPEC) is None


def test_odd_keys_are_refused(opened: Any) -> None:
    for key in ("x" * 201, "a\nb", "a\x00b"):
        for call in (
            opened.store.create_experiment,
            lambda s, k: opened.store.find_experiment(k, s),
        ):
            with pytest.raises(InvalidInput) as caught:
                call(SPEC, key)
            assert caught.value.violations[0].field == "request_id"


def test_many_at_once_with_one_key_make_one(opened: Any) -> None:
    made: list[Any] = []
    together = [
        threading.Thread(target=lambda: made.append(opened.store.create_experiment(SPEC, "key")))
        for _ in range(8)
    ]
    for thread in together:
        thread.start()
    for thread in together:
        thread.join()
    assert sum(is_new for _, is_new in made) == 1
    assert len({item.experiment_id for item, _ in made}) == 1


def test_an_unknown_experiment_is_not_found(opened: Any) -> None:
    for name in ("nobody", "", "a\x00b", "'; --", "x" * 300):
        for call in (
            opened.store.get_experiment,
            lambda n: opened.store.set_experiment_state(n, ExperimentState.FAILED),
        ):
            with pytest.raises(NotFound) as caught:
                call(name)
            assert caught.value.reason == "EXPERIMENT_NOT_FOUND"
        assert opened.store.count_runs(name) == {}


def test_an_end_is_for_good(opened: Any) -> None:
    for first in (state for state in ExperimentState if state.is_final):
        made, _ = opened.store.create_experiment(SPEC)
        with pytest.raises(PreconditionFailed):
            opened.store.set_experiment_state(made.experiment_id, ExperimentState.RUNNING)
        ended = opened.store.set_experiment_state(made.experiment_id, first, "because")
        assert (ended.state, ended.reason) == (first, "because")
        assert ended.finished_at is not None
        for state in ExperimentState:
            with pytest.raises(PreconditionFailed) as caught:
                opened.store.set_experiment_state(made.experiment_id, state)
            assert caught.value.reason == "TRANSITION_FORBIDDEN"
        assert opened.reopen().get_experiment(made.experiment_id) == ended
        assert opened.store.running_experiments() == ()


def test_every_state_has_its_transitions() -> None:
    assert set(EXPERIMENT_TRANSITIONS) == set(ExperimentState)
    assert not ExperimentState.RUNNING.is_final


def test_pages_go_on_where_they_ended_while_more_come(opened: Any) -> None:
    made = [opened.store.create_experiment(SPEC)[0] for _ in range(7)]
    newest_first = [item.experiment_id for item in made[::-1]]
    page = opened.reopen().list_experiments(3)
    opened.store.create_experiment(SPEC)
    seen = [item.experiment_id for item in page.experiments]
    while page.next_page_token:
        page = opened.store.list_experiments(2, page.next_page_token)
        seen += [item.experiment_id for item in page.experiments]
    assert seen == newest_first
    assert opened.store.running_experiments()[:7] == tuple(newest_first[::-1])


def test_odd_pages_are_refused(opened: Any) -> None:
    for size, token in ((0, ""), (1001, ""), (5, "?"), (5, "bm90aGluZw")):
        with pytest.raises(InvalidInput):
            opened.store.list_experiments(size, token)


def test_runs_are_counted_by_phase_and_state(opened: Any) -> None:
    def run(experiment: str, phase: str = "") -> str:
        created = Created(RunSpec(Function(), labels={"phase": phase} if phase else {}))
        return str(opened.store.create(created, experiment_id=experiment)[0].run_id)

    mine, _ = opened.store.create_experiment(SPEC)
    name = mine.experiment_id
    assert opened.store.count_runs(name) == {}
    ids = [run(name, "main") for _ in range(3)]
    run(name, "tuning")
    run(name)
    run("another", "main")
    labels = {"experiment": name, "phase": "main"}
    opened.store.create(Created(RunSpec(Function(), labels=labels)))
    opened.store.claim(ids[0], "worker", timedelta(minutes=1))
    opened.store.transition(ids[1], RunState.CANCELLED)
    assert dict(opened.reopen().count_runs(name)) == {
        ("main", RunState.RUNNING): 1,
        ("main", RunState.CANCELLED): 1,
        ("main", RunState.QUEUED): 1,
        ("tuning", RunState.QUEUED): 1,
        ("", RunState.QUEUED): 1,
    }
    opened.store.delete(ids[1])
    assert ("main", RunState.CANCELLED) not in opened.store.count_runs(name)
