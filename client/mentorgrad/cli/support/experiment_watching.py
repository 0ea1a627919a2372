"""Watches an experiment: a progress bar on a terminal, plain lines in a pipe."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING

from rich.progress import TaskID

from mentorgrad.cli.support.output import Output
from mentorgrad.cli.support.progress_bars import Live
from mentorgrad.errors import Unavailable

if TYPE_CHECKING:
    from mentorgrad.client import Client
    from mentorgrad.domain.experiment import Experiment, ExperimentProgress

POLL_SECONDS = 1.0
"""Polling interval, seconds."""

LINE_SECONDS = 10.0
"""Minimum time between two plain lines, seconds."""

AWAY_SECONDS = 60.0
"""Seconds that a service may be unreachable before watching stops."""


def watch_experiment(client: Client, experiment_id: str, out: Output) -> Experiment:
    """Watches an experiment until it ends.

    Raises:
        Unavailable: The service was unreachable for longer than `AWAY_SECONDS`.
    """
    with _Display(out) as display:
        heard = time.monotonic()
        while True:
            try:
                found = client.get_experiment(experiment_id)
            except Unavailable:
                if time.monotonic() - heard > AWAY_SECONDS:
                    raise
                time.sleep(POLL_SECONDS)
                continue
            heard = time.monotonic()
            display.show(found)
            if found.state.is_final:
                return found
            time.sleep(POLL_SECONDS)


class _Display(Live):
    """Shows the progress of an experiment."""

    def __init__(self, out: Output) -> None:
        super().__init__(out, width=30)
        self._told = ("", 0.0)
        self._bar: TaskID | None = None

    def show(self, found: Experiment) -> None:
        """Shows the progress; plain lines are rate-limited."""
        progress = found.progress
        done = progress.succeeded + progress.failed
        if self._bars is None:
            self._line(f"{done}/{progress.total} runs, {status(progress)}", found.state.is_final)
            return
        if self._bar is None:
            self._bar = self._bars.add_task("runs", total=progress.total, status="")
        self._bars.update(self._bar, total=progress.total, completed=done, status=status(progress))

    def _line(self, text: str, is_last: bool) -> None:
        before, when = self._told
        now = time.monotonic()
        if text != before and (is_last or not before or now - when >= LINE_SECONDS):
            self._out.line(text)
            self._told = (text, now)


def status(progress: ExperimentProgress) -> str:
    """The state of an experiment, apart from the number of ended runs."""
    parts = ["choosing learning rates"] if progress.tuning else []
    if progress.running:
        parts.append(f"{progress.running} running")
    if progress.failed:
        parts.append(f"{progress.failed} failed")
    if progress.time_left is not None and progress.waiting + progress.running:
        parts.append(f"about {duration(progress.time_left)} left")
    return ", ".join(parts) or ("waiting for workers" if progress.waiting else "all ended")


def duration(value: timedelta) -> str:
    """A readable duration: ``40 s``, ``12 min``, ``3 h 20 min``."""
    seconds = round(value.total_seconds())
    if seconds < 90:
        return f"{seconds} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min"
