"""The effective log of a run, made comparable: no times, no tokens that a tuned model was sent, and
no boundaries of segments."""

from __future__ import annotations

from typing import Any

from mentorgrad.domain.event import CheckpointSaved, Resumed, Segment, StateChanged
from mentorgrad.domain.query import EventQuery, View
from mentorgrad.serialization import to_dict
from run_store.protocols import RunReader

_TIMED = {"duration", "mentor_time", "train_time", "request_id", "tuned_model_tokens"}


def effective(store: RunReader, run_id: str) -> list[Any]:
    """Snapshot by snapshot, with its raw bytes, and event by event."""
    log: list[Any] = []
    for event in store.events(run_id, EventQuery(view=View.FULL, effective=True)):
        payload = event.payload
        if isinstance(payload, (StateChanged, CheckpointSaved, Resumed)):
            continue
        if isinstance(payload, Segment):
            assert payload.parameters is not None
            log += [
                ("snapshot", payload.stage, to_dict(snapshot), row.tobytes())
                for snapshot, row in zip(payload.snapshots, payload.parameters, strict=True)
            ]
            continue
        log.append((event.kind.value, _timeless(to_dict(payload))))
    return log


def run_files(store: RunReader, run_id: str) -> dict[str, bytes]:
    """The files of a run by name; the run's ID in them is blotted out."""
    names = [artifact.name for artifact in store.artifacts(run_id)]
    return {
        name: store.read_artifact(run_id, name).replace(run_id.encode(), b"RUN") for name in names
    }


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _timeless(item) for key, item in value.items() if key not in _TIMED}
    return [_timeless(item) for item in value] if isinstance(value, list) else value
