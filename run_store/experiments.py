"""Experiments as every store keeps them: what is asked of it, what it refuses, and in what order.

An experiment's row holds its spec, state and times. How far it is follows from its runs, which are
ordinary runs with the labels of `LABELS`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Protocol

from mentorgrad.domain.experiment import (
    EXPERIMENT_TRANSITIONS,
    Experiment,
    ExperimentPage,
    ExperimentSpec,
    ExperimentState,
)
from mentorgrad.domain.run import RunState
from mentorgrad.errors import AlreadyExists, NotFound, PreconditionFailed
from mentorgrad.wire import codec
from run_store import invariants, page_tokens, paging

EXPERIMENT, PHASE = "experiment", "phase"
LABELS = (EXPERIMENT, PHASE, "arm", "task", "variation")
"""Labels of an experiment's runs: its id, the phase (`tuning` or `main`), and the cell."""

Counts = Mapping[tuple[str, RunState], int]
"""(phase, state) → runs."""


class ExperimentStore(Protocol):
    """Keeps experiments. The guarantees of `run_store.protocols` hold here too."""

    def create_experiment(
        self, spec: ExperimentSpec, request_id: str = ""
    ) -> tuple[Experiment, bool]:
        """Records a new running experiment, or finds the one of the same request_id.

        Args:
            spec: What is compared.
            request_id: The creator's key; an empty one gets one made.

        Returns:
            The experiment, without its progress, and whether this call created it.

        Raises:
            AlreadyExists: The request_id names an experiment with another spec.
            InvalidInput: The request_id cannot be stored.
        """
        ...

    def find_experiment(self, request_id: str, spec: ExperimentSpec) -> Experiment | None:
        """The experiment that an earlier `create_experiment` of this request_id made; None when
        there is none.

        Raises:
            AlreadyExists: The request_id names an experiment with another spec.
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
        """Experiments, newest first, in keyset pages that stay right while some are added.

        Raises:
            InvalidInput: `page_size` is not within 1..1000, or `page_token` is malformed or of
                another query (reason BAD_PAGE_TOKEN).
        """
        ...

    def running_experiments(self) -> tuple[str, ...]:
        """Ids of those that are RUNNING, oldest first; a read, cheap enough to poll."""
        ...

    def set_experiment_state(
        self, experiment_id: str, state: ExperimentState, reason: str = ""
    ) -> Experiment:
        """Ends an experiment.

        Args:
            experiment_id: The experiment.
            state: The new state; `mentorgrad.domain.experiment.EXPERIMENT_TRANSITIONS` says what is
                allowed.
            reason: Why, in one line.

        Raises:
            NotFound: No such experiment.
            PreconditionFailed: Forbidden from the present state (TRANSITION_FORBIDDEN).
        """
        ...

    def count_runs(self, experiment_id: str) -> Counts:
        """How many of an experiment's runs are where, by phase; a read that loads no run.

        An unknown experiment has none.
        """
        ...


def not_found(experiment_id: str) -> NotFound:
    """The error for an unknown experiment."""
    return NotFound(f"there is no experiment {experiment_id[:80]!r}", reason="EXPERIMENT_NOT_FOUND")


def check_same_request(experiment: Experiment, spec: ExperimentSpec) -> None:
    """Whether the experiment that a request_id names is the one that is asked for now.

    Raises:
        AlreadyExists: It has another spec.
    """
    if codec.encode(experiment.spec) != codec.encode(spec):
        raise AlreadyExists(
            f"the request_id {experiment.request_id[:200]!r} belongs to experiment "
            f"{experiment.experiment_id}, which has another spec",
            reason="REQUEST_ID_TAKEN",
            metadata={"experiment_id": experiment.experiment_id},
        )


def check_transition(experiment: Experiment, state: ExperimentState) -> None:
    """Whether an experiment may go to a state.

    Raises:
        PreconditionFailed: `EXPERIMENT_TRANSITIONS` forbids it.
    """
    if state not in EXPERIMENT_TRANSITIONS[experiment.state]:
        raise PreconditionFailed(
            f"experiment {experiment.experiment_id} is {experiment.state.value} and cannot become "
            f"{state.value}",
            reason="TRANSITION_FORBIDDEN",
            metadata={"state": experiment.state.value},
        )


def cursor(page_size: int, token: str) -> paging.Cursor:
    """Where a page of experiments starts.

    Raises:
        InvalidInput: A bad page size or token.
    """
    invariants.check_page_size(page_size)
    query = page_tokens.digest("experiments")
    return paging.Cursor(page_size, True, page_tokens.decode(token, query, (int, str)), query)


def position(experiment: Experiment) -> paging.Position:
    """Where an experiment stands in the listing; its id makes it unique."""
    created = experiment.created_at or datetime.min.replace(tzinfo=UTC)
    return paging.micros(created), experiment.experiment_id
