"""Metrics and trace spans of a run.

Both are derived from the stored events and from the calls of the mentor
(`trainer_service.mentors.fallback`), so the rest of the run's code contains neither.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime

from mentorgrad.domain.event import (
    CandidatesScored,
    Finished,
    ProposalsReceived,
    RestartDecided,
    RunEvent,
    StageStarted,
    StateChanged,
)
from mentorgrad.domain.fold import fold_figures
from mentorgrad.domain.run import Run
from mentorgrad.wire import tracing
from mentorgrad.wire.tracing import Span
from trainer_service.worker_metrics import SECONDS, AnswerMetrics, WorkerMetrics

_COUNTED = (
    "probe_steps",
    "evaluations",
    "usable_answers",
    "fallbacks",
    "prompt_tokens",
    "reply_tokens",
)
"""Fields of `Usage` that are reported unchanged."""


class Telemetry:
    """Collects metrics and spans of one attempt at a run. Must be created in the run's thread.

    Args:
        clock: Monotonic time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._run_thread = threading.get_ident()
        self._lock = threading.Lock()
        self._totals = self._reported = Run()
        self._answers: list[AnswerMetrics] = []
        self._lags: list[float] = []
        self._since = clock()
        self._idle = 0.0
        self._idle_since: float | None = None
        self._stages = StageSpans()
        self.store_waiting: Callable[[], float] = lambda: 0.0
        """Seconds that the write in progress has taken so far."""

    def go_on(self, run: Run) -> None:
        """Starts counting from a checkpoint: an earlier attempt has reported everything before.

        Args:
            run: The usage, step and number of restarts at the checkpoint.
        """
        with self._lock:
            self._totals = self._reported = run

    def stored(self, events: Sequence[RunEvent]) -> None:
        """Counts events that the store has accepted."""
        lag = (datetime.now(UTC) - events[0].time).total_seconds()
        with self._lock:
            self._lags.append(max(lag, 0.0))
            for event in events:
                self._totals = fold_figures(self._totals, event)
        for event in events:
            self._stages.take(event)

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """Counts the time in this block as idle: waiting for something other than the device. Has
        an effect in the run's thread only."""
        if threading.get_ident() != self._run_thread:
            yield
            return
        with self._lock:
            self._idle_since = self._clock()
        try:
            yield
        finally:
            with self._lock:
                self._settle_idle(self._clock())
                self._idle_since = None

    def answered(self, figure: AnswerMetrics) -> None:
        """Counts an answer, or a failed request."""
        with self._lock:
            self._answers.append(figure)

    def report(self) -> WorkerMetrics:
        """The changes since the last report."""
        with self._lock:
            now = self._clock()
            self._settle_idle(now)
            new, old = self._totals, self._reported
            counts = {
                name: getattr(new.usage, name) - getattr(old.usage, name) for name in _COUNTED
            }
            made = WorkerMetrics(
                **counts,
                steps=_stage_steps(new) - _stage_steps(old),
                restarts=new.restarts_applied - old.restarts_applied,
                answers=tuple(self._answers),
                store_lags=tuple(self._lags),
                store_waiting=self.store_waiting(),
                seconds=now - self._since,
                idle=self._idle,
            )
            self._reported, self._since, self._idle = new, now, 0.0
            self._answers, self._lags = [], []
        return made

    def _settle_idle(self, now: float) -> None:
        if self._idle_since is not None:
            self._idle += now - self._idle_since
            self._idle_since = now


def _stage_steps(run: Run) -> int:
    """Gradient steps in stages; by its usage if the run captures no segments."""
    usage = run.usage
    return max(run.step, usage.gradient_steps - usage.probe_steps - usage.hint_steps)


class StageSpans:
    """Trace spans of a run's stages and decisions, created from its stored events."""

    def __init__(self) -> None:
        self._parent = tracing.current().parent
        self._open: Span | None = None
        self._is_deciding = False

    def take(self, event: RunEvent) -> None:
        """Begins and ends spans according to the event."""
        payload = event.payload
        if isinstance(payload, StageStarted):
            self._begin(event, "stage", payload.stage)
        elif isinstance(payload, ProposalsReceived):
            if not self._is_deciding:
                self._begin(event, "decide", payload.stage)
        elif isinstance(payload, CandidatesScored):
            if not self._is_deciding:  # scored proposals belong to the decision's span
                self._end(event)
        elif isinstance(payload, (RestartDecided, Finished, StateChanged)):
            self._end(event)

    def _begin(self, event: RunEvent, name: str, stage: int) -> None:
        self._end(event)
        if self._parent:
            self._is_deciding = name == "decide"
            self._open = tracing.begin(
                name, parent=self._parent, at=event.time, facts={"stage": stage}
            )

    def _end(self, event: RunEvent) -> None:
        span, self._open, self._is_deciding = self._open, None, False
        if span is not None:
            span.end(event.time)


class Reporter:
    """Writes one report per second to standard output, from a separate thread, and a last one when
    the block is left."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._write, name="reports", daemon=True)

    def __enter__(self) -> Reporter:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        self._thread.join(SECONDS)
        self._say()

    def _write(self) -> None:
        while not self._closed.wait(SECONDS):
            self._say()

    def _say(self) -> None:
        with contextlib.suppress(OSError, ValueError):  # the service no longer reads
            sys.stdout.write(self._telemetry.report().to_line())
            sys.stdout.flush()
