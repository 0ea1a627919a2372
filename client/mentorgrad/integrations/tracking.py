"""Runs in experiment trackers: TensorBoard, MLflow and Weights & Biases.

A `Tracker` stands for one run in one tool; `Mirror` feeds it with the events of a run, from a log
or while the run is watched. The modules `tensorboard`, `mlflow` and `wandb` beside this one each
have one tracker, and require their package.
"""

from __future__ import annotations

import importlib
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

from mentorgrad.domain.event import (
    CandidatesScored,
    Created,
    Finished,
    ProposalsReceived,
    RestartDecided,
    Resumed,
    RunEvent,
    Segment,
    StateChanged,
)
from mentorgrad.domain.fold import fold_figures
from mentorgrad.domain.run import Run, RunResult, RunState, Score, Usage
from mentorgrad.errors import InvalidInput, Unsupported
from mentorgrad.frames import leaves
from mentorgrad.installed import pip_line
from mentorgrad.outside_text import one_line

__all__ = ["TRACKERS", "Mirror", "Opening", "Point", "Tracker", "open_tracker"]

TRACKERS = {"tensorboard": "TensorBoard", "mlflow": "MLflow", "wandb": "WandB"}
"""Module, which is also the name of the extra and of the package → class of the tracker in it."""

_SCORES = ("loss", "accuracy", "macro_f1", "matthews")
_USAGE = ("evaluations", "forward_rows", "mentor_calls", "reply_tokens")


@dataclass(frozen=True)
class Opening:
    """What a tracker is told of a run at its start."""

    run_id: str
    """Id of the run."""
    name: str
    """Name of the run, or else its id."""
    parameters: Mapping[str, str | int | float | bool]
    """Path of each field of the spec → its value."""
    labels: Mapping[str, str]
    """Labels of the run."""
    time: datetime
    """When the run was created."""


@dataclass(frozen=True)
class Point:
    """One value of one metric; it is finite."""

    name: str
    """Name of the metric, such as ``train/loss``."""
    step: int
    """Gradient steps spent so far, races and hints included."""
    value: float
    """The value."""
    time: datetime
    """When it was measured."""


class Tracker(Protocol):
    """One run in a tracker.

    Calls come from one thread: `begin`, then `points` and `text` in any order, `end` if the run
    ended, and `close`. What an earlier tracker wrote of the same run is replaced.
    """

    def begin(self, opening: Opening) -> None:
        """Starts the run."""
        ...

    def points(self, points: Sequence[Point]) -> None:
        """Adds values of metrics; readers of the tool see them soon."""
        ...

    def text(self, name: str, step: int, text: str, time: datetime) -> None:
        """Adds one line of text at a step."""
        ...

    def end(self, state: RunState, time: datetime) -> None:
        """Says in what state the run ended."""
        ...

    def close(self) -> None:
        """Releases all resources; idempotent, and allowed before `begin`."""
        ...


def open_tracker(kind: str, folder: Path | None = None) -> Tracker:
    """Opens a tracker by its name in `TRACKERS`.

    Args:
        kind: Name of the tracker.
        folder: Where it writes; None: its default, see its class.

    Raises:
        InvalidInput: There is no such tracker.
        Unsupported: Its package is not installed; names the extra.
    """
    if kind not in TRACKERS:
        raise InvalidInput(f"there is no tracker {kind!r}; known: {', '.join(TRACKERS)}")
    try:
        module = importlib.import_module(f"mentorgrad.integrations.{kind}")
    except ImportError as error:
        raise Unsupported(
            f"{error.name or error} is not installed; run: {pip_line(kind)}", reason="MISSING_EXTRA"
        ) from None
    tracker: Tracker = getattr(module, TRACKERS[kind])(folder)
    return tracker


