"""Records a run that is executed outside the trainer service, for a later `import_run`.

The log is written to a file event by event, in the format of ``mentorgrad runs export``. So memory
use does not grow with the run, and a program that crashes leaves the log up to the crash.
"""

from __future__ import annotations

import json
import os
import platform
import tempfile
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from mentorgrad.domain.event import Created, Finished, Payload, RunEvent, Segment, StateChanged
from mentorgrad.domain.run import RunState, Snapshot
from mentorgrad.domain.spec import RunSpec
from mentorgrad.errors import InvalidInput
from mentorgrad.ids import new_run_id
from mentorgrad.installed import installed_versions
from mentorgrad.serialization import from_dict, to_dict

_SEGMENT_SNAPSHOTS = 100
_SEGMENT_BYTES = 256 * 1024
"""Maximum snapshots, and bytes of parameters, buffered before they are written as a segment."""

MAX_ROW_BYTES = 4 * 1024 * 1024
"""Maximum bytes of the parameters of one snapshot; the limit of the run store."""

_LIBRARIES = ("mentorgrad", "numpy", "torch", "transformers", "peft", "lightning")


class RunRecorder:
    """Writes the log of one run to a file.

    Args:
        spec: Spec of the run.
        path: A new file; by default a temporary file.

    Raises:
        InvalidInput: The file exists or cannot be written.
    """

    def __init__(self, spec: RunSpec, path: str | os.PathLike[str] | None = None) -> None:
        self.run_id = new_run_id()
        self.path = _temporary(self.run_id) if path is None else Path(path)
        try:
            self._file = self.path.open("x", encoding="utf-8")
        except OSError as error:
            why = f"{self.path} cannot be created: {(error.strerror or 'I/O error').lower()}"
            raise InvalidInput.field("record_file", why) from None
        self._is_temporary = path is None
        self._seq = 0
        self._stage = 0
        self._snapshots: list[Snapshot] = []
        self._rows: list[np.ndarray] = []
        self._bytes = 0
        versions = {"python": platform.python_version(), **installed_versions(_LIBRARIES)}
        self.put(Created(spec=spec, request_id=f"own-{self.run_id}", versions=versions))
        self.put(StateChanged(RunState.RUNNING))

    def put(self, payload: Payload) -> None:
        """Writes one event, after the buffered snapshots."""
        self.flush()
        self._seq += 1
        # Attempt 0 creates a run; all other events belong to the only attempt.
        attempt = 0 if isinstance(payload, Created) else 1
        event = RunEvent(self.run_id, self._seq, attempt, datetime.now(UTC), payload)
        self._file.write(json.dumps(to_dict(event), ensure_ascii=False) + "\n")
        self._file.flush()

    def snapshot(self, stage: int, snapshot: Snapshot, parameters: np.ndarray | None) -> None:
        """Adds a snapshot to the current segment."""
        shape = self._rows[0].shape if self._rows else None
        other = (stage, parameters.shape if parameters is not None else None)
        if self._snapshots and other != (self._stage, shape):
            self.flush()
        self._stage = stage
        self._snapshots.append(snapshot)
        if parameters is not None:
            self._rows.append(parameters)
            self._bytes += parameters.nbytes
        if len(self._snapshots) >= _SEGMENT_SNAPSHOTS or self._bytes >= _SEGMENT_BYTES:
            self.flush()

    def flush(self) -> None:
        """Writes the buffered snapshots as a segment."""
        if not self._snapshots:
            return
        segment = Segment(
            self._stage,
            self._snapshots[0].step,
            self._snapshots[-1].step,
            tuple(self._snapshots),
            np.stack(self._rows) if self._rows else None,
        )
        self._snapshots, self._rows, self._bytes = [], [], 0
        self.put(segment)

    def finish(self, payload: Finished) -> None:
        """Writes the last event and closes the file."""
        self.put(payload)
        self._file.close()

    def events(self) -> Iterator[RunEvent]:
        """Reads the recorded events from the file, lazily."""
        with self.path.open(encoding="utf-8") as lines:
            for line in lines:
                yield from_dict(RunEvent, json.loads(line))

    def imported(self) -> None:
        """Deletes a temporary file after the run was imported."""
        if self._is_temporary:
            self.path.unlink()
            self.path.parent.rmdir()


def broken_off(events: Iterable[RunEvent]) -> Iterator[RunEvent]:
    """Completes a truncated log with a failed state; yields a complete log unchanged."""
    last: RunEvent | None = None
    for last in events:
        yield last
    payload = last.payload if last is not None else None
    if last is None or (isinstance(payload, (Finished, StateChanged)) and payload.state.is_final):
        return
    error = f"the recording ends after event {last.seq} without a final state"
    failed = Finished(RunState.FAILED, error=error)
    yield RunEvent(last.run_id, last.seq + 1, last.attempt, last.time, failed)


def _temporary(run_id: str) -> Path:
    return Path(tempfile.mkdtemp(prefix="mentorgrad-"), f"{run_id}.jsonl")
