"""Converts events and runs to database rows, and rows to events."""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Iterable
from typing import Any, cast

import numpy as np
import sqlalchemy as sa

from mentorgrad.domain.event import CandidatesScored, EventKind, RunEvent, Segment
from mentorgrad.domain.run import Run
from mentorgrad.errors import DataLoss
from mentorgrad.wire import codec
from run_store import invariants
from run_store.paging import micros, rankable
from run_store.stored_events import StoredEvent
from run_store.tables import candidates, events, trajectory_segments

Rows = dict[sa.Table, list[dict[str, Any]]]

RAW = "raw-le"
"""Codec of stored tensors: row-major, little-endian, not compressed."""


RUN_COLUMNS = ("state", "last_seq", "attempt", "best_selection_loss", "projection")
"""Columns of a run that are computed from its events."""


def run_columns(run: Run, data: bytes) -> dict[str, Any]:
    """The values of `RUN_COLUMNS`."""
    return {
        "state": run.state.value,
        "last_seq": run.last_seq,
        "attempt": run.attempt,
        "best_selection_loss": run.best_selection_loss,
        "projection": data,
    }


def fixed_columns(run: Run) -> dict[str, Any]:
    """Columns of a run that its first event sets and that never change."""
    assert run.created_at is not None  # noqa: S101 - a run that was created
    return {
        "run_id": run.run_id,
        "request_id": run.request_id or None,
        "owner": run.owner,
        "project": run.project,
        "name": run.spec.name.casefold(),
        "objective": invariants.objective_of(run.spec),
        "task": invariants.task_of(run.spec),
        "mentor": run.spec.mentor.name,
        "created_at": micros(run.created_at),
    }


def rows_of(new: Iterable[RunEvent]) -> Rows:
    """The rows of new events, by table, in the order of insertion."""
    rows: Rows = defaultdict(list)
    for event in new:
        rows[events].append(event_row(event))
        payload = event.payload
        if isinstance(payload, Segment) and payload.parameters is not None:
            rows[trajectory_segments].append(_segment_row(event, payload, payload.parameters))
        elif isinstance(payload, CandidatesScored):
            rows[candidates].extend(_candidate_rows(event, payload))
    return rows


def event_row(event: RunEvent) -> dict[str, Any]:
    """The row of an event, without raw tensors."""
    return {
        "run_id": event.run_id,
        "seq": event.seq,
        "attempt": event.attempt,
        "kind": event.kind.value,
        "time": micros(event.time),
        "superseded": False,
        "data": codec.encode_event(event.summary()),
    }


def _segment_row(event: RunEvent, segment: Segment, parameters: np.ndarray) -> dict[str, Any]:
    dtype = parameters.dtype.newbyteorder("<")
    flat = np.ascontiguousarray(parameters, dtype=dtype).reshape(-1)
    data = flat.view(np.uint8).data  # no copy: drivers and hashlib accept buffers
    return {
        "run_id": event.run_id,
        "seq": event.seq,
        "stage": segment.stage,
        "step_start": segment.step_start,
        "step_end": segment.step_end,
        "codec": RAW,
        "dtype": _name(dtype),
        "shape": ",".join(map(str, parameters.shape)),
        "sha256": invariants.sha256(data),
        "superseded": False,
        "data": data,
    }


@functools.cache
def _name(dtype: np.dtype) -> str:
    return dtype.name


def _candidate_rows(event: RunEvent, payload: CandidatesScored) -> list[dict[str, Any]]:
    return [
        {
            "run_id": event.run_id,
            "seq": event.seq,
            "position": position,
            "candidate_id": candidate.candidate_id,
            "stage": candidate.stage,
            "source": candidate.source.value,
            "selection_loss": rankable(candidate.score.loss),
            "superseded": False,
            "data": codec.encode(candidate),
        }
        for position, candidate in enumerate(payload.candidates)
    ]


def stored_event(run_id: str, row: Any, annotation: bytes | None = None) -> StoredEvent:
    """Makes an event of its row, which has the tensor's columns in the FULL view.

    Args:
        run_id: The run.
        row: The row.
        annotation: Encoded annotation of the run, which its first event carries when it is read.

    Raises:
        DataLoss: The tensor's bytes do not match their digest or shape.
    """
    has_tensor = getattr(row, "sha256", None) is not None
    parameters = _tensor(row, f"event {row.seq} of run {run_id}") if has_tensor else None
    data = row.event
    if annotation is not None and row.kind == EventKind.CREATED.value:
        data += _annotated(annotation)
    return StoredEvent(row.seq, EventKind(row.kind), data, parameters)


def _annotated(annotation: bytes) -> bytes:
    """What makes an encoded event carry an annotation, if it is appended: messages are merged."""
    event: Any = codec.message_class(RunEvent)()
    event.created.annotation.ParseFromString(annotation)
    return cast(bytes, event.SerializeToString(deterministic=True))


def _tensor(row: Any, what: str) -> np.ndarray:
    invariants.check_digest(row.data, row.sha256, what)
    try:
        if row.codec != RAW:
            raise ValueError(row.codec)
        shape = [int(length) for length in row.shape.split(",")]
        return np.frombuffer(row.data, np.dtype(row.dtype).newbyteorder("<")).reshape(shape)
    except (TypeError, ValueError):
        raise DataLoss(f"the stored tensor of {what} cannot be read") from None
