"""Builds the trajectory of a run from its effective segments, and a part of it from its blocks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np

from mentorgrad.domain.event import EventKind
from mentorgrad.domain.query import EventQuery, Thinning, TrajectoryQuery, View
from mentorgrad.domain.run import Snapshot, Trajectory
from mentorgrad.wire import codec
from run_store.paging import EVENTS_BYTES
from run_store.snapshot_blocks import BlockReader, SegmentPart, SnapshotBlock
from run_store.stored_events import StoredEventReader
from run_store.thinning import Selection

_SEGMENTS = EventQuery(kinds=(EventKind.SEGMENT,), effective=True)


class TrajectoryReader(StoredEventReader, BlockReader, Protocol):
    """What a trajectory is read from."""


@dataclass(frozen=True)
class Piece:
    """Consecutive selected snapshots of one stage."""

    stage: int
    """The stage."""
    snapshots: Sequence[Any]
    """The messages of the snapshots, in order of step."""
    parameters: np.ndarray | None
    """float32 [snapshots, *shape]; None if not captured or not requested."""


def pieces(reader: TrajectoryReader, run_id: str, query: TrajectoryQuery) -> Iterator[Piece]:
    """Yields the trajectory in pieces, so that not all of it is in memory at once.

    Raises:
        NotFound: No such run.
    """
    if query == TrajectoryQuery(view=query.view):
        return _all(reader, run_id, query.view)
    return _Chosen(reader, run_id, query).pieces()


def _all(reader: StoredEventReader, run_id: str, view: View) -> Iterator[Piece]:
    for event in reader.stored_events(run_id, replace(_SEGMENTS, view=view)):
        segment = event.message().segment
        if segment.snapshots:
            yield Piece(segment.stage, segment.snapshots, event.parameters)


@dataclass
class _Group:
    """Chosen snapshots of a piece to be."""

    stage: int
    seq: int
    rows: list[int] = field(default_factory=list)
    snapshots: list[Any] = field(default_factory=list)
    size: int = 0


class _Chosen:
    """A part of the trajectory."""

    def __init__(self, reader: TrajectoryReader, run_id: str, query: TrajectoryQuery) -> None:
        self._reader, self._run_id, self._query = reader, run_id, query
        self._index = reader.block_index(run_id)

    def pieces(self) -> Iterator[Piece]:
        """Yields the chosen snapshots. Parameters are read for the segments of these only."""
        query, is_full = self._query, self._query.view is View.FULL
        found = Selection(self._index, self._load, self._losses, query.first_step, query.last_step)
        choose = found.min_max if query.thinning is Thinning.MIN_MAX else found.even
        group = _Group(0, 0)
        for block, rows in found.blocks(choose(query.max_points)):
            for part, row, snapshot in _places(block, rows):
                is_other = part.stage != group.stage or (is_full and part.seq != group.seq)
                if is_other or group.size > EVENTS_BYTES:
                    yield from self._piece(group)
                    group = _Group(part.stage, part.seq)
                group.rows.append(row)
                group.snapshots.append(snapshot)
                group.size += len(block.data) // len(block)
        yield from self._piece(group)

    def _load(self, numbers: np.ndarray) -> Iterator[tuple[int, SnapshotBlock]]:
        """Yields blocks in order; at once, about `EVENTS_BYTES` are in memory."""
        sizes = self._index.summaries["size"][numbers].astype(np.int64)
        batches = (sizes.cumsum() - sizes) // EVENTS_BYTES
        cuts = np.flatnonzero(np.diff(batches)) + 1
        for batch in np.split(numbers, cuts) if len(numbers) else ():
            stored = [number for number in batch.tolist() if number < self._index.stored]
            found = self._reader.blocks(self._run_id, stored) if stored else {}
            for number in batch.tolist():
                if number >= self._index.stored:
                    yield number, self._index.recent[number - self._index.stored]
                elif number in found:
                    yield number, found[number]

    def _losses(self, numbers: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        """Yields the train losses of blocks, in order."""
        stored = numbers[numbers < self._index.stored].tolist()
        yield from sorted(self._reader.losses(self._run_id, stored).items())
        for number in numbers[numbers >= self._index.stored].tolist():
            yield number, self._index.recent[number - self._index.stored].losses

    def _piece(self, group: _Group) -> Iterator[Piece]:
        if not group.snapshots:
            return
        parameters = None
        if self._query.view is View.FULL:
            parameters = _parameters(self._reader, self._run_id, group.seq)
        yield Piece(
            group.stage, group.snapshots, None if parameters is None else parameters[group.rows]
        )


def _places(block: SnapshotBlock, rows: Iterable[int]) -> Iterator[tuple[SegmentPart, int, Any]]:
    """Segment, row in the segment, and message of each of a block's rows, which ascend."""
    parts = iter(block.parts)
    part, end = next(parts), block.parts[0].length
    for row in rows:
        while row >= end:
            part = next(parts)
            end += part.length
        yield part, part.first_row + row - (end - part.length), block.snapshot(row)


def _parameters(reader: StoredEventReader, run_id: str, seq: int) -> np.ndarray | None:
    query = replace(_SEGMENTS, after_seq=seq - 1, view=View.FULL)
    event = next(iter(reader.stored_events(run_id, query)), None)
    return event.parameters if event is not None and event.seq == seq else None


def collect(reader: TrajectoryReader, run_id: str, query: TrajectoryQuery) -> Trajectory:
    """The whole trajectory; with parameters only if every snapshot has them."""
    snapshots: list[Snapshot] = []
    stages: list[int] = []
    raw: list[np.ndarray | None] = []
    for piece in pieces(reader, run_id, query):
        snapshots += (codec.from_message(Snapshot, message) for message in piece.snapshots)
        stages += [piece.stage] * len(piece.snapshots)
        raw.append(piece.parameters)
    captured = [part for part in raw if part is not None]
    is_whole = len(captured) == len(raw) and len({part.shape[1:] for part in captured}) == 1
    parameters = np.concatenate(captured) if is_whole else None
    return Trajectory(run_id, tuple(snapshots), tuple(stages), parameters)
