"""A whole run whose mentor is somewhere else, by the worker's own parts and in this process."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from mentorgrad.domain.event import Created, EventKind
from mentorgrad.domain.objective import Function
from mentorgrad.domain.query import EventQuery
from mentorgrad.domain.run import RunState
from mentorgrad.domain.spec import Acceptance, Fallback, MentorChoice, Optimizer, RunSpec, Stages
from mentorgrad.wire.advise_stream import Patience
from run_store.temporary_store import TemporaryRunStore
from trainer_service.job import WorkerJob
from trainer_service.run_composition import run_parts
from trainer_service.running.execution import Parts, execute
from trainer_service.running.stop_control import StopKind, StopRequest

SPEC = RunSpec(
    objective=Function("rastrigin", 2),
    optimizer=Optimizer(learning_rate=0.05),
    stages=Stages(count=3, steps=15),
    mentor=MentorChoice(
        "small", proposals=3, fallback=Fallback.RANDOM_TOKENS, timeout=timedelta(seconds=5)
    ),
    acceptance=Acceptance(finalists=1, probe_steps=3),
    seed=4,
)
PATIENCE = Patience(acknowledge=600.0, absent=0.5, longest_pause=0.2)


class RunHarness:
    """One run by the worker's own parts; what its mentor does can be listened to."""

    def __init__(self, address: str, spec: RunSpec) -> None:
        self.store = TemporaryRunStore()
        self.run_id = self.store.create(Created(spec=spec))[0].run_id
        self.stopper = StopRequest()
        self.asked = threading.Event()
        """The mentor was asked, or waited for: now is the time for a stop."""
        self.mentor: Any = None
        """The run's, once it has one."""
        self.state_at_close: RunState | None = None
        job = WorkerJob(run_id=self.run_id, store="-", mentors={"small": address})
        self._parts = run_parts(job)
        self.before: dict[str, Callable[[], None]] = {}
        """Mentor's method → what is called before it."""
        self.hurry = timedelta(0)
        """How long a question may take from now on; zero: as long as the spec says."""

    def parts(self) -> Parts:
        return dataclasses.replace(self._parts, mentor=self._mentor)

    def _mentor(self, run: Any, objective: Any) -> Any:
        mentor: Any = self._parts.mentor(run, objective)
        self.mentor = mentor
        propose = mentor.propose

        def propose_in_time(request: Any, *more: Any) -> Any:
            timeout = self.hurry or request.timeout
            return propose(dataclasses.replace(request, timeout=timeout), *more)

        mentor.propose = propose_in_time
        for name, call in {"close": self._note_state, **self.before}.items():
            setattr(mentor, name, _preceded(call, getattr(mentor, name)))
        return mentor

    def _note_state(self) -> None:
        self.state_at_close = self.store.get_run(self.run_id).state

    def execute(self) -> RunState:
        run = self.store.get_run(self.run_id)
        lease = self.store.claim(self.run_id, "test", timedelta(hours=1))
        return execute(self.store, run, lease, self.parts(), self.stopper)

    def execute_until_asked(self, kind: StopKind) -> RunState:
        """Runs in a thread and wants a stop when the mentor was asked, over and over, as the side
        thread of a worker does."""
        states: list[RunState] = []
        thread = threading.Thread(target=lambda: states.append(self.execute()), daemon=True)
        thread.start()
        assert self.asked.wait(600)
        while thread.is_alive():
            self.stopper.request(kind)
            thread.join(0.1)
        (state,) = states
        return state

    def payloads(self, kind: EventKind) -> list[Any]:
        events = self.store.events(self.run_id, EventQuery(kinds=(kind,)))
        return [event.payload for event in events]


def _preceded(first: Callable[[], None], then: Callable[..., Any]) -> Callable[..., Any]:
    def both(*arguments: Any, **named: Any) -> Any:
        first()
        return then(*arguments, **named)

    return both


class Second:
    """Does something when it is called for the second time."""

    def __init__(self, act: Callable[[], None]) -> None:
        self._calls = 0
        self._act = act

    def __call__(self) -> None:
        self._calls += 1
        if self._calls == 2:
            self._act()
