"""Blocks of snapshots: the effective snapshots of a run once more, a few to a row, and a summary of
each block. A few snapshots of a long run are found by the summaries, without reading its log.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np

from mentorgrad.domain.event import RunEvent
from mentorgrad.domain.run import Snapshot
from mentorgrad.wire import codec

BLOCK_SNAPSHOTS = 64
"""Snapshots with which a block is complete."""

BLOCK_BYTES = 4096
"""Bytes with which a block is complete, whatever its snapshots: so that its row stays in one page
of Postgres, which is 8 KiB."""

LARGE_SEGMENT = 4 * BLOCK_BYTES
"""Bytes of a segment whose last snapshots are a block at once, however few: so that the newest
snapshots, in no block yet, are read from small events."""

PER_SUMMARY = 64
"""Blocks whose summaries are joined in one row."""

SUMMARY = np.dtype(
    [
        ("count", "<u2"),
        ("lowest_at", "<u2"),
        ("highest_at", "<u2"),
        ("size", "<u4"),
        ("first_step", "<i8"),
        ("last_step", "<i8"),
        ("lowest", "<f8"),
        ("highest", "<f8"),
    ]
)
"""Summary of a block: its number of snapshots, the rows of the lowest and highest train loss, its
approximate bytes, the lowest and highest step, and the two losses. NaN is neither lowest nor
highest, but of nothing else the first row is both."""

_PART = struct.Struct("<4q")
"""An encoded `SegmentPart`."""


EncodedSegment = tuple[int, bytes, int]
"""Seq and encoded event of a segment, and its first snapshot that is in no block yet."""


class SegmentPart(NamedTuple):
    """Consecutive snapshots of one segment."""

    seq: int
    """The segment's event."""
    stage: int
    """The segment's stage."""
    first_row: int
    """Row within the segment of the first of them."""
    length: int
    """Their number."""


@dataclass(frozen=True)
class SnapshotBlock:
    """Consecutive effective snapshots of a run, at least one."""

    parts: Sequence[SegmentPart]
    """Where they are from, in order."""
    losses: np.ndarray
    """float64 [snapshots]: their train losses."""
    ends: np.ndarray
    """uint32 [snapshots]: where each ends in `data`."""
    data: bytes
    """Their encoded messages, joined."""
    summary: np.ndarray | None = None
    """`SUMMARY` [1]; known when it is made."""
    end_row: int = 0
    """How many snapshots of the last event are in blocks so far; 0: all. Known when it is made."""

    def __len__(self) -> int:
        return len(self.ends)

    def snapshot(self, row: int) -> Any:
        """The message of a snapshot.

        Raises:
            DataLoss: The bytes are not a valid message.
        """
        start = self.ends[row - 1] if row else 0
        return codec.parse(codec.message_class(Snapshot)(), self.data[start : self.ends[row]])

    def steps(self) -> np.ndarray:
        """int64 [snapshots]: the steps."""
        return np.array([self.snapshot(row).step for row in range(len(self))])

    def encode(self) -> dict[str, Any]:
        """The columns of the row of a block that was made."""
        assert self.summary is not None  # noqa: S101 - it was made
        return {
            "end_seq": self.parts[-1].seq,
            "end_row": self.end_row,
            "summary": self.summary.tobytes(),
            "parts": b"".join(_PART.pack(*part) for part in self.parts),
            "losses": self.losses.tobytes(),
            "ends": self.ends.tobytes(),
            "snapshots": self.data,
        }

    @classmethod
    def decode(cls, parts: bytes, losses: bytes, ends: bytes, data: bytes) -> SnapshotBlock:
        """The inverse of `encode`."""
        made = [SegmentPart(*part) for part in _PART.iter_unpack(parts)]
        return cls(made, cls.losses_of(losses), np.frombuffer(ends, "<u4"), data)

    @staticmethod
    def losses_of(column: bytes) -> np.ndarray:
        """`losses`, of their column."""
        return np.frombuffer(column, "<f8")


