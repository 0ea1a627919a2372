"""A trainer in memory, for the page: runs whose events a test tells it, and experiments."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from mentorgrad.domain.agent import Agent, AgentList
from mentorgrad.domain.event import Finished, RunEvent
from mentorgrad.domain.experiment import Experiment, ExperimentPage, Report
from mentorgrad.domain.query import EventQuery, RunFilter, RunOrder, RunPage, Thinning, View
from mentorgrad.domain.run import Artifact, Run, RunState, Snapshot, Trajectory
from mentorgrad.errors import NotFound, PreconditionFailed, Unavailable, Unsupported
from mentorgrad.responses import RunComparison, SpecDifference, TrainerInfo
from tests.support.event_maker import EventMaker


class ToldTrainer:
    """See `ui_service.trainer.Trainer`.

    `calls` counts the calls by name; `lists` and `changes` keep what was asked for. `agents` is
    None for a trainer that lists none. A snapshot of a trajectory has `parameters` numbers; 0:
    none are captured. All runs are on a list's first page, and a second one is empty.
    """

    def __init__(self) -> None:
        self.runs: dict[str, Run] = {}
        self.logs: dict[str, list[RunEvent]] = {}
        self.calls: Counter[str] = Counter()
        self.watches = 0
        self.lists: list[tuple[Any, ...]] = []
        self.is_away = False
        self.steps = 6
        self.parameters = 3
        self.experiments: dict[str, Experiment] = {}
        self.reports: dict[str, Report] = {}
        self.changes: list[tuple[Any, ...]] = []
        self.agents: tuple[Agent, ...] | None = ()
        self._changed = asyncio.Event()

    def add(self, run_id: str, events: int = 0) -> None:
        """Adds a run with events of one step each."""
        self.runs[run_id] = Run(run_id=run_id, state=RunState.RUNNING)
        self.logs[run_id] = []
        for _ in range(events):
            self.tell(run_id)

    def tell(self, run_id: str, payload: Any = None) -> RunEvent:
        """Records a run's next event, by default a segment of one step."""
        log = self.logs[run_id]
        made = EventMaker(run_id, len(log))
        event = made(payload or EventMaker.segment(len(log) + 1, len(log) + 1, shape=None))
        log.append(event)
        state = payload.state if isinstance(payload, Finished) else self.runs[run_id].state
        self.runs[run_id] = replace(self.runs[run_id], last_seq=event.seq, state=state)
        self._news()
        return event

    def finish(self, run_id: str) -> None:
        """Records the end of a run."""
        self.tell(run_id, Finished())

    def delete(self, run_id: str) -> None:
        """Forgets a run."""
        del self.runs[run_id], self.logs[run_id]
        self._news()

    def go(self, away: bool) -> None:
        """Answers no more, or again."""
        self.is_away = away
        self._news()

    def _news(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def _called(self, name: str, run_id: str = "") -> None:
        self.calls[name] += 1
        if self.is_away:
            raise Unavailable("no answer from 127.0.0.1:1")
        if run_id and run_id not in self.runs:
            raise NotFound(f"the run {run_id!r} does not exist", reason="RUN_NOT_FOUND")

    async def trainer_info(self) -> TrainerInfo:
        self._called("trainer_info")
        return TrainerInfo(version="0.1.0", devices=("cpu",), worker_slots=2)

    async def list_workers(self) -> AgentList:
        self._called("list_workers")
        if self.agents is None:
            raise Unsupported("there is no method ListWorkers")
        return AgentList(self.agents)

    async def get_run(self, run_id: str) -> Run:
        self._called("get_run", run_id)
        return self.runs[run_id]

    async def list_runs(
        self,
        run_filter: RunFilter | None = None,
        order: RunOrder = RunOrder.NEWEST,
        page_size: int = 50,
        page_token: str = "",
    ) -> RunPage:
        self._called("list_runs")
        self.lists.append((run_filter, order, page_size, page_token))
        states = (run_filter or RunFilter()).states
        found = [run for run in self.runs.values() if not states or run.state in states]
        return RunPage((), "") if page_token else RunPage(tuple(found[:page_size]), "more")

    async def cancel_run(self, run_id: str) -> Run:
        return self._change("cancel", run_id, state=RunState.CANCELLED)

    async def finish_run(self, run_id: str) -> Run:
        return self._change("finish", run_id)

    async def pause_run(self, run_id: str) -> Run:
        if self.runs[run_id].state is not RunState.RUNNING:
            raise PreconditionFailed("it does not run", reason="TRANSITION_FORBIDDEN")
        return self._change("pause", run_id, state=RunState.PAUSED)

    async def resume_run(self, run_id: str) -> Run:
        return self._change("resume", run_id, state=RunState.QUEUED)

    async def update_run(
        self,
        run_id: str,
        labels: Mapping[str, str] | None = None,
        *,
        remove_labels: Sequence[str] = (),
        note: str | None = None,
    ) -> Run:
        self.changes.append((labels, remove_labels, note))
        return self._change("update", run_id, note=note or "")

    def _change(self, name: str, run_id: str, **fields: Any) -> Run:
        self._called(name, run_id)
        self.changes.append((name, run_id))
        self.runs[run_id] = replace(self.runs[run_id], **fields)
        return self.runs[run_id]

    async def watch(self, run_id: str, after_seq: int = 0) -> AsyncGenerator[RunEvent, None]:
        self._called("watch", run_id)
        self.watches += 1
        try:
            while True:
                changed = self._changed
                if self.is_away:
                    raise Unavailable("no answer from 127.0.0.1:1")
                if run_id not in self.runs:
                    raise NotFound(f"the run {run_id!r} does not exist", reason="RUN_NOT_FOUND")
                for event in self.logs[run_id][after_seq:]:
                    yield event
                    after_seq = event.seq
                    if isinstance(event.payload, Finished):
                        return
                await changed.wait()
        finally:
            self.watches -= 1

    async def events(
        self, run_id: str, query: EventQuery | None = None
    ) -> AsyncGenerator[RunEvent, None]:
        self._called("events", run_id)
        asked = query or EventQuery()
        for event in list(self.logs[run_id]):
            if event.seq > asked.after_seq and (not asked.kinds or event.kind in asked.kinds):
                yield event

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
        """The first steps of those that are asked for."""
        self._called("trajectory", run_id)
        if view is View.FULL or thinning is Thinning.EVEN:
            return self._path(run_id, max_points)
        steps = range(max(first_step, 1), min(last_step or self.steps, self.steps) + 1)[:max_points]
        snapshots = tuple(Snapshot(step=step, train_loss=1 / step) for step in steps)
        return Trajectory(run_id, snapshots, tuple(step // 3 for step in steps))

    def _path(self, run_id: str, most: int) -> Trajectory:
        """Evenly spaced snapshots on a line."""
        steps = np.linspace(1, self.steps, min(most, self.steps)).round().astype(int).tolist()
        snapshots = tuple(Snapshot(step=step, train_loss=1 / step) for step in steps)
        rows = np.repeat(np.array(steps, np.float32)[:, None], self.parameters, axis=1)
        stages = tuple(step // 3 for step in steps)
        return Trajectory(run_id, snapshots, stages, rows if self.parameters else None)

    async def artifacts(self, run_id: str) -> tuple[Artifact, ...]:
        self._called("artifacts", run_id)
        return (Artifact("prompt.safetensors", 2**40, "ab"),)

    async def compare_runs(self, run_ids: Sequence[str]) -> RunComparison:
        for run_id in run_ids:
            self._called("compare_runs", run_id or "''")
        runs = tuple(self.runs[run_id] for run_id in run_ids)
        return RunComparison(runs, (SpecDifference("seed", ("1", "2")),))

    async def list_experiments(self, page_size: int = 50, page_token: str = "") -> ExperimentPage:
        self._called("list_experiments")
        self.lists.append((page_size, page_token))
        return ExperimentPage(tuple(self.experiments.values())[:page_size], "more")

    async def get_experiment(self, experiment_id: str) -> Experiment:
        self._called("get_experiment")
        if experiment_id not in self.experiments:
            said = f"the experiment {experiment_id!r} does not exist"
            raise NotFound(said, reason="EXPERIMENT_NOT_FOUND")
        return self.experiments[experiment_id]

    async def get_report(self, experiment_id: str) -> Report:
        self._called("get_report")
        return self.reports[experiment_id]
