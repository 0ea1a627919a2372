"""How fast the model passes rows is measured on rows of the table."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from mentorgrad.cli.support.tune_speed import measured
from mentorgrad.domain.event import CandidatesScored, RunEvent, Segment, StageStarted
from mentorgrad.domain.objective import CausalPrompt, PromptTuning
from mentorgrad.domain.run import Run
from mentorgrad.domain.spec import DataFiles, RunSpec
from mentorgrad.errors import InvalidInput
from mentorgrad.responses import CreatedRun
from mentorgrad.tables import Table, read_table
from mentorgrad.tune.plan import Machine, TableFacts, step_tokens
from tests.support.event_maker import EventMaker
from tests.support.own_tables import plain, write_table

CPU, LIMIT = Machine(cores=2), 3600.0


class Trainer:
    """A client of a trainer whose events are a second apart."""

    def __init__(self, payloads: Sequence[Any], error: Exception | None = None) -> None:
        event = EventMaker("a-run")
        self._events = [event(payload) for payload in payloads]
        self._error = error
        self.specs: list[RunSpec] = []
        self.steered: list[str] = []

    def create_run(self, spec: RunSpec, request_id: str) -> CreatedRun:
        if self._error is not None:
            raise self._error
        self.specs.append(spec)
        return CreatedRun(Run(run_id="a-run"), True)

    def watch(self, run_id: str) -> Iterator[RunEvent]:
        yield from self._events

    def cancel_run(self, run_id: str) -> None:
        self.steered.append("cancel")

    def delete_run(self, run_id: str) -> None:
        self.steered.append("delete")


@pytest.fixture
def table(tmp_path: Path) -> Table:
    return read_table(write_table(tmp_path / "a.csv", plain(400)), "text", "", "label")


def facts_of(table: Table) -> TableFacts:
    sizes = table.report.splits
    return TableFacts(sizes, len(table.labels), 100, 1.0, 38.0, 50)


TASK = {"name": "a", "description": "what it is", "labels": ["no", "yes"]}

COURSE = [
    StageStarted(0),
    Segment(0, 1, 1),  # the step that warms up
    CandidatesScored(0),
    StageStarted(1, step=1),
    Segment(1, 2, 3),
    Segment(1, 4, 4),
]


def never(rows: Table) -> DataFiles:
    raise AssertionError("no data is needed")


def measure(trainer: Any, table: Table, objective: dict[str, Any]) -> tuple[float | None, Table]:
    given: list[Table] = []

    def give(rows: Table) -> DataFiles:
        given.append(rows)
        return DataFiles("train.jsonl")

    fields = {"objective": objective, "task": TASK}
    found = measured(trainer, table, facts_of(table), CPU, fields, give, LIMIT)
    return found, given[0]


def test_the_second_stage_of_a_short_run_is_timed(table: Table) -> None:
    trainer = Trainer(COURSE)
    speed, rows = measure(trainer, table, {"label_prompt": {"encoder": "mine"}})
    (spec,) = trainer.specs
    assert spec.objective == PromptTuning(encoder="mine")  # its steps pass rows
    assert (spec.stages.first_steps, spec.stages.steps, spec.mentor.name) == (1, 3, "none")
    assert rows.report.splits.train == 16
    tokens = 3 * step_tokens("prompt_tuning", facts_of(table), spec.optimizer.batch_size)
    assert speed == pytest.approx(tokens / 2)  # seconds between the events
    assert trainer.steered == ["cancel", "cancel", "delete"]


def test_a_language_model_is_timed_as_it_will_be_used(table: Table) -> None:
    trainer = Trainer(COURSE)
    speed, _ = measure(trainer, table, {"causal_prompt": {"max_length": 99}})
    assert speed
    assert trainer.specs[0].objective == CausalPrompt(max_length=99)


def test_what_cannot_be_measured_is_estimated(table: Table) -> None:
    assert measure(Trainer(COURSE[:4]), table, {"prompt_tuning": {}})[0] is None
    refused = Trainer([], InvalidInput("no such encoder"))
    assert measure(refused, table, {"prompt_tuning": {}})[0] is None
    fields = {"objective": {"served_prompt": {}}, "task": {}}
    assert measured(Trainer([]), table, facts_of(table), CPU, fields, never, LIMIT) is None


def test_what_takes_too_long_is_given_up(table: Table) -> None:
    cancelled = threading.Event()

    class Slow(Trainer):
        def watch(self, run_id: str) -> Iterator[RunEvent]:
            assert cancelled.wait(60)
            yield from ()

        def cancel_run(self, run_id: str) -> None:
            cancelled.set()

    trainer: Any = Slow([])
    fields = {"objective": {"prompt_tuning": {}}, "task": TASK}
    data = DataFiles("train.jsonl")
    assert measured(trainer, table, facts_of(table), CPU, fields, lambda _: data, 0.01) is None
