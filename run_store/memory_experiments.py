"""Experiment storage in memory."""

from __future__ import annotations

import threading
import uuid
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime

from mentorgrad.domain.experiment import (
    Experiment,
    ExperimentPage,
    ExperimentSpec,
    ExperimentState,
)
from mentorgrad.domain.run import Run, RunState
from mentorgrad.ids import new_run_id
from mentorgrad.wire import codec
from run_store import experiments, invariants
from run_store.experiments import EXPERIMENT, PHASE, Counts


class MemoryExperiments:
    """In-memory implementation of `run_store.experiments.ExperimentStore`."""

    _lock: threading.RLock

    def __init__(self) -> None:
        self._experiments: dict[str, Experiment] = {}

    def check(self) -> None:
        """Raises `Unavailable` when the store is closed."""
        raise NotImplementedError

    def _runs(self) -> Iterable[Run]:
        """All runs; the caller holds the lock."""
        raise NotImplementedError

    def create_experiment(
        self, spec: ExperimentSpec, request_id: str = ""
    ) -> tuple[Experiment, bool]:
        """See `ExperimentStore.create_experiment`."""
        with self._lock:
            there = self.find_experiment(request_id, spec)
            if there is not None:
                return there, False
            made = Experiment(
                experiment_id=new_run_id(),
                request_id=request_id or uuid.uuid4().hex,
                spec=codec.decode(ExperimentSpec, codec.encode(spec)),
                created_at=datetime.now(UTC),
            )
            self._experiments[made.experiment_id] = made
            return made, True

    def find_experiment(self, request_id: str, spec: ExperimentSpec) -> Experiment | None:
        """See `ExperimentStore.find_experiment`."""
        invariants.check_request_id(request_id)
        with self._lock:
            self.check()
            for there in self._experiments.values():
                if request_id and there.request_id == request_id:
                    experiments.check_same_request(there, spec)
                    return there
        return None

    def get_experiment(self, experiment_id: str) -> Experiment:
        """See `ExperimentStore.get_experiment`."""
        with self._lock:
            self.check()
            if experiment_id not in self._experiments:
                raise experiments.not_found(experiment_id)
            return self._experiments[experiment_id]

    def list_experiments(self, page_size: int = 50, page_token: str = "") -> ExperimentPage:
        """See `ExperimentStore.list_experiments`."""
        cursor = experiments.cursor(page_size, page_token)
        with self._lock:
            self.check()
            there = list(self._experiments.values())
        page, token = cursor.page_of((experiments.position(item), item) for item in there)
        return ExperimentPage(tuple(page), token)

    def running_experiments(self) -> tuple[str, ...]:
        """See `ExperimentStore.running_experiments`."""
        with self._lock:
            self.check()
            there = [e for e in self._experiments.values() if e.state is ExperimentState.RUNNING]
        return tuple(item.experiment_id for item in sorted(there, key=experiments.position))

    def set_experiment_state(
        self, experiment_id: str, state: ExperimentState, reason: str = ""
    ) -> Experiment:
        """See `ExperimentStore.set_experiment_state`."""
        with self._lock:
            there = self.get_experiment(experiment_id)
            experiments.check_transition(there, state)
            ended = replace(there, state=state, reason=reason, finished_at=datetime.now(UTC))
            self._experiments[experiment_id] = ended
            return ended

    def count_runs(self, experiment_id: str) -> Counts:
        """See `ExperimentStore.count_runs`."""
        with self._lock:
            self.check()
            found: Counter[tuple[str, RunState]] = Counter(
                (run.spec.labels.get(PHASE, ""), run.state)
                for run in self._runs()
                if run.spec.labels.get(EXPERIMENT) == experiment_id
            )
        return dict(found)
