"""Runs as event files of TensorBoard. Requires the extra ``tensorboard``; no TensorFlow."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.plugins.hparams.summary_v2 import hparams_pb
from tensorboard.plugins.scalar.summary_v2 import scalar_pb
from tensorboard.plugins.text.summary_v2 import text_pb
from tensorboard.summary.writer.event_file_writer import EventFileWriter

from mentorgrad.domain.run import RunState
from mentorgrad.integrations.tracking import Opening, Point

__all__ = ["TensorBoard"]

_SUFFIX = ".mentorgrad"
"""End of the names of our event files."""


class TensorBoard:
    """A run as an event file in a folder of its own, named by the run's id.

    Scalars are the metrics, texts the restarts, the spec and the prompt; the parameters are those
    of TensorBoard's page HParams.

    Args:
        folder: Folder of all runs, which TensorBoard is given as ``--logdir``; None:
            ``tensorboard`` in the working folder.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder or Path("tensorboard")
        self._writer: Any = None

    def begin(self, opening: Opening) -> None:
        """Starts the run's event file, and deletes an earlier one."""
        folder = self._folder / re.sub(r"[^\w.-]", "_", opening.run_id)
        for file in folder.glob(f"events.out.tfevents.*{_SUFFIX}"):
            file.unlink()
        self._writer = EventFileWriter(str(folder), filename_suffix=_SUFFIX)
        started = opening.time.timestamp()
        hparams = dict(opening.parameters)
        self._write(0, hparams_pb(hparams, opening.run_id, started), started)
        spec = json.dumps(hparams, indent=1, ensure_ascii=False)
        self.text("spec", 0, f"```json\n{spec}\n```", opening.time)

    def points(self, points: Sequence[Point]) -> None:
        """Adds scalars and flushes the file."""
        for point in points:
            self._write(point.step, scalar_pb(point.name, point.value), point.time.timestamp())
        self._writer.flush()

    def text(self, name: str, step: int, text: str, time: datetime) -> None:
        """Adds a text and flushes the file."""
        self._write(step, text_pb(name, text), time.timestamp())
        self._writer.flush()

    def end(self, state: RunState, time: datetime) -> None:
        """Adds the final state as a text."""
        self.text("state", 0, state.value, time)

    def close(self) -> None:
        """Closes the file."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _write(self, step: int, summary: Any, time: float) -> None:
        self._writer.add_event(Event(wall_time=time, step=step, summary=summary))
