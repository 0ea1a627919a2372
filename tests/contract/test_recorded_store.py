"""A store and an export of an earlier version open, and say what they said then.

Fields may be added; nothing that was read then may be missing or different. Nothing is trained
here.
"""

from __future__ import annotations

import json
import math
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from mentorgrad.domain.query import FieldFilter, RunFilter, RunOrder
from mentorgrad.domain.run import RunState
from mentorgrad.serialization import to_dict
from run_store.open import open_store
from tests.support.interface import difference
from tests.support.recorded_store import (
    EXPORT,
    READ,
    exported_events,
    read_all,
    read_run,
    restore,
)


@pytest.fixture(scope="module")
def then() -> Any:
    """What was read when the store was written."""
    return json.loads(READ.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def now(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What the present code reads from it."""
    return read_all(restore(tmp_path_factory.mktemp("store") / "runs.sqlite"))


@pytest.fixture
def url(tmp_path: Path) -> str:
    return restore(tmp_path / "runs.sqlite")


@pytest.mark.parametrize("what", ["runs", "checkpoints", "experiments"])
def test_an_earlier_store_says_what_it_said(then: Any, now: Any, what: str) -> None:
    assert then[what]
    assert difference(then[what], now[what]).gone == ()


def test_a_paused_run_of_an_earlier_store_goes_on(then: Any, url: str) -> None:
    (paused,) = (
        run_id for run_id, content in then["runs"].items() if content["run"]["state"] == "paused"
    )
    last = then["runs"][paused]["run"]["last_seq"]
    assert paused in then["checkpoints"]
    with closing(open_store(url)) as store:
        store.transition(paused, RunState.QUEUED)
        lease = store.claim(paused, "a worker", timedelta(minutes=1))
        assert (lease.attempt, lease.last_seq) == (2, last + 2)


def test_lists_find_the_runs_of_an_earlier_store(then: Any, url: str) -> None:
    by_label = {
        content["run"]["spec"]["labels"]["recorded"]: run_id
        for run_id, content in then["runs"].items()
    }
    accuracy = FieldFilter("result.test.accuracy", at_least=0.0)
    with closing(open_store(url)) as store:
        for wanted, names in (
            (RunFilter(labels={"recorded": "words"}), {"words"}),
            (
                RunFilter(fields=(FieldFilter("spec.objective.function.name", "ackley"),)),
                {"paused"},
            ),
            (RunFilter(fields=(accuracy,)), {"words"}),
            (RunFilter(text="recorded f"), {"function"}),
        ):
            for order in RunOrder:
                found = {run.run_id for run in store.list_runs(wanted, order)}
                assert found == {by_label[name] for name in names}, wanted
        every = store.list_runs(order=RunOrder.BEST_SELECTION_LOSS)
        assert all(run.labels == run.spec.labels for run in every)
        losses = [run.best_selection_loss for run in every]
        assert losses == sorted(losses, key=lambda loss: math.inf if loss is None else loss)
        experiment = next(iter(then["experiments"]))
        assert len(store.list_runs(RunFilter(experiment_id=experiment))) == 4


def test_an_earlier_export_reads_and_encodes_as_it_was_written() -> None:
    lines = EXPORT.read_text(encoding="utf-8").splitlines()
    for line, event in zip(lines, exported_events(), strict=True):
        assert difference(json.loads(line), to_dict(event)).gone == ()


def test_an_earlier_export_is_imported_as_the_run_it_was(then: Any, opened: Any) -> None:
    run = opened.store.import_run(list(exported_events()))
    expected = dict(then["runs"][run.run_id])
    del expected["artifacts"]  # files are no part of an export
    assert difference(expected, read_run(opened.reopen(), run)).gone == ()
