"""One run over a store that fails, in this process, and the ways in which the store fails."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import sqlalchemy as sa

from campaigns.faults.proxy import Proxy
from mentorgrad.domain.event import Created
from mentorgrad.domain.objective import Function
from mentorgrad.domain.run import RunState
from mentorgrad.domain.spec import Acceptance, Budget, MentorChoice, RunSpec, Stages
from run_store.protocols import RunStore
from tests.support.effective_log import effective
from trainer_service.job import WorkerJob
from trainer_service.objectives.torch_free import ARTIFACT
from trainer_service.run_composition import run_parts
from trainer_service.running import stop_control
from trainer_service.running.execution import execute
from trainer_service.running.recorder import StoreOutagePolicy
from trainer_service.running.stop_control import RunMonitor, StopRequest

SPEC = RunSpec(
    objective=Function("levy", 3),
    stages=Stages(count=3, steps=100, candidates=3),
    mentor=MentorChoice("random_tokens", proposals=4),
    acceptance=Acceptance(finalists=2, probe_steps=5),
    budget=Budget(gradient_steps=400),
    checkpoint_interval=timedelta(milliseconds=20),
    seed=7,
)


class AtStep(StopRequest):
    """Does something at given step boundaries of the run, and nothing else."""

    def __init__(self, acts: dict[int, Callable[[], object]]) -> None:
        super().__init__()
        self._acts = acts
        self.asked = 0

    def check(self) -> None:
        self.asked += 1
        self._acts.get(self.asked, lambda: None)()
        super().check()


class Run:
    """One run over a store, in this process."""

    def __init__(self, store: RunStore, spec: RunSpec = SPEC) -> None:
        self.store = store
        self.run_id = store.create(Created(spec=spec))[0].run_id

    def go(
        self,
        acts: dict[int, Callable[[], object]] | None = None,
        outage_policy: StoreOutagePolicy | None = None,
    ) -> RunState:
        run = self.store.get_run(self.run_id)
        if run.state is RunState.PAUSED:
            self.store.transition(self.run_id, RunState.QUEUED)
        lease = self.store.claim(self.run_id, "test", stop_control.LEASE)
        parts = run_parts(WorkerJob(run_id="-", store="-"))
        stopper = AtStep(acts or {})
        with RunMonitor(self.store, lease, stopper):
            return execute(self.store, run, lease, parts, stopper, outage_policy)

    def left(self) -> tuple[list[Any], bytes]:
        return effective(self.store, self.run_id), self.store.read_artifact(self.run_id, ARTIFACT)


def behind(proxy: Proxy, url: str) -> str:
    """The URL of the same database behind a proxy."""
    parsed = sa.make_url(url)
    query = {key: value for key, value in parsed.query.items() if key != "host"}
    there = parsed.set(host="127.0.0.1", port=proxy.port, query=query)
    return there.render_as_string(hide_password=False)
