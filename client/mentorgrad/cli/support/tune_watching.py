"""Watches the run of a tune: says what goes on while nothing is printed, and stops it in time."""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Self

from mentorgrad.cli.support.event_text import EventFormatter
from mentorgrad.cli.support.experiment_watching import duration
from mentorgrad.cli.support.output import Output
from mentorgrad.domain.event import Finished, RunEvent, StateChanged
from mentorgrad.domain.run import RunState
from mentorgrad.domain.spec import RunSpec
from mentorgrad.errors import PreconditionFailed
from mentorgrad.tune.stall import Stall

if TYPE_CHECKING:
    from mentorgrad.client import Client

SILENCE = 15.0
"""Seconds without a line after which one says what goes on."""


class Heartbeat:
    """Context manager that prints a line whenever nothing was printed for a while.

    Args:
        out: Output to use.
        text: What goes on; empty: nothing is printed.
        seconds: How long a silence may be.
    """

    def __init__(self, out: Output, text: Callable[[], str], seconds: float = SILENCE) -> None:
        self._out = out
        self._text = text
        self._seconds = seconds
        self._heard = threading.Event()
        self._ended = False
        self._thread = threading.Thread(target=self._beat, daemon=True)

    def heard(self) -> None:
        """Something was printed."""
        self._heard.set()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended = True
        self._heard.set()
        self._thread.join()

    def _beat(self) -> None:
        while not self._ended:
            if self._heard.wait(self._seconds):
                self._heard.clear()
            elif line := self._text():
                self._out.line(f"  ... {line}")


class TuneProgress:
    """What a run is doing, and how long it will take.

    Args:
        spec: The run.
        test: What its test will do.
        deadline: When the training is stopped, on `clock`.
        clock: Seconds.
    """

    def __init__(
        self,
        spec: RunSpec,
        test: str,
        deadline: float = math.inf,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._deadline = deadline
        self._test = test
        self._last = spec.stages.count - 1
        self._total = spec.stages.total_steps
        self._clock = clock
        self._begun = clock()
        self._steps_begun: tuple[float, int] | None = None
        self.narrator = EventFormatter(steps=False)
        """Folds the events."""
        self.finishing = False
        """Whether the run was asked to end early."""

    def text(self) -> str:
        """A line for people."""
        run, total = self.narrator.run, self._total
        taken = run.step
        spent = duration_of(self._clock() - self._begun)
        if run.state in (RunState.QUEUED, RunState.INTERRUPTED):
            return f"waiting for a worker, for {spent}"
        if run.best_selection_loss is None:
            return f"loading the model and encoding the texts, for {spent}"
        if self.finishing or (run.stage >= self._last and taken >= total):
            return f"testing: {self._test}; {spent} in all"
        if self._steps_begun is None or not total:
            return f"training, {spent} in all"
        since, before = self._steps_begun
        pace = (self._clock() - since) / max(1, taken - before)
        left = min(pace * (total - taken), max(0.0, self._deadline - self._clock()))
        return f"{taken} of {total} steps, about {duration_of(left)} of training left"

    def see(self, event: RunEvent) -> list[str]:
        """Folds an event; returns the lines for it."""
        lines = list(self.narrator.lines(event))
        if self._steps_begun is None and self.narrator.run.step:
            self._steps_begun = self._clock(), self.narrator.run.step
        return lines


def duration_of(seconds: float) -> str:
    """A readable duration."""
    return duration(timedelta(seconds=seconds))


def follow(
    client: Client,
    run_id: str,
    out: Output,
    progress: TuneProgress,
    stall: Stall,
    stopped: Callable[[str], None],
) -> RunState:
    """Watches a run until it ends, and has it finished early if it stalls.

    Args:
        client: Of the trainer.
        run_id: The run.
        out: Output to use; events of before this call are not shown.
        progress: What the run is doing.
        stall: Says when to stop it.
        stopped: Called with the reason when it is stopped.

    Returns:
        Its final state.
    """
    known = client.get_run(run_id).last_seq
    state = RunState.QUEUED
    with Heartbeat(out, progress.text) as heartbeat:
        for event in client.watch(run_id):
            is_new = event.seq > known
            for line in progress.see(event):
                if is_new:
                    out.line(line)
                    heartbeat.heard()
            if isinstance(event.payload, (Finished, StateChanged)):
                state = event.payload.state
                progress.finishing &= state is not RunState.INTERRUPTED  # it was forgotten then
            reason = stall.reason(event)
            if reason and is_new and not progress.finishing:
                with contextlib.suppress(PreconditionFailed):  # it has just ended
                    client.finish_run(run_id)
                    progress.finishing = True
                    out.line(f"  {reason}: the run ends now, with its best so far")
                    stopped(reason)
    return state
