"""Chooses the snapshots of a thinned trajectory by the summaries of its blocks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np

from run_store.snapshot_blocks import BlockIndex, SnapshotBlock

Load = Callable[[np.ndarray], Iterable[tuple[int, SnapshotBlock]]]
"""Yields blocks by their numbers, in order; leaves out those that are gone."""
LoadLosses = Callable[[np.ndarray], Iterable[tuple[int, np.ndarray]]]
"""The same, of the blocks' train losses only."""


class Selection:
    """The snapshots of a range of steps, by their positions from 0.

    Args:
        index: All blocks of the run.
        load: Reads blocks; at first those that the range cuts.
        load_losses: Reads losses, for `min_max`.
        first_step: Lowest step; 0: no limit.
        last_step: Highest step, inclusive; 0: no limit.
    """

    def __init__(
        self,
        index: BlockIndex,
        load: Load,
        load_losses: LoadLosses,
        first_step: int,
        last_step: int,
    ) -> None:
        summaries = index.summaries
        last = last_step or np.iinfo(np.int64).max
        first = first_step or np.iinfo(np.int64).min
        steps = summaries["first_step"], summaries["last_step"]
        is_out = (steps[1] < first) | (steps[0] > last)
        is_cut = ~is_out & ((steps[0] < first) | (steps[1] > last))
        counts = np.where(is_out | is_cut, 0, summaries["count"].astype(np.int64))
        self._rows: dict[int, np.ndarray] = {}
        for number, block in load(np.flatnonzero(is_cut)):
            found = block.steps()
            rows = np.flatnonzero((found >= first) & (found <= last))
            self._rows[number], counts[number] = rows, len(rows)
        self._summaries, self._load, self._load_losses = summaries, load, load_losses
        self._ends = counts.cumsum()
        self._starts = self._ends - counts

    @property
    def total(self) -> int:
        """Number of snapshots."""
        return int(self._ends[-1]) if len(self._ends) else 0

    def blocks(self, positions: np.ndarray) -> Iterator[tuple[SnapshotBlock, list[int]]]:
        """Yields the blocks of positions, which ascend, and the rows of each that are wanted."""
        numbers = np.searchsorted(self._ends, positions, side="right")
        places = (positions - self._starts[numbers]).tolist()
        named, firsts, counts = np.unique(numbers, return_index=True, return_counts=True)
        spans = dict(zip(named.tolist(), zip(firsts, firsts + counts, strict=True), strict=True))
        for number, block in self._load(named):
            rows = places[slice(*spans[number])]
            if number in self._rows:
                rows = self._rows[number][rows].tolist()
            yield block, [row for row in rows if row < len(block)]

    def even(self, count: int) -> np.ndarray:
        """At most `count` positions, evenly spaced, including the first and the last; of a single
        one, the last. 0: all."""
        total = self.total
        if count == 0 or count >= total:
            return np.arange(total)
        if count == 1:
            return np.array([total - 1])
        return np.linspace(0, total - 1, count).round().astype(np.int64)

    def min_max(self, count: int) -> np.ndarray:
        """At most `count` positions: the first, the last, and those of the lowest and the highest
        train loss in each of equally long spans. Fewer than 4 leave no room for a span."""
        spans = (count - 2) // 2
        if spans < 1 or count >= self.total:
            return self.even(count)
        edges = np.arange(spans + 1) * self.total // spans
        cells = self._cells(edges)
        if not len(cells):  # a resume has superseded all of them since
            return self.even(count)
        spans_of = np.searchsorted(edges, cells["start"], side="right") - 1
        _, begins, span = np.unique(spans_of, return_index=True, return_inverse=True)
        found = [[0, self.total - 1]]
        for reduce, loss, at in (
            (np.fmin, "lowest", "lowest_at"),
            (np.fmax, "highest", "highest_at"),
        ):
            best = reduce.reduceat(cells[loss], begins)[span]
            is_best = (cells[loss] == best) | np.isnan(best)
            _, first = np.unique(span[is_best], return_index=True)
            found.append(cells[at][is_best][first].tolist())
        return np.unique(np.concatenate(found))

    def _cells(self, edges: np.ndarray) -> np.ndarray:
        """`_CELL` [cells], in order: the extremes of whole blocks, and the single snapshots of
        blocks that the edges of the spans or the range cut."""
        numbers = np.flatnonzero(self._ends > self._starts)
        starts, ends = self._starts[numbers], self._ends[numbers]
        is_cut = np.searchsorted(edges, starts, side="right") < np.searchsorted(edges, ends)
        is_cut |= np.isin(numbers, list(self._rows))
        whole, begins = self._summaries[numbers[~is_cut]], starts[~is_cut]
        at = (begins, begins + whole["lowest_at"], begins + whole["highest_at"])
        parts = [(*at, whole["lowest"], whole["highest"])]
        for number, losses in self._load_losses(numbers[is_cut]):
            rows = self._rows.get(number)
            shown = losses if rows is None else losses[rows]
            places = self._starts[number] + np.arange(len(shown))
            parts.append((places, places, places, shown, shown))
        found = [np.concatenate(column) for column in zip(*parts, strict=True)]
        cells = np.empty(len(found[0]), _CELL)
        for name, column in zip(_CELL.names or (), found, strict=True):
            cells[name] = column
        cells = cells[cells["start"] < self.total]
        return cells[np.argsort(cells["start"], kind="stable")]


_CELL = np.dtype(
    [
        ("start", "i8"),
        ("lowest_at", "i8"),
        ("highest_at", "i8"),
        ("lowest", "f8"),
        ("highest", "f8"),
    ]
)
