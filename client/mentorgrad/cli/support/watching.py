"""Watches a run: a progress bar on a terminal, plain lines in a pipe, JSON lines with --json."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing
from typing import TYPE_CHECKING

import typer
from rich.progress import TaskID

from mentorgrad.cli.support.event_text import EventFormatter
from mentorgrad.cli.support.flag_text import suffix
from mentorgrad.cli.support.mirroring import Mirrored
from mentorgrad.cli.support.output import Output, note, number
from mentorgrad.cli.support.progress_bars import Live
from mentorgrad.cli.support.watch_positions import WatchPosition
from mentorgrad.domain.event import Finished, RunEvent, StateChanged
from mentorgrad.domain.run import Run, RunState
from mentorgrad.errors import MentorgradError
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


def start_of(
    client: Client, run: Run, out: Output, after_seq: int | None = None
) -> tuple[int, WatchPosition | None]:
    """Where watching a run starts, and where its position is kept.

    Args:
        client: Client of the trainer.
        run: The run.
        out: Output to use; programs, which read JSON, keep positions of their own.
        after_seq: Start that the user chose; None: where the last command stopped.
    """
    if out.as_json:
        return after_seq or 0, None
    position = WatchPosition(client.target, run.run_id)
    if after_seq is not None:
        return after_seq, position
    seen = position.read()
    # More than there is: a run of this id was imported anew. All of an ended run is shown again.
    if seen > run.last_seq or (seen == run.last_seq and run.state.is_final):
        seen = 0
    if seen:
        again = f"mentorgrad runs watch {run.run_id} --from-start{suffix(client.target)}"
        note(f"going on after event {seen}. To see all: {again}")
    return seen, position


def watch_run(
    client: Client,
    run: Run,
    out: Output,
    after_seq: int = 0,
    position: WatchPosition | None = None,
    mirror: Mirrored | None = None,
) -> RunState | None:
    """Watches a run until it ends; an interrupt stops watching, never the run.

    Args:
        client: Client of the trainer.
        run: The run, as it is when watching starts.
        out: Output to use.
        after_seq: Only events with a greater seq.
        position: Where to keep how far the run was watched, for the next command; None: nowhere.
        mirror: Where to write all events of the run, also those that are not shown.

    Returns:
        The final state; None if the run had ended before `after_seq`.

    Raises:
        typer.Exit: Interrupted (130), after printing how to watch again.
    """
    seen, state = after_seq, None
    events = _events(client, run.run_id, after_seq, mirror)
    try:
        with Display(out) as display, closing(events):
            narrator = display.narrator(run.spec.name or run.run_id)
            if after_seq:  # its creation will not be among the events
                narrator.run = Run(run.run_id, spec=run.spec, created_at=run.created_at)
            for event in events:
                seen = event.seq
                if out.as_json:
                    out.json(to_dict(event, arrays="omit"))
                else:
                    display.show(narrator, event)
                if isinstance(event.payload, (Finished, StateChanged)):
                    state = event.payload.state
                if position is not None:
                    position.moved(seen)
    except KeyboardInterrupt:
        kept = position is not None and position.write(seen)
        how = "" if kept else f" --after-seq {seen}"
        again = f"mentorgrad runs watch {run.run_id}{how}{suffix(client.target)}"
        note(f"stopped watching; the run continues. To watch again: {again}")
        raise typer.Exit(130) from None
    except MentorgradError:
        if position is not None:
            position.write(seen)
        raise
    if position is not None:
        position.delete()
    return state


def _events(
    client: Client, run_id: str, after_seq: int, mirror: Mirrored | None
) -> Generator[RunEvent, None, None]:
    """The events after `after_seq`; the mirror gets all."""
    if mirror is None:
        yield from client.watch(run_id, after_seq)
        return
    for event in client.watch(run_id):
        mirror.add(event)
        if event.seq > after_seq:
            yield event
