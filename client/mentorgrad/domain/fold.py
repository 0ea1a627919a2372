"""Computes a run from its event log, as a pure fold.

A run has two groups of fields. *History* (state, times, attempt, result) is computed from all
events: a resume does not undo that a run was interrupted. *Figures* (stage, step, losses, restarts,
usage) are computed from effective events only: a resume resets them to its checkpoint.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from mentorgrad.domain.event import (
    CandidatesScored,
    Created,
    Finished,
    ProposalsReceived,
    RestartDecided,
    Resumed,
    RunEvent,
    Segment,
    StageStarted,
    StateChanged,
)
from mentorgrad.domain.run import Run, RunState
from mentorgrad.schema import evolve

FIGURES = (
    "stage",
    "step",
    "train_loss",
    "best_selection_loss",
    "loss_line",
    "restarts_applied",
    "usage",
)
"""Fields of a run that are computed from effective events only."""

_HISTORY = (Created, StateChanged, Resumed)
"""Payloads of events that are never superseded."""


def fold(run: Run, event: RunEvent, earlier: Iterable[RunEvent] = ()) -> Run:
    """The run after one more event.

    Args:
        run: The run after all earlier events; `Run()` before the first.
        event: The next event.
        earlier: The events before it. Needed if it is a `Resumed`: the figures are then recomputed
            from the events that stay effective. Events reduced by `for_figures` are sufficient.
    """
    if isinstance(event.payload, Resumed):
        run = with_figures(run, [*earlier, event])
    else:
        run = fold_figures(run, event)
    return fold_history(run, event)


def with_figures(run: Run, events: Sequence[RunEvent]) -> Run:
    """The run with its figures recomputed from a complete log; the history is unchanged."""
    figures = Run()
    for kept in effective(events):
        figures = fold_figures(figures, kept)
    return dataclasses.replace(run, **{name: getattr(figures, name) for name in FIGURES})


def effective(events: Sequence[RunEvent]) -> list[RunEvent]:
    """The events that no resume superseded, in order.

    One pass from the end: attempts never decrease along a log, so an event is superseded if and
    only if it lies after the earliest checkpoint that a later attempt resumed from.
    """
    kept: list[RunEvent] = []
    newer = same = math.inf  # earliest checkpoint of later attempts, and of the event's attempt
    attempt: int | None = None
    for event in reversed(events):
        if event.attempt != attempt:
            newer, same, attempt = min(newer, same), math.inf, event.attempt
        if isinstance(event.payload, Resumed):
            same = min(same, event.payload.checkpoint_seq)
        if event.seq <= newer or isinstance(event.payload, _HISTORY):
            kept.append(event)
    return kept[::-1]


def for_figures(event: RunEvent) -> RunEvent:
    """The event reduced to what figures depend on, so that a whole log fits in memory."""
    if isinstance(event.payload, Segment):
        last = event.payload.snapshots[-1:]
        slim = evolve(event.payload, snapshots=last, parameters=None)
        return evolve(event, payload=slim)
    return event


# -- history ----------------------------------------------------------------------------------


def fold_history(run: Run, event: RunEvent) -> Run:
    """The run after one more event, with unchanged figures."""
    changes: dict[str, Any] = {
        "last_seq": event.seq,
        "attempt": max(run.attempt, event.attempt),
    }
    payload = event.payload
    if isinstance(payload, Created):
        changes |= {
            "run_id": event.run_id,
            "request_id": payload.request_id,
            "spec": payload.spec,
            "versions": payload.versions,
            "created_at": event.time,
            "labels": payload.spec.labels,
        }
        if payload.annotation is not None:
            changes |= {"labels": payload.annotation.labels, "note": payload.annotation.note}
    elif isinstance(payload, StateChanged):
        changes |= {"state": payload.state, "reason": payload.reason}
    elif isinstance(payload, Finished):
        changes |= {
            "state": payload.state,
            "reason": payload.error,
            "result": payload.result,
        }
    state = changes.get("state")
    if state is RunState.RUNNING and run.started_at is None:
        changes["started_at"] = event.time
    elif state is not None and state.is_final:
        changes["finished_at"] = event.time
    return evolve(run, **changes)


# -- figures ----------------------------------------------------------------------------------


def fold_figures(run: Run, event: RunEvent) -> Run:
    """The run after one more event that nothing supersedes, with unchanged history."""
    change = _FIGURES_OF.get(type(event.payload))
    return run if change is None else evolve(run, **change(run, event.payload))


def _stage_started(run: Run, payload: StageStarted) -> dict[str, Any]:
    return {"stage": payload.stage, "step": payload.step}


def _segment(run: Run, payload: Segment) -> dict[str, Any]:
    changes: dict[str, Any] = {"stage": payload.stage, "step": payload.step_end}
    if payload.snapshots:
        changes["train_loss"] = payload.snapshots[-1].train_loss
    return changes


def _candidates_scored(run: Run, payload: CandidatesScored) -> dict[str, Any]:
    losses = [item.score.loss for item in payload.candidates if math.isfinite(item.score.loss)]
    if run.best_selection_loss is not None:
        losses.append(run.best_selection_loss)
    best = min(losses, default=None)
    line = run.loss_line if best is None else run.loss_line.with_point(run.step, best)
    return {"best_selection_loss": best, "loss_line": line, "usage": payload.usage}


def _proposals_received(run: Run, payload: ProposalsReceived) -> dict[str, Any]:
    return {"usage": payload.usage}


def _restart_decided(run: Run, payload: RestartDecided) -> dict[str, Any]:
    applied = run.restarts_applied + int(payload.restarted)
    return {"restarts_applied": applied, "usage": payload.usage}


def _finished(run: Run, payload: Finished) -> dict[str, Any]:
    if payload.result is None:
        return {}
    return {
        "restarts_applied": payload.result.restarts_applied,
        "usage": payload.result.usage,
    }


_FIGURES_OF: dict[type, Callable[[Run, Any], dict[str, Any]]] = {
    StageStarted: _stage_started,
    Segment: _segment,
    CandidatesScored: _candidates_scored,
    ProposalsReceived: _proposals_received,
    RestartDecided: _restart_decided,
    Finished: _finished,
}
