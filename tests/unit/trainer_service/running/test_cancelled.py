"""A run that is cancelled or finished leaves the files of its best candidate so far."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from torch import Tensor

from mentorgrad.domain.objective import Function
from mentorgrad.domain.run import RunState
from mentorgrad.domain.spec import RunSpec, Stages
from tests.unit.trainer_service.running.test_overlapped import (
    Counted,
    Done,
    Points,
    of_problem,
    parts,
)
from trainer_service.protocols import Objective
from trainer_service.running.stop_control import StopKind, StopRequest

SPEC = RunSpec(objective=Function("rastrigin", 2), stages=Stages(count=2, steps=10))

Check = Callable[[], None]


def stopped(
    kind: StopKind, export: Callable[[Objective, Tensor, Check], dict[str, bytes]] | None = None
) -> Done:
    """A run that is stopped within its second stage."""
    stopper = StopRequest()

    def build(spec: RunSpec, check: Check) -> Objective:
        made = of_problem(Counted({14: lambda: stopper.request(kind)}))
        if export is None:
            return made
        return dataclasses.replace(made, export=lambda point: export(made, point, check))

    return Done(SPEC, parts(Points(), objective=build), stopper)


def test_the_best_so_far_is_there_after_a_cancel() -> None:
    done = stopped(StopKind.CANCEL)
    assert done.state is RunState.CANCELLED
    (file,) = done.store.artifacts(done.run_id)
    best = done.store.list_candidates(done.run_id).candidates[0]
    assert best.text.encode() in done.store.read_artifact(done.run_id, file.name)


def test_a_run_that_is_finished_has_a_result() -> None:
    done = stopped(StopKind.FINISH)
    assert done.state is RunState.SUCCEEDED
    run = done.store.get_run(done.run_id)
    assert run.result is not None
    assert run.stage == 1
    assert 10 < run.step < SPEC.stages.total_steps
    best = done.store.list_candidates(done.run_id).candidates[0]
    assert run.result.returned == best
    assert len(done.store.artifacts(done.run_id)) == 1


def test_a_run_that_is_to_finish_still_begins() -> None:
    stopper = StopRequest()
    stopper.request(StopKind.FINISH)
    done = Done(SPEC, parts(Points(), objective=lambda *_: of_problem(Counted({}))), stopper)
    assert done.state is RunState.SUCCEEDED
    assert done.store.get_run(done.run_id).step == 0


def test_the_exit_of_the_service_comes_before_a_request_to_finish() -> None:
    stopper = StopRequest()
    stopper.request(StopKind.FINISH)
    stopper.note(StopKind.INTERRUPT)  # from a signal handler
    done = Done(SPEC, parts(Points(), objective=lambda *_: of_problem(Counted({}))), stopper)
    assert done.state is RunState.INTERRUPTED


def test_a_pause_leaves_no_files() -> None:
    done = stopped(StopKind.PAUSE)
    assert done.state is RunState.PAUSED
    assert done.store.artifacts(done.run_id) == ()


def test_passes_of_the_model_for_the_files_are_not_cut_short_by_the_cancel() -> None:
    def export(made: Objective, point: Tensor, check: Check) -> dict[str, bytes]:
        check()
        return made.export(point)

    done = stopped(StopKind.CANCEL, export)
    assert done.state is RunState.CANCELLED
    assert len(done.store.artifacts(done.run_id)) == 1


def test_a_run_whose_files_cannot_be_made_is_cancelled_all_the_same() -> None:
    def export(made: Objective, point: Tensor, check: Check) -> dict[str, bytes]:
        raise MemoryError

    done = stopped(StopKind.CANCEL, export)
    assert done.state is RunState.CANCELLED
    assert done.store.artifacts(done.run_id) == ()
