"""Runs in MLflow. Requires the extra ``mlflow``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Metric, Param

from mentorgrad.domain.run import RunState
from mentorgrad.integrations.tracking import Opening, Point

__all__ = ["MLflow"]

_EXPERIMENT = "mentorgrad"
_OURS = "mentorgrad.run_id"
"""Tag of a run in MLflow: the run's id."""

_BATCH = 1000
_PARAMETERS = 100
_LONGEST = 5000
"""MLflow's limits: metrics and parameters per call, characters of a parameter or tag."""

_STATUS = {RunState.SUCCEEDED: "FINISHED", RunState.CANCELLED: "KILLED"}


class MLflow:
    """A run in MLflow's experiment ``mentorgrad``, with the tag ``mentorgrad.run_id``.

    The parameters are the spec's; restarts and the prompt are tags (``restart.120``).

    Args:
        folder: Folder of a database ``mlflow.db``; None: the server or store that
            ``MLFLOW_TRACKING_URI`` names, or MLflow's own default.
    """

    def __init__(self, folder: Path | None = None) -> None:
        uri = None
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            uri = f"sqlite:///{folder.resolve() / 'mlflow.db'}"
        self._client = MlflowClient(tracking_uri=uri)
        self._run = ""

    def begin(self, opening: Opening) -> None:
        """Creates the run in MLflow, and deletes an earlier one."""
        found = self._client.get_experiment_by_name(_EXPERIMENT)
        if found is None:
            experiment = self._client.create_experiment(_EXPERIMENT)
        else:
            experiment = found.experiment_id
        ours = opening.run_id.replace("'", "")
        for earlier in self._client.search_runs([experiment], f"tags.`{_OURS}` = '{ours}'"):
            self._client.delete_run(earlier.info.run_id)
        tags = {_key(name): value[:_LONGEST] for name, value in opening.labels.items()}
        made = self._client.create_run(
            experiment, _milliseconds(opening.time), tags | {_OURS: ours}, opening.name[:_LONGEST]
        )
        self._run = made.info.run_id
        parameters = [
            Param(_key(name), str(value)[:_LONGEST]) for name, value in opening.parameters.items()
        ]
        for start in range(0, len(parameters), _PARAMETERS):
            self._client.log_batch(self._run, params=parameters[start : start + _PARAMETERS])

    def points(self, points: Sequence[Point]) -> None:
        """Logs metrics."""
        metrics = [
            Metric(point.name, point.value, _milliseconds(point.time), point.step)
            for point in points
        ]
        for start in range(0, len(metrics), _BATCH):
            self._client.log_batch(self._run, metrics[start : start + _BATCH])

    def text(self, name: str, step: int, text: str, time: datetime) -> None:
        """Sets a tag."""
        self._client.set_tag(self._run, f"{name}.{step}", text[:_LONGEST])

    def end(self, state: RunState, time: datetime) -> None:
        """Ends the run in MLflow."""
        self._client.set_terminated(self._run, _STATUS.get(state, "FAILED"), _milliseconds(time))

    def close(self) -> None:
        """Does nothing: every call is complete when it returns."""


def _key(name: str) -> str:
    """A name with the characters that MLflow takes."""
    return re.sub(r"[^\w\-. /:]", "_", name)


def _milliseconds(time: datetime) -> int:
    return int(time.timestamp() * 1000)
