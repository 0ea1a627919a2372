"""The paths of runs' parameters, projected here: a browser is sent two numbers a snapshot."""

from __future__ import annotations

import asyncio
from collections.abc import Collection

from mentorgrad.domain.query import View
from mentorgrad.domain.run import Trajectory
from mentorgrad.reports.path_view import path_view
from mentorgrad.reports.view import as_json
from ui_service import messages
from ui_service.trainer import Trainer

MOST_POINTS = 2000
"""Snapshots of a path."""
MOST_BYTES = 64 << 20
"""Raw parameters that are read for a path."""


class ParameterPaths:
    """Reads and projects paths, one at a time: each takes memory and processor time.

    Args:
        trainer: Where runs are recorded.
    """

    def __init__(self, trainer: Trainer) -> None:
        self._trainer = trainer
        self._turn = asyncio.Semaphore(1)

    async def read(self, run_id: str, restarted: Collection[int]) -> bytes:
        """The view of a path, as JSON.

        Args:
            run_id: The run.
            restarted: Its stages that went on from a proposal.

        Raises:
            MentorgradError: The trainer does not answer, or has no such run.
        """
        async with self._turn:
            found, note = await self._trajectory(run_id)
            return await asyncio.to_thread(
                lambda: messages.encoded(as_json(path_view(found, restarted, note)))
            )

    async def _trajectory(self, run_id: str) -> tuple[Trajectory, str]:
        """As many evenly spaced snapshots as the limits allow, and what is left out, if any is."""
        both = await self._trainer.trajectory(run_id, 2, View.FULL)
        if both.parameters is None or len(both.snapshots) < 2:
            return both, ""
        size = both.parameters.nbytes // len(both.snapshots)
        most = min(MOST_POINTS, MOST_BYTES // max(1, size))
        if most <= 2:
            return both, f"the first and the last snapshot alone, of {size:,} bytes each"
        found = await self._trainer.trajectory(run_id, most, View.FULL)
        # of a run of exactly so many steps nothing is left out
        is_thinned = _steps(found) > len(found.snapshots) == most
        return found, f"{most:,} snapshots, evenly spaced" if is_thinned else ""


def _steps(found: Trajectory) -> int:
    return found.snapshots[-1].step - found.snapshots[0].step + 1
