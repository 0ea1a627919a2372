"""A run is the same fold of its log, however its events are grouped."""

from __future__ import annotations

import math
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mentorgrad.domain import fold as fold_module
from mentorgrad.domain.event import (
    CheckpointSaved,
    Created,
    Finished,
    ProposalsReceived,
    RestartDecided,
    Resumed,
    RunEvent,
    StageStarted,
    StateChanged,
)
from mentorgrad.domain.fold import FIGURES, effective, fold, for_figures
from mentorgrad.domain.loss_line import MOST_POINTS, LossLine
from mentorgrad.domain.run import Run, RunResult, RunState, Usage
from run_store.temporary_store import TemporaryRunStore
from tests.support.event_maker import EventMaker
from tests.support.folding import replay

STEPS = st.one_of(
    st.tuples(st.just("stage"), st.integers(0, 5)),
    st.tuples(st.just("segment"), st.integers(1, 4)),
    st.tuples(st.just("scored"), st.floats(0, 1)),
    st.tuples(st.just("proposals"), st.integers(0, 9)),
    st.tuples(st.just("restart"), st.booleans()),
    st.tuples(st.just("checkpoint"), st.none()),
    st.tuples(st.just("resume"), st.integers(0, 3)),
)


def payload_of(name: str, value: Any, step: int) -> Any:
    return {
        "stage": lambda: StageStarted(value, step),
        "segment": lambda: EventMaker.segment(step + 1, step + value, shape=(1,)),
        "scored": lambda: EventMaker.scored(0, value, evaluations=step),
        "proposals": lambda: ProposalsReceived(usage=Usage(mentor_calls=value)),
        "restart": lambda: RestartDecided(restarted=value, usage=Usage(probe_steps=step)),
        "checkpoint": lambda: CheckpointSaved(step),
    }[name]()


def log_of(script: list[tuple[str, Any]], *, finished: bool = False) -> list[RunEvent]:
    """A log in which any attempt may end anywhere and go on from any effective checkpoint."""
    make = EventMaker("run-1")
    log = [make(Created()), make(StateChanged(RunState.RUNNING), attempt=1)]
    step = 0
    for name, value in script:
        if name != "resume":
            log.append(make(payload_of(name, value, step)))
            step += value if name == "segment" else 0
            continue
        kept = [e for e in effective(log) if isinstance(e.payload, CheckpointSaved)]
        back = kept[-1 - value] if value < len(kept) else None
        log.append(make(StateChanged(RunState.INTERRUPTED, "gone")))
        log.append(make(StateChanged(RunState.RUNNING), attempt=make.attempt + 1))
        log.append(make(Resumed(back.seq if back else 0)))
        step = back.payload.step if back and isinstance(back.payload, CheckpointSaved) else 0
    if finished:
        log.append(make(Finished(RunState.SUCCEEDED, RunResult(usage=Usage(evaluations=1)))))
    return log


def figures(run: Run) -> dict[str, Any]:
    return {name: getattr(run, name) for name in FIGURES}


@pytest.mark.slow
@given(st.lists(STEPS, max_size=30))
@settings(max_examples=30)
def test_figures_are_those_of_the_effective_events(script: list[tuple[str, Any]]) -> None:
    log = log_of(script)
    run, earlier = Run(), []
    for event in log:
        run = fold(run, event, earlier)
        earlier.append(event)
    plain = Run()
    for event in effective(log):
        if not isinstance(event.payload, Resumed):
            plain = fold(plain, event)
    assert figures(run) == figures(plain)
    assert figures(run) == figures(replay("run-1", effective(log)))
    assert run == replay("run-1", log)
    assert run == replay("run-1", map(for_figures, log))


def is_superseded(event: RunEvent, resumed: RunEvent) -> bool:
    assert isinstance(resumed.payload, Resumed)
    return (
        resumed.payload.checkpoint_seq < event.seq < resumed.seq
        and event.attempt < resumed.attempt
        and not isinstance(event.payload, (Created, StateChanged, Resumed))
    )


@given(st.lists(STEPS, max_size=30))
def test_effective_is_what_no_later_resume_voids(script: list[tuple[str, Any]]) -> None:
    log = log_of(script)
    resumes = [event for event in log if isinstance(event.payload, Resumed)]
    assert effective(log) == [
        event for event in log if not any(is_superseded(event, resumed) for resumed in resumes)
    ]


@given(st.lists(STEPS, max_size=20))
def test_history_comes_from_every_event(script: list[tuple[str, Any]]) -> None:
    log = log_of(script, finished=True)
    run = replay("run-1", log)
    kept = effective(log)
    assert [event for event in kept if isinstance(event.payload, (Created, StateChanged, Resumed))]
    assert (run.last_seq, run.attempt) == (log[-1].seq, log[-1].attempt)
    assert (run.created_at, run.started_at) == (log[0].time, log[1].time)
    assert (run.state, run.finished_at) == (RunState.SUCCEEDED, log[-1].time)
    history = [e.seq for e in log if isinstance(e.payload, (Created, StateChanged, Resumed))]
    assert [e.seq for e in kept if e.seq in set(history)] == history


