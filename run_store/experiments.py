"""Interface of experiment storage, and the labels of its runs.

A stored experiment consists of its spec, state and times. Its progress is computed from its runs:
ordinary runs that were created with its id. Their labels in `LABELS` say where each belongs; on
other runs these labels mean nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from mentorgrad.domain.experiment import (
    Experiment,
    ExperimentPage,
    ExperimentSpec,
    ExperimentState,
)
from mentorgrad.domain.run import RunState

EXPERIMENT, PHASE = "experiment", "phase"
LABELS = (EXPERIMENT, PHASE, "arm", "task", "variation")
"""Label keys of an experiment's runs: experiment id, phase (`tuning` or `main`), and the cell (arm,
task, variation)."""

Counts = Mapping[tuple[str, RunState], int]
"""(phase, state) → number of runs."""


class ExperimentStore(Protocol):
    """Stores experiments. The guarantees in `run_store.protocols` apply here too."""

    def create_experiment(
        self, spec: ExperimentSpec, request_id: str = ""
    ) -> tuple[Experiment, bool]:
        """Creates a RUNNING experiment, or returns the existing one with this request_id.

        Args:
            spec: Spec of the experiment.
            request_id: Idempotency key; if empty, the store generates one.

        Returns:
            The experiment, without its progress, and whether this call created it.

        Raises:
            AlreadyExists: The request_id belongs to an experiment with another spec.
            InvalidInput: The request_id cannot be stored.
            ResourceExhausted: The viewer's owner has as many RUNNING experiments as
                `Viewer.experiment_limit` (reason OWNER_EXPERIMENTS).
        """
        ...

    def find_experiment(self, request_id: str, spec: ExperimentSpec) -> Experiment | None:
        """The experiment that an earlier `create_experiment` created with this request_id, or None.

        Raises:
            AlreadyExists: The request_id belongs to an experiment with another spec.
            InvalidInput: The request_id cannot be stored.
        """
        ...

    def get_experiment(self, experiment_id: str) -> Experiment:
        """The experiment, without its progress.

        Raises:
            NotFound: No such experiment (reason EXPERIMENT_NOT_FOUND).
        """
        ...

    def list_experiments(self, page_size: int = 50, page_token: str = "") -> ExperimentPage:
        """Lists experiments, newest first, with keyset pagination (stable while some are added).

        Raises:
            InvalidInput: `page_size` is not within 1..1000, or `page_token` is malformed or belongs
                to another query (reason BAD_PAGE_TOKEN).
        """
        ...

    def running_experiments(self) -> tuple[str, ...]:
        """Ids of the RUNNING experiments, oldest first; cheap enough to poll."""
        ...

    def set_experiment_state(
        self, experiment_id: str, state: ExperimentState, reason: str = ""
    ) -> Experiment:
        """Sets the final state of an experiment.

        Args:
            experiment_id: The experiment.
            state: The new state; `mentorgrad.domain.experiment.EXPERIMENT_TRANSITIONS` lists the
                allowed transitions.
            reason: Reason, one line.

        Raises:
            NotFound: No such experiment.
            PreconditionFailed: Not allowed from the current state (TRANSITION_FORBIDDEN).
        """
        ...

    def count_runs(self, experiment_id: str) -> Counts:
        """Number of an experiment's runs by phase and state; loads no runs.

        Empty for an unknown experiment.
        """
        ...