def summary_of(steps: Sequence[int], losses: np.ndarray, size: int) -> np.ndarray:
    """`SUMMARY` [1] of snapshots, of which the messages have `size` bytes together."""
    lowest, highest = _extremes(losses)
    record = (
        *(len(steps), lowest, highest, size),
        *(min(steps), max(steps), losses[lowest], losses[highest]),
    )
    return np.array([record], SUMMARY)


def _extremes(losses: np.ndarray) -> tuple[int, int]:
    """Indices of the lowest and the highest loss, the first of equal ones. NaN is neither; of
    nothing else, both are the first."""
    numbers = np.flatnonzero(~np.isnan(losses))
    if not len(numbers):
        return 0, 0
    found = losses[numbers]
    return int(numbers[found.argmin()]), int(numbers[found.argmax()])


class BlockMaker:
    """Makes blocks of the snapshots of segments, as these come.

    Args:
        number: Number of the next block to be written, from 0.

    Attributes:
        complete: Blocks that are to be written.
    """

    def __init__(self, number: int = 0) -> None:
        self.number = number
        self.complete: list[SnapshotBlock] = []
        self._parts: list[SegmentPart] = []
        self._snapshots: list[Any] = []
        self._bytes = 0.0

    def add_all(self, segments: Iterable[EncodedSegment]) -> Iterator[SnapshotBlock]:
        """Takes the snapshots of segments; yields the blocks that are complete with them.

        Raises:
            DataLoss: The bytes are not a valid event.
        """
        for seq, data, first_row in segments:
            event: Any = codec.parse(codec.message_class(RunEvent)(), data)
            yield from self._add(seq, event.segment, len(data), first_row)

    def rest(self) -> Iterator[SnapshotBlock]:
        """The last block, of the snapshots that are in none yet, if there are any."""
        if self._snapshots:
            yield self._take()

    def _add(self, seq: int, segment: Any, size: int, row: int) -> Iterator[SnapshotBlock]:
        count = len(segment.snapshots)
        each = size / max(count, 1)
        while row < count:
            room = math.ceil((BLOCK_BYTES - self._bytes) / each)
            taken = max(min(room, BLOCK_SNAPSHOTS - len(self._snapshots), count - row), 1)
            self._parts.append(SegmentPart(seq, segment.stage, row, taken))
            self._snapshots += segment.snapshots[row : row + taken]
            self._bytes += taken * each
            row += taken
            if len(self._snapshots) == BLOCK_SNAPSHOTS or self._bytes >= BLOCK_BYTES:
                yield self._take(row if row < count else 0)
        if size >= LARGE_SEGMENT:
            yield from self.rest()

    def _take(self, end_row: int = 0) -> SnapshotBlock:
        found = [snapshot.SerializeToString() for snapshot in self._snapshots]
        losses = np.array([snapshot.train_loss for snapshot in self._snapshots], "<f8")
        ends = np.cumsum([len(data) for data in found], dtype="<u4")
        steps = [snapshot.step for snapshot in self._snapshots]
        summary = summary_of(steps, losses, int(ends[-1]))
        block = SnapshotBlock(self._parts, losses, ends, b"".join(found), summary, end_row)
        self._parts, self._snapshots, self._bytes = [], [], 0.0
        return block


@dataclass(frozen=True)
class BlockIndex:
    """What all effective snapshots of a run are, by block."""

    summaries: np.ndarray
    """`SUMMARY` [blocks]: the summaries of all blocks, in order."""
    stored: int
    """How many of the blocks are stored."""
    recent: tuple[SnapshotBlock, ...]
    """The others, of the newest snapshots; usually at most one."""


class BlockReader(Protocol):
    """Reads the blocks of snapshots."""

    def block_index(self, run_id: str) -> BlockIndex:
        """The run's blocks, without the snapshots of those that are stored.

        Raises:
            NotFound: No such run.
        """
        ...

    def blocks(self, run_id: str, numbers: Sequence[int]) -> Mapping[int, SnapshotBlock]:
        """Stored blocks by their numbers, all at once. A block that a resume has superseded since
        is left out, or is another that has taken its number."""
        ...

    def losses(self, run_id: str, numbers: Sequence[int]) -> Mapping[int, np.ndarray]:
        """`SnapshotBlock.losses` of those that `blocks` would return, an eighth of their bytes."""
        ...