@pytest.mark.slow
@given(st.lists(STEPS, max_size=25), st.data())
@settings(max_examples=12)
def test_appending_in_any_chunks_gives_the_same_run(
    script: list[tuple[str, Any]], data: st.DataObject
) -> None:
    """The control plane's events are made by the store itself; a worker's come in chunks."""
    store = TemporaryRunStore()
    run, _ = store.create(Created())
    store.claim(run.run_id, "w", timedelta(minutes=1))
    pending: list[RunEvent] = []
    make = EventMaker(run.run_id, 2, 1)
    step = 0

    def flush() -> None:
        store.append(run.run_id, make.attempt, pending)
        pending.clear()

    for name, value in script:
        if name != "resume":
            pending.append(make(payload_of(name, value, step)))
            step += value if name == "segment" else 0
        else:
            flush()
            kept = [e for e in effective(list(store.events(run.run_id))) if e.kind.value == name]
            store.transition(run.run_id, RunState.INTERRUPTED)
            lease = store.claim(run.run_id, "w", timedelta(minutes=1))
            make = EventMaker(run.run_id, lease.last_seq, lease.attempt)
            pending.append(make(Resumed(kept[-1].seq if kept else 0)))
        if data.draw(st.booleans()):
            flush()
    flush()
    log = list(store.events(run.run_id))
    assert store.get_run(run.run_id) == replay(run.run_id, log)


def test_a_loss_that_is_no_number_is_never_the_best() -> None:
    make = EventMaker("run-1")
    log = [make(Created()), make(make.scored(0, float("nan"), float("-inf"), float("inf")))]
    assert replay("run-1", log).best_selection_loss is None
    log.append(make(make.scored(0, 3.0, float("nan"))))
    assert replay("run-1", log).best_selection_loss == 3.0


@given(st.lists(st.tuples(st.integers(0, 50), st.floats(0, 1e300)), max_size=120))
def test_a_loss_line_is_the_best_loss_over_the_steps(points: list[tuple[int, float]]) -> None:
    line, scored = LossLine(), {}
    at, best = 0, math.inf
    for forward, loss in points:
        at, best = at + forward, min(best, loss)
        scored[at] = best
        line = line.with_point(at, best)
    assert len(line.steps) == len(line.losses) == min(len(scored), MOST_POINTS)
    assert list(zip(line.steps, line.losses, strict=True)) == [
        (step, loss) for step, loss in scored.items() if step in line.steps
    ]
    if scored:
        ends = (min(scored), max(scored))
        assert (line.steps[0], line.steps[-1]) == ends


def test_a_loss_line_stays_spread_over_a_long_run() -> None:
    line = LossLine()
    for step in range(10_000):
        line = line.with_point(step, 1.0)
    gaps = [after - before for before, after in pairwise(line.steps)]
    assert max(gaps) <= 2 * 10_000 / (MOST_POINTS - 1)


def test_a_step_that_goes_back_counts_as_the_last_one() -> None:
    assert LossLine((2, 5), (3.0, 2.0)).with_point(4, 1.0) == LossLine((2, 5), (3.0, 1.0))


def test_a_loss_line_follows_the_scores_that_stay_effective() -> None:
    make = EventMaker("run-1")
    log = [make(Created()), make(StateChanged(RunState.RUNNING), attempt=1)]
    log += [make(make.segment(1, 4)), make(make.scored(0, 0.9, math.nan)), make(CheckpointSaved(4))]
    log += [make(make.segment(5, 8)), make(make.scored(0, 0.5)), make(make.scored(0, 0.7))]
    assert replay("run-1", log).loss_line == LossLine((4, 8), (0.9, 0.5))
    log += [make(Resumed(5), attempt=2), make(make.segment(5, 6)), make(make.scored(0, 0.8))]
    assert replay("run-1", log).loss_line == LossLine((4, 6), (0.9, 0.8))


def test_a_resume_after_a_resume_leaves_each_superseded_span_void() -> None:
    make = EventMaker("run-1")
    log = [make(Created()), make(StateChanged(RunState.RUNNING), attempt=1)]
    log += [make(CheckpointSaved(1)), make(StageStarted(1))]  # 3, 4
    log += [make(Resumed(3), attempt=2), make(StageStarted(2)), make(CheckpointSaved(2))]  # 5..7
    log += [make(StageStarted(3)), make(Resumed(7), attempt=3)]  # 8, 9
    assert [event.seq for event in effective(log)] == [1, 2, 3, 5, 6, 7, 9]
    assert replay("run-1", log).stage == 2
    log += [make(Resumed(3), attempt=4)]
    assert [event.seq for event in effective(log)] == [1, 2, 3, 5, 9, 10]
    assert replay("run-1", log).stage == 0


def test_the_work_of_a_log_grows_with_its_length_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each resume goes back to the start and another attempt does it all again."""
    make = EventMaker("run-1")
    log = [make(Created()), make(StateChanged(RunState.RUNNING), attempt=1)]
    for attempt in range(2, 202):
        log += [make(StageStarted(1)), make(StateChanged(RunState.INTERRUPTED))]
        log += [make(StateChanged(RunState.RUNNING), attempt=attempt), make(Resumed(0))]
    log.append(make(Finished(RunState.FAILED)))
    folded = []
    fold_figures = fold_module.fold_figures

    def counted(run: Run, event: RunEvent) -> Run:
        folded.append(event.seq)
        return fold_figures(run, event)

    monkeypatch.setattr(fold_module, "fold_figures", counted)
    assert TemporaryRunStore().import_run(log) == replay("run-1", log)
    assert len(folded) <= 2 * len(log)
