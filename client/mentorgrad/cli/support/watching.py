"""Watches a run: a progress bar on a terminal, plain lines in a pipe, JSON lines with --json."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer
from rich.progress import TaskID

from mentorgrad.cli.support.event_text import EventFormatter
from mentorgrad.cli.support.flag_text import suffix
from mentorgrad.cli.support.output import Output, note, number
from mentorgrad.cli.support.progress_bars import Live
from mentorgrad.domain.event import Finished, RunEvent, StateChanged
from mentorgrad.domain.run import RunState
from mentorgrad.outside_text import one_line
from mentorgrad.serialization import to_dict

if TYPE_CHECKING:
    from mentorgrad.client import Client


class Display(Live):
    """Shows events as they arrive; on a terminal with one progress bar per run.

    Args:
        out: Output to use.
    """

    def __init__(self, out: Output) -> None:
        super().__init__(out, width=20)
        self._tasks: dict[EventFormatter, TaskID] = {}

    def narrator(self, name: str) -> EventFormatter:
        """Creates the formatter for one run, with its progress bar."""
        narrator = EventFormatter(steps=self._bars is None)
        if self._bars is not None:
            self._tasks[narrator] = self._bars.add_task(one_line(name), total=None, status="")
        return narrator

    def show(self, narrator: EventFormatter, event: RunEvent) -> None:
        """Shows one event."""
        for line in narrator.lines(event):
            self._out.line(line)
        if self._bars is not None:
            total, taken = narrator.total_steps, narrator.steps_taken
            self._bars.update(
                self._tasks[narrator],
                total=total,
                completed=min(taken, total or taken),
                status=_status(narrator),
            )


def _status(narrator: EventFormatter) -> str:
    run = narrator.run
    parts = [f"stage {run.stage + 1}/{narrator.stages}"]
    if run.train_loss is not None:
        parts.append(f"loss {number(run.train_loss)}")
    if run.best_selection_loss is not None:
        parts.append(f"best {number(run.best_selection_loss)}")
    return " ".join(parts)


def watch_run(
    client: Client, run_id: str, out: Output, after_seq: int = 0, name: str = ""
) -> RunState | None:
    """Watches a run until it ends; an interrupt stops watching, never the run.

    Returns:
        The final state; None if the run had ended before `after_seq`.

    Raises:
        typer.Exit: Interrupted (130), after printing how to watch again.
    """
    seen, state = after_seq, None
    try:
        with Display(out) as display:
            narrator = display.narrator(name or run_id)
            for event in client.watch(run_id, after_seq):
                seen = event.seq
                if out.as_json:
                    out.json(to_dict(event, arrays="omit"))
                else:
                    display.show(narrator, event)
                if isinstance(event.payload, (Finished, StateChanged)):
                    state = event.payload.state
    except KeyboardInterrupt:
        again = f"mentorgrad runs watch {run_id} --after-seq {seen}{suffix(client.target)}"
        note(f"stopped watching; the run continues. To watch again: {again}")
        raise typer.Exit(130) from None
    return state
