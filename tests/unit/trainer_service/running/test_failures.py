"""Runs that cannot go on: the reason in one line, and what was recorded stays."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mentorgrad.domain.event import CandidatesScored, Finished, Segment, StageStarted
from mentorgrad.domain.objective import Function
from mentorgrad.domain.run import RunState
from mentorgrad.domain.spec import MentorChoice, Optimizer, RunSpec, Stages
from mentorgrad.errors import InvalidInput, MentorgradError
from tests.support.numerics import function
from tests.unit.trainer_service.running.test_alternation import Done, parts
from trainer_service.encoding.memory import is_lack_of_memory
from trainer_service.protocols import Objective
from trainer_service.running.execution import failure_line
from trainer_service.running.stop_control import DEVICE_LOST

LACKS = [
    MemoryError(),
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    RuntimeError("[enforce fail at alloc_cpu.cpp:1] DefaultCPUAllocator: can't allocate memory"),
    RuntimeError("CUDA error: out of memory"),
]
SPEC = RunSpec(
    objective=Function("rastrigin", 2),
    optimizer=Optimizer(batch_size=16),
    stages=Stages(count=2, steps=5),
    mentor=MentorChoice("random_tokens", proposals=6),
)
ADVICE = (
    "not enough memory; try spec.optimizer.automatic_batch_size = true or "
    "spec.optimizer.batch_size = 8 or fewer than 6 for spec.mentor.proposals"
)


class Failing:
    """The objective of `SPEC`, whose losses fail at some pass.

    Args:
        at: The number of the pass, from 0.
        fail: What happens to the losses.
    """

    def __init__(self, at: int, fail: Callable[[Any], Any]) -> None:
        self.built: Objective = function("rastrigin", 2)
        self._left, self._fail = at, fail
        self._losses = self.built.problem.losses
        self.built.problem.losses = self._counted  # type: ignore[method-assign]

    def _counted(self, points: Any, rows: Any) -> Any:
        found = self._losses(points, rows)
        self._left -= 1
        return self._fail(found) if self._left < 0 else found

    def run(self) -> Done:
        torch.set_num_threads(1)
        return Done(SPEC, parts(objective=lambda spec, check: self.built))


@pytest.mark.parametrize("error", LACKS, ids=range(len(LACKS)))
def test_a_lack_of_memory_names_what_is_to_be_smaller(error: Exception) -> None:
    def fail(losses: Any) -> Any:
        raise error

    done = Failing(7, fail).run()  # in the second stage, or in its race
    assert (done.state, done.run.reason) == (RunState.FAILED, ADVICE)
    assert done.all(Finished)[-1].error == ADVICE
    assert len(done.all(StageStarted)) == 1
    assert sum(len(segment.snapshots) for segment in done.all(Segment)) == 5
    assert {c.stage for c in done.candidates()} == {0}
    assert len(done.all(CandidatesScored)) == 2


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_is_named_by_where_it_was_computed(loss: float) -> None:
    started = Failing(0, lambda losses: losses * 0 + loss)
    started.built.problem.start_remedy = "use other numbers"
    for failing, step, remedy in (
        (started, 1, "use other numbers"),
        (Failing(3, lambda losses: losses * 0 + loss), 4, "try a lower learning rate"),
    ):
        done = failing.run()
        expected = f"the training loss is {loss} at step {step}; {remedy}"
        assert (done.state, done.run.reason) == (RunState.FAILED, expected)
        assert done.candidates()
        kept = [snapshot.step for part in done.all(Segment) for snapshot in part.snapshots]
        assert kept == list(range(1, step)), "the steps before it are recorded"


@pytest.mark.parametrize(("answers", "state"), [(True, "failed"), (False, "interrupted")])
def test_a_run_whose_device_is_lost_is_left_to_others(answers: bool, state: str) -> None:
    def fail(losses: Any) -> Any:
        raise RuntimeError("CUDA error: unspecified launch failure")

    failing = Failing(7, fail)
    how = parts(objective=lambda spec, check: failing.built, has_devices=lambda: answers)
    done = Done(SPEC, how)
    assert done.state == state
    assert (done.run.reason == DEVICE_LOST) is not answers


@given(
    batch=st.integers(1, 10_000),
    proposals=st.integers(1, 64),
    name=st.sampled_from(["none", "perturb", "small"]),
)
def test_what_is_to_be_smaller_is_smaller_and_possible(
    batch: int, proposals: int, name: str
) -> None:
    spec = dataclasses.replace(
        SPEC, optimizer=Optimizer(batch_size=batch), mentor=MentorChoice(name, proposals=proposals)
    )
    line = failure_line(MemoryError(), spec)
    assert (f"batch_size = {batch // 2}" in line) is (batch > 1)
    assert ("spec.mentor.proposals" in line) is (name != "none" and proposals > 1)
    assert ("a smaller model" in line) is ("spec." not in line)
    assert len(line.splitlines()) == 1


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (InvalidInput.field("spec.a", "is\ntwo lines"), "spec.a: is"),
        (MentorgradError("", reason="WHY"), "WHY"),
        (RuntimeError("shapes differ"), "internal error (RuntimeError); see the worker's log"),
        (ValueError("out of memory"), "internal error (ValueError); see the worker's log"),
    ],
)
def test_every_other_error_is_one_line_too(error: Exception, line: str) -> None:
    assert failure_line(error, SPEC) == line


def test_what_a_lack_of_memory_is() -> None:
    workspace = RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate`")
    assert all(map(is_lack_of_memory, [*LACKS, workspace]))
    assert not any(map(is_lack_of_memory, (ValueError("out of memory"), RuntimeError("shape"))))