class Mirror:
    """Feeds the events of a run to a tracker, from its first event on.

    Values that are not finite are left out. A resumed run overwrites what it repeats; in an export,
    read the effective events only.

    Args:
        tracker: The tracker; `close` closes it.
    """

    def __init__(self, tracker: Tracker) -> None:
        self._tracker = tracker
        self._run = Run()
        # Steps in races and for hints, which a snapshot's step does not count, since each event.
        self._spent = [(0, 0)]

    def add(self, event: RunEvent) -> None:
        """Adds the next event."""
        payload = event.payload
        self._run = fold_figures(self._run, event)
        if isinstance(payload, Created):
            self._begin(event, payload)
        elif isinstance(payload, Resumed):
            self._spent = [item for item in self._spent if item[0] <= payload.checkpoint_seq]
            self._spent = self._spent or [(0, 0)]
        elif isinstance(payload, Segment):
            self._tracker.points(_finite(self._snapshots(payload), event.time))
        elif isinstance(payload, RestartDecided):
            usage = payload.usage
            self._spent.append((event.seq, usage.probe_steps + usage.hint_steps))
            self._text("restart", _decision(payload), event)
            self._figures(event, [("restarts", self._run.restarts_applied)])
        elif isinstance(payload, (CandidatesScored, ProposalsReceived)):
            self._figures(event, [*_scored(payload, self._run), *_used(payload.usage)])
        elif isinstance(payload, (Finished, StateChanged)):
            self._state(payload, event)

    def close(self) -> None:
        """Closes the tracker; idempotent."""
        self._tracker.close()

    def _begin(self, event: RunEvent, payload: Created) -> None:
        spec = payload.spec
        parameters = {path: _plain(value) for path, value in leaves(spec)}
        name = one_line(spec.name) or event.run_id
        self._tracker.begin(Opening(event.run_id, name, parameters, spec.labels, event.time))

    def _state(self, payload: Finished | StateChanged, event: RunEvent) -> None:
        if isinstance(payload, Finished) and payload.result is not None:
            self._figures(event, [*_results(payload.result), *_used(payload.result.usage)])
            self._text("prompt", payload.result.returned.text, event)
        if payload.state.is_final:
            self._tracker.end(payload.state, event.time)

    def _snapshots(self, segment: Segment) -> Iterator[tuple[str, int, float | None]]:
        spent = self._spent[-1][1]
        for item in segment.snapshots:
            step = item.step + spent
            yield "train/loss", step, item.train_loss
            yield "train/learning_rate", step, item.learning_rate
            yield "train/gradient_norm", step, item.gradient_norm

    def _figures(self, event: RunEvent, found: Iterable[tuple[str, float | None]]) -> None:
        step = self._run.usage.gradient_steps
        self._tracker.points(_finite(((name, step, value) for name, value in found), event.time))

    def _text(self, name: str, text: str, event: RunEvent) -> None:
        if text := one_line(text):
            self._tracker.text(name, self._run.usage.gradient_steps, text, event.time)


def _finite(found: Iterable[tuple[str, int, float | None]], time: datetime) -> list[Point]:
    return [
        Point(name, step, float(value), time)
        for name, step, value in found
        if value is not None and math.isfinite(value)
    ]


def _scored(
    payload: CandidatesScored | ProposalsReceived, run: Run
) -> Iterator[tuple[str, float | None]]:
    if isinstance(payload, CandidatesScored) and payload.candidates:
        best = min((item.score for item in payload.candidates), key=lambda score: score.rank)
        yield from _score("selection", best)
        yield "selection/best_loss", run.best_selection_loss


def _score(place: str, score: Score | None) -> Iterator[tuple[str, float | None]]:
    if score is not None:
        yield from ((f"{place}/{name}", getattr(score, name)) for name in _SCORES)


def _used(usage: Usage) -> Iterator[tuple[str, float | None]]:
    yield from ((f"usage/{name}", getattr(usage, name)) for name in _USAGE)


def _results(result: RunResult) -> Iterator[tuple[str, float | None]]:
    yield from _score("test", result.test)
    yield from _score("returned", result.returned.score)
    for baseline in result.baselines:
        yield from _score(f"baselines/{baseline.name}", baseline.test)


def _decision(payload: RestartDecided) -> str:
    what = f"restart from {payload.chosen_id}" if payload.restarted else "no restart"
    why = f": {payload.reason}" if payload.reason else ""
    return f"stage {payload.stage + 1}: {what}{why}"


def _plain(value: Any) -> str | int | float | bool:
    """A value of the spec as every tracker takes it."""
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, (bool, int, float, str)):
        return value
    return json.dumps(value, default=str, ensure_ascii=False)
