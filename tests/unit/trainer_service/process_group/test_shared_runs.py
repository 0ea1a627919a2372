"""Whole runs whose rows two threads share: they are resumed exactly, and go on with no other
number."""

from __future__ import annotations

from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

import pytest
import torch

from mentorgrad.domain.event import Created
from mentorgrad.domain.objective import Function, ServedPrompt
from mentorgrad.domain.run import RunState
from mentorgrad.domain.spec import RunSpec
from mentorgrad.errors import InvalidInput
from run_store.temporary_store import TemporaryRunStore
from tests.support.effective_log import effective, run_files
from tests.support.shared_runs import SPEC, by_threads, make_files
from trainer_service.control_plane.validation import validate_objective
from trainer_service.job import WorkerJob
from trainer_service.run_composition import run_parts
from trainer_service.running.execution import Parts, execute
from trainer_service.running.stop_control import Stop, StopKind, StopRequest


class PausesAt(StopRequest):
    """Pauses the n-th time it is asked."""

    def __init__(self, n: int) -> None:
        super().__init__()
        self.left = n

    def check(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise Stop(StopKind.PAUSE)


def go(
    store: TemporaryRunStore,
    run_id: str,
    how: Parts,
    control: StopRequest,
    *,
    threads: bool = True,
) -> RunState:
    if store.get_run(run_id).state is RunState.PAUSED:
        store.transition(run_id, RunState.QUEUED)
    run, lease = store.get_run(run_id), store.claim(run_id, "test", timedelta(minutes=1))
    with ExitStack() as opened:
        how = by_threads(how, opened) if threads else how
        return execute(store, run, lease, how, control)


@pytest.mark.slow
@pytest.mark.usefixtures("without_probe")
def test_a_run_of_two_processes_goes_on_exactly_and_with_two_only(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    job = WorkerJob(run_id="-", store="-", **make_files(tmp_path))
    store, how = TemporaryRunStore(), run_parts(job)
    whole, paused = (store.create(Created(SPEC))[0].run_id for _ in range(2))
    assert go(store, whole, how, StopRequest()) is RunState.SUCCEEDED
    # In a stage and in the race.
    for n in (5, 14):
        assert go(store, paused, how, PausesAt(n)) is RunState.PAUSED
    assert go(store, paused, how, StopRequest(), threads=False) is RunState.PAUSED
    assert store.get_run(paused).reason.startswith(
        "the run needs 2 devices, and its worker has 1: sums over other shares"
    )
    assert go(store, paused, how, StopRequest()) is RunState.SUCCEEDED
    assert effective(store, paused) == effective(store, whole)
    assert run_files(store, paused) == run_files(store, whole)


@pytest.mark.parametrize(
    ("spec", "most", "why"),
    [
        (RunSpec(devices=3), 2, "must be at most 2, the devices or worker slots of this trainer"),
        (RunSpec(Function(), devices=2), 2, "must be 1: function has no steps on rows"),
        (RunSpec(ServedPrompt("own"), devices=2), 2, "must be 1: served_prompt has no steps"),
    ],
)
def test_devices_that_a_run_cannot_have_are_refused_when_it_is_created(
    spec: RunSpec, most: int, why: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        validate_objective(spec, most_devices=most, tuned_models=("own",))
    (refused,) = [v for v in caught.value.violations if v.field == "spec.devices"]
    assert refused.description.startswith(why)


def test_devices_that_it_can_have_are_not() -> None:
    validate_objective(RunSpec(devices=2), most_devices=2)
    validate_objective(RunSpec(devices=64), most_devices=None)  # whoever executes it decides
