"""Runs in Weights & Biases, written offline. Requires the extra ``wandb``."""

from __future__ import annotations

import itertools
import re
import shutil
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import wandb

from mentorgrad.domain.run import RunState
from mentorgrad.integrations.tracking import Opening, Point

__all__ = ["WandB"]

_STEP = "gradient_steps"
"""The metric over which the others are drawn: W&B's own steps cannot go back, as a resume does."""


class WandB:
    """A run of the project ``mentorgrad``, written to files; ``wandb sync`` uploads them.

    The configuration is the spec; restarts and the prompt are texts in the history.

    Args:
        folder: Folder in which W&B makes its folder ``wandb``; None: the working folder.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder or Path()
        self._run: Any = None
        self._failed = False

    def begin(self, opening: Opening) -> None:
        """Starts an offline run whose id is the run's, and deletes an earlier one."""
        name = re.sub(r"[^\w-]", "-", opening.run_id)
        for earlier in self._folder.glob(f"wandb/offline-run-*_*-{name}"):
            shutil.rmtree(earlier)
        self._folder.mkdir(parents=True, exist_ok=True)
        self._run = wandb.init(
            project="mentorgrad",
            id=name,
            name=opening.name,
            config=dict(opening.parameters),
            tags=[f"{name}:{value}"[:64] for name, value in opening.labels.items()],
            dir=str(self._folder),
            mode="offline",
            reinit="create_new",
            settings=wandb.Settings(silent=True, console="off"),
        )
        self._run.define_metric(_STEP, hidden=True)
        self._run.define_metric("*", step_metric=_STEP)

    def points(self, points: Sequence[Point]) -> None:
        """Logs one row of the history per step."""
        for step, group in itertools.groupby(points, key=lambda point: point.step):
            self._run.log({_STEP: step, **{point.name: point.value for point in group}})

    def text(self, name: str, step: int, text: str, time: datetime) -> None:
        """Logs a text."""
        self._run.log({_STEP: step, name: text})

    def end(self, state: RunState, time: datetime) -> None:
        """Notes the final state."""
        self._run.summary["state"] = state.value
        self._failed = state is not RunState.SUCCEEDED

    def close(self) -> None:
        """Finishes the file."""
        if self._run is not None:
            self._run.finish(exit_code=int(self._failed))
            self._run = None
