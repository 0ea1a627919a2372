"""Stores with many runs, written in bulk: as varied as those of a team, without their events."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from mentorgrad.domain.annotation import RunAnnotation
from mentorgrad.domain.objective import CausalPrompt, Function, LabelPrompt
from mentorgrad.domain.run import Run, RunResult, RunState, Score
from mentorgrad.domain.spec import MentorChoice, Optimizer, RunSpec, Stages, Task
from mentorgrad.wire import codec
from run_store import row_inserts, run_backfill, run_index, sql_rows
from run_store.sql_store import SqlRunStore
from run_store.tables import run_labels, runs

START = datetime(2026, 1, 1, tzinfo=UTC)

_TASKS = {"tickets": 0.4, "news": 0.9, "reviews": 1.4, "toxic": 2.3}
"""Task → its usual loss, so that tasks lie apart in the order of losses."""

_OBJECTIVES = (LabelPrompt(), LabelPrompt(n_tokens=4), CausalPrompt(), Function("ackley"))
_RATES = (0.001, 0.005, 0.01, 0.05, 0.1)
_OWNERS = ("alice",) * 60 + ("bob",) * 30 + ("carol",) * 10
_BATCH = 2_000


def made_run(number: int, count: int) -> tuple[Run, str]:
    """A run and its experiment, the same for equal numbers.

    Args:
        number: Which run, from 0; also its place in the order of time.
        count: Number of all runs; the latest are not finished yet.
    """
    chance = random.Random(number)
    task, usual = chance.choice(list(_TASKS.items()))
    rare = chance.random() < 0.001
    labels = {"team": f"t{chance.randrange(5)}", "sweep": f"s{number // 500}"}
    spec = RunSpec(
        chance.choice(_OBJECTIVES),
        Task(task, shots=chance.choice((8, 16, 32))),
        Optimizer(learning_rate=chance.choice(_RATES), batch_size=chance.choice((16, 32))),
        Stages(count=chance.choice((2, 4))),
        MentorChoice(chance.choice(("none", "perturb", "small"))),
        seed=number,
        name=f"{task} sweep {number // 500} seed {number}",
        labels=labels | ({"rare": "yes"} if rare else {}),
    )
    created = START + timedelta(seconds=number)
    run = Run(
        run_id=f"r{number:025d}",
        request_id=f"request-{number}",
        spec=spec,
        state=_state(number, count, chance),
        created_at=created,
        attempt=1,
        last_seq=40,
        owner="dora" if rare else chance.choice(_OWNERS),
        project="vision" if number % 2 else "",
        labels=spec.labels,
    )
    return _ended(run, usual, chance), f"e{number // 500}" if number % 3 == 0 else ""


def _state(number: int, count: int, chance: random.Random) -> RunState:
    left = count - number
    if left <= min(count // 20, 300):
        return RunState.QUEUED
    if left <= min(count // 10, 330):
        return RunState.RUNNING
    return chance.choice((RunState.SUCCEEDED,) * 18 + (RunState.FAILED, RunState.CANCELLED))


def _ended(run: Run, usual: float, chance: random.Random) -> Run:
    if run.state is RunState.QUEUED:
        return run
    values: dict[str, Any] = {"best_selection_loss": usual * chance.uniform(0.8, 1.2)}
    if run.state is RunState.FAILED and chance.random() < 0.5:
        values["best_selection_loss"] = None
    if run.state is RunState.SUCCEEDED:
        test = Score(values["best_selection_loss"], round(chance.uniform(0.5, 0.95), 3), 500)
        values["result"] = RunResult(test=test)
    return Run(**(vars(run) | values))


def rows(first: int, last: int, count: int) -> Iterator[tuple[Run, dict[str, Any]]]:
    """Runs with the rows of the table `runs`."""
    for number in range(first, last):
        run, experiment_id = made_run(number, count)
        columns = sql_rows.fixed_columns(run) | sql_rows.run_columns(run, codec.encode(run))
        note = codec.encode(RunAnnotation(run.labels)) if number % 100 == 0 else None
        yield (
            run,
            columns
            | {
                "desired_state": "run",
                "experiment_id": experiment_id,
                "annotation": note,
            },
        )


def fill(store: SqlRunStore, count: int) -> None:
    """Fills an empty store with runs."""
    with store._writing() as connection:
        for first in range(0, count, _BATCH):
            made = list(rows(first, min(first + _BATCH, count), count))
            row_inserts.insert_rows(connection, runs, [columns for _, columns in made])
            labels = [row for run, _ in made for row in run_index.label_rows(run)]
            row_inserts.insert_rows(connection, run_labels, labels)
        run_backfill.fill(connection)
    with store._engine.connect() as connection:
        connection.exec_driver_sql("ANALYZE")
        connection.commit()
