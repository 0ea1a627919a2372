"""Curves of runs by groups: read and averaged here, so that the page computes no statistic."""

from __future__ import annotations

import asyncio
import math
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import aclosing

from mentorgrad.domain.event import CandidatesScored, EventKind
from mentorgrad.domain.query import EventQuery, View
from mentorgrad.domain.run import Run
from mentorgrad.reports.group_view import MOST_STEPS, RunCurve, groups_view
from mentorgrad.reports.view import as_json
from ui_service import messages
from ui_service.requests import CurveKind
from ui_service.trainer import Trainer

MOST_KEPT = 64
"""Curves that are kept: that of a run that has ended is read once."""
_AT_ONCE = 4
"""Curves that are read at a time."""

Points = tuple[tuple[int, ...], tuple[float, ...]]
"""Steps, ascending, and their losses."""


class GroupedCurves:
    """Reads curves of runs and averages them by a label. For one event loop.

    Args:
        trainer: Where the runs are recorded.
    """

    def __init__(self, trainer: Trainer) -> None:
        self._trainer = trainer
        self._turn = asyncio.Semaphore(_AT_ONCE)
        self._kept: OrderedDict[tuple[str, CurveKind, int], Points] = OrderedDict()

    async def read(self, run_ids: Sequence[str], label: str, kind: CurveKind) -> bytes:
        """The view of the groups, as JSON.

        Args:
            run_ids: The runs.
            label: Name of the label that they are grouped by.
            kind: Which curve.

        Raises:
            MentorgradError: The trainer does not answer, or has no such run.
        """
        runs = (await self._trainer.compare_runs(run_ids)).runs
        found = await asyncio.gather(*(self._points(run, kind) for run in runs))
        curves = [
            RunCurve(run.run_id, run.labels.get(label, ""), *points)
            for run, points in zip(runs, found, strict=True)
        ]
        is_stepped = kind is CurveKind.BEST
        return await asyncio.to_thread(
            lambda: messages.encoded(as_json(groups_view(label, curves, is_stepped)))
        )

    async def _points(self, run: Run, kind: CurveKind) -> Points:
        key = (run.run_id, kind, run.last_seq)
        async with self._turn:
            if key not in self._kept:
                read = self._best if kind is CurveKind.BEST else self._train
                self._kept[key] = await read(run)
            self._kept.move_to_end(key)
            found = self._kept[key]
            while len(self._kept) > MOST_KEPT:
                self._kept.popitem(last=False)
        return found

    async def _train(self, run: Run) -> Points:
        """Evenly spaced train losses."""
        found = (await self._trainer.trajectory(run.run_id, MOST_STEPS, View.SUMMARY)).snapshots
        return tuple(item.step for item in found), tuple(item.train_loss for item in found)

    async def _best(self, run: Run) -> Points:
        """The lowest selection loss so far, wherever it fell, and at the run's last step."""
        scored: list[tuple[int, float]] = []
        query = EventQuery(kinds=(EventKind.CANDIDATES_SCORED,), effective=True)
        async with aclosing(self._trainer.events(run.run_id, query)) as events:
            async for event in events:
                if isinstance(event.payload, CandidatesScored):
                    scored += (
                        (candidate.step, candidate.score.loss)
                        for candidate in event.payload.candidates
                        if math.isfinite(candidate.score.loss)
                    )
        best: dict[int, float] = {}
        lowest = math.inf
        for step, loss in sorted(scored):
            if loss < lowest:
                best[step] = lowest = loss
        if best:
            best.setdefault(max(run.step, *(step for step, _ in scored)), lowest)
        return tuple(best), tuple(best.values())
