"""Builds the trajectory of a run from its effective segments."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mentorgrad.domain.event import EventKind
from mentorgrad.domain.query import EventQuery, View
from mentorgrad.domain.run import Snapshot, Trajectory
from mentorgrad.errors import InvalidInput
from mentorgrad.wire import codec
from run_store.stored_events import StoredEventReader

_SEGMENTS = EventQuery(kinds=(EventKind.SEGMENT,), effective=True)


@dataclass(frozen=True)
class Piece:
    """Consecutive selected snapshots of one stage."""

    stage: int
    """The stage."""
    snapshots: Sequence[Any]
    """The messages of the snapshots, in order of step."""
    parameters: np.ndarray | None
    """float32 [snapshots, *shape]; None if not captured or not requested."""


def chosen(total: int, max_points: int) -> np.ndarray:
    """int64 indices of an evenly subsampled sequence, including the first and the last.

    A single point is the last one.
    """
    if max_points == 0 or max_points >= total:
        return np.arange(total)
    if max_points == 1:
        return np.array([total - 1])
    return np.linspace(0, total - 1, max_points).round().astype(np.int64)


def pieces(
    reader: StoredEventReader, run_id: str, max_points: int = 0, view: View = View.FULL
) -> Iterator[Piece]:
    """Yields the trajectory in pieces, so that not all raw parameters are in memory at once.

    Raises:
        InvalidInput: `max_points` is negative.
        NotFound: No such run.
    """
    if max_points < 0:
        raise InvalidInput.field("max_points", f"must be at least 0, not {max_points}")
    if max_points == 0:
        return _all(reader, run_id, view)
    return _thinned(reader, run_id, max_points, view)


def _all(reader: StoredEventReader, run_id: str, view: View) -> Iterator[Piece]:
    for event in reader.stored_events(run_id, replace(_SEGMENTS, view=view)):
        segment = event.message().segment
        if segment.snapshots:
            yield Piece(segment.stage, segment.snapshots, event.parameters)


def _thinned(
    reader: StoredEventReader, run_id: str, max_points: int, view: View
) -> Iterator[Piece]:
    """Counts the snapshots first, then reads again, with raw parameters of the selected segments
    only. Only the segments' lengths are kept in memory."""
    lengths = {
        event.seq: len(event.message().segment.snapshots)
        for event in reader.stored_events(run_id, _SEGMENTS)
    }
    points = chosen(sum(lengths.values()), max_points)
    ends = dict(zip(lengths, itertools.accumulate(lengths.values()), strict=True))
    for event in reader.stored_events(run_id, _SEGMENTS):
        if event.seq not in ends:
            continue
        start = ends[event.seq] - lengths[event.seq]
        rows = points[(points >= start) & (points < ends[event.seq])] - start
        if len(rows):
            segment = event.message().segment
            parameters = _parameters(reader, run_id, event.seq) if view is View.FULL else None
            yield Piece(
                segment.stage,
                [segment.snapshots[row] for row in rows],
                None if parameters is None else parameters[rows],
            )


def _parameters(reader: StoredEventReader, run_id: str, seq: int) -> np.ndarray | None:
    query = replace(_SEGMENTS, after_seq=seq - 1, view=View.FULL)
    event = next(iter(reader.stored_events(run_id, query)), None)
    return event.parameters if event is not None and event.seq == seq else None


def collect(
    reader: StoredEventReader, run_id: str, max_points: int = 0, view: View = View.FULL
) -> Trajectory:
    """The whole trajectory; with parameters only if every snapshot has them."""
    snapshots: list[Snapshot] = []
    stages: list[int] = []
    raw: list[np.ndarray | None] = []
    for piece in pieces(reader, run_id, max_points, view):
        snapshots += (codec.from_message(Snapshot, message) for message in piece.snapshots)
        stages += [piece.stage] * len(piece.snapshots)
        raw.append(piece.parameters)
    captured = [part for part in raw if part is not None]
    is_whole = len(captured) == len(raw) and len({part.shape[1:] for part in captured}) == 1
    parameters = np.concatenate(captured) if is_whole else None
    return Trajectory(run_id, tuple(snapshots), tuple(stages), parameters)
