"""What the page asks of a trainer: reads alone. `AsyncClient` does it over gRPC."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import Protocol

from mentorgrad.domain.agent import AgentList
from mentorgrad.domain.event import RunEvent
from mentorgrad.domain.experiment import Experiment, ExperimentPage, Report
from mentorgrad.domain.query import EventQuery, RunFilter, RunOrder, RunPage, Thinning, View
from mentorgrad.domain.run import Artifact, Run, Trajectory
from mentorgrad.responses import RunComparison, TrainerInfo


class Trainer(Protocol):
    """The reads of `mentorgrad.AsyncClient` that the page uses, for one event loop.

    Safe to use from several tasks at once. Every method raises `MentorgradError`: with an id
    `NotFound` if there is nothing of that id, and `Unavailable` while the trainer does not answer.
    """

    async def trainer_info(self) -> TrainerInfo:
        """Describes the trainer."""
        ...

    async def list_workers(self) -> AgentList:
        """The agents that execute runs.

        Raises:
            Unsupported: The trainer is of a version that does not list them.
        """
        ...

    async def get_run(self, run_id: str) -> Run:
        """The current state of a run."""
        ...

    async def list_runs(
        self,
        run_filter: RunFilter | None = None,
        order: RunOrder = RunOrder.NEWEST,
        page_size: int = 50,
        page_token: str = "",
    ) -> RunPage:
        """A page of runs."""
        ...

    def watch(self, run_id: str, after_seq: int = 0) -> AsyncGenerator[RunEvent, None]:
        """Follows a run's events until it reaches a final state; each event exactly once."""
        ...

    def events(self, run_id: str, query: EventQuery | None = None) -> AsyncGenerator[RunEvent]:
        """The recorded events in order; does not wait for new ones."""
        ...

    async def trajectory(
        self,
        run_id: str,
        max_points: int = 0,
        view: View = View.FULL,
        *,
        first_step: int = 0,
        last_step: int = 0,
        thinning: Thinning = Thinning.EVEN,
    ) -> Trajectory:
        """Effective snapshots in order of step, of a range of steps, thinned to `max_points`."""
        ...

    async def artifacts(self, run_id: str) -> tuple[Artifact, ...]:
        """Files of a run by name."""
        ...

    async def compare_runs(self, run_ids: Sequence[str]) -> RunComparison:
        """Runs, and the fields in which their specs differ."""
        ...

    async def list_experiments(self, page_size: int = 50, page_token: str = "") -> ExperimentPage:
        """A page of experiments, newest first."""
        ...

    async def get_experiment(self, experiment_id: str) -> Experiment:
        """An experiment with its progress."""
        ...

    async def get_report(self, experiment_id: str) -> Report:
        """Statistics over the runs that have ended so far, which may take the trainer a while."""
        ...
