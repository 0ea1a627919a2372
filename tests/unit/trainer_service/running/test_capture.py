from __future__ import annotations

import dataclasses
from datetime import timedelta

import numpy as np
import pytest
import torch

from mentorgrad.domain.advice import Batch, Wants
from mentorgrad.domain.event import Segment
from mentorgrad.domain.spec import Capture as Spec
from mentorgrad.domain.spec import CaptureContent
from mentorgrad.errors import PreconditionFailed
from tests.support.numerics import CPU, DEVICES, function
from trainer_service.objectives.number_language import NumberLanguage
from trainer_service.protocols import Projected
from trainer_service.running import capture
from trainer_service.running.capture import TrajectoryCapture


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Watcher:
    def __init__(self, wants: Wants | None = None) -> None:
        self.wants = wants or Wants()
        self.batches: list[Batch] = []

    def observe(self, batch: Batch) -> None:
        self.batches.append(batch)


class Words(NumberLanguage):
    """Numbers with tokens: each coordinate's is its integer part."""

    def project(self, parameters: torch.Tensor) -> list[Projected]:
        ids = [tuple(int(x) for x in point) for point in parameters.tolist()]
        return [Projected(" ".join(map(str, i)), i, 0.0) for i in ids]


class Rig:
    def __init__(
        self,
        spec: Spec | None = None,
        wants: Wants | None = None,
        device: torch.device = CPU,
    ) -> None:
        self.clock = Clock()
        self.segments: list[Segment] = []
        self.watcher = Watcher(wants)
        self.capture = TrajectoryCapture(
            spec or Spec(),
            dataclasses.replace(
                function("levy", 2, device), language=Words(2, -10.0, 10.0, device)
            ),
            self.segments.append,
            self.watcher,
            clock=self.clock,
        )
        self.live = torch.zeros(2, device=device)

    def steps(self, first: int, last: int) -> None:
        for step in range(first, last + 1):
            self.live += 1.0
            loss = torch.tensor(float(step), device=self.live.device)
            spent = timedelta(seconds=step)
            self.capture.add(
                *(step, 0.1, loss, torch.tensor(2.0), self.live),
                forward_rows=10 * step,
                train_time=spent,
            )


def test_snapshots_are_copies_in_order_with_words_and_scalars() -> None:
    rig = Rig()
    rig.capture.begin_stage(3, (1, 1))
    rig.steps(1, 4)
    assert rig.segments == []
    rig.capture.flush()
    (segment,) = rig.segments
    assert (segment.stage, segment.step_start, segment.step_end) == (3, 1, 4)
    assert [s.train_loss for s in segment.snapshots] == [1.0, 2.0, 3.0, 4.0]
    assert [s.text for s in segment.snapshots] == ["1 1", "2 2", "3 3", "4 4"]
    assert [s.positions_changed for s in segment.snapshots] == [0, 2, 2, 2]
    assert segment.parameters is not None
    np.testing.assert_array_equal(segment.parameters, [[1, 1], [2, 2], [3, 3], [4, 4]])
    rig.steps(5, 9)
    rig.capture.flush()
    np.testing.assert_array_equal(segment.parameters[0], [1, 1])
    assert rig.segments[1].step_start == 5


def test_the_mentor_sees_what_is_recorded() -> None:
    rig = Rig()
    rig.steps(1, 3)
    rig.capture.flush()
    (batch,), (segment,) = rig.watcher.batches, rig.segments
    assert batch.snapshots == segment.snapshots
    assert batch.parameters is segment.parameters


@pytest.mark.parametrize("device", DEVICES)
def test_a_full_ring_is_flushed(monkeypatch: pytest.MonkeyPatch, device: torch.device) -> None:
    monkeypatch.setattr(capture, "SEGMENT_BYTES", 8 * 5)  # five snapshots of two float32
    rig = Rig(device=device)
    rig.steps(1, 12)
    # What is copied from another device is given out when the next ring is full.
    out = [(1, 5), (6, 10)] if device == CPU else [(1, 5)]
    assert [(s.step_start, s.step_end) for s in rig.segments] == out
    rig.capture.flush()
    assert [(s.step_start, s.step_end) for s in rig.segments] == [(1, 5), (6, 10), (11, 12)]


@pytest.mark.parametrize("device", DEVICES)
def test_rings_that_take_turns_mix_nothing_up(
    monkeypatch: pytest.MonkeyPatch, device: torch.device
) -> None:
    monkeypatch.setattr(capture, "SEGMENT_BYTES", 8 * 7)
    rig = Rig(device=device)
    rig.steps(1, 500)
    rig.capture.flush()
    snapshots = [snapshot for segment in rig.segments for snapshot in segment.snapshots]
    assert [s.step for s in snapshots] == list(range(1, 501))
    assert [s.train_loss for s in snapshots] == [s.step for s in snapshots]
    assert [s.text for s in snapshots] == [f"{s.step} {s.step}" for s in snapshots]
    raw = np.concatenate([s.parameters for s in rig.segments if s.parameters is not None])
    np.testing.assert_array_equal(raw, np.arange(1, 501, dtype=np.float32)[:, None].repeat(2, 1))


def test_an_old_ring_is_flushed() -> None:
    rig = Rig()
    rig.steps(1, 2)
    rig.clock.now = 0.24
    rig.steps(3, 3)
    assert rig.segments == []
    rig.clock.now = 0.25
    rig.steps(4, 4)
    assert [(s.step_start, s.step_end) for s in rig.segments] == [(1, 4)]


def test_every_counts_the_steps_of_the_run() -> None:
    rig = Rig(Spec(every=3))
    rig.steps(1, 10)
    rig.capture.flush()
    assert [s.step for s in rig.segments[0].snapshots] == [3, 6, 9]


def test_off_records_and_shows_nothing() -> None:
    rig = Rig(Spec(content=CaptureContent.OFF))
    rig.capture.begin_stage(0, ())
    rig.steps(1, 5)
    rig.capture.flush()
    assert (rig.segments, rig.watcher.batches) == ([], [])


@pytest.mark.parametrize("asked", [False, True])
def test_text_alone_records_no_parameters_but_sends_those_asked_for(asked: bool) -> None:
    rig = Rig(Spec(content=CaptureContent.TEXT), Wants(parameters=asked))
    rig.steps(1, 2)
    rig.capture.flush()
    assert rig.segments[0].parameters is None
    assert (rig.watcher.batches[0].parameters is not None) is asked
    assert rig.segments[0].snapshots[1].text == "2 2"


def test_a_new_stage_begins_a_new_segment() -> None:
    rig = Rig()
    rig.capture.begin_stage(0, (0, 0))
    rig.steps(1, 2)
    rig.capture.begin_stage(1, (2, 2))
    rig.steps(3, 3)
    rig.capture.flush()
    assert [(s.stage, s.step_end) for s in rig.segments] == [(0, 2), (1, 3)]
    costs = [(s.forward_rows, s.train_time) for s in rig.segments]
    assert costs == [(20, timedelta(seconds=2)), (30, timedelta(seconds=3))]
    assert rig.segments[1].snapshots[0].positions_changed == 2


def test_a_loss_that_is_no_number_ends_the_run_with_a_hint() -> None:
    rig = Rig()
    rig.capture.add(7, 0.1, torch.tensor(float("nan")), torch.tensor(1.0), rig.live)
    with pytest.raises(PreconditionFailed, match=r"nan at step 7.*learning rate") as caught:
        rig.capture.flush()
    assert caught.value.reason == "DIVERGED"


def test_nothing_waits_in_the_hot_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """No scalar is read on the host before a flush: on CUDA that would wait for the device."""
    rig = Rig()

    def forbidden(self: torch.Tensor) -> float:
        raise AssertionError("a tensor was read in the hot loop")

    with monkeypatch.context() as patch:
        patch.setattr(torch.Tensor, "item", forbidden)
        patch.setattr(torch.Tensor, "tolist", forbidden)
        patch.setattr(torch.Tensor, "__float__", forbidden)
        rig.steps(1, 4)
    rig.capture.flush()
    assert dataclasses.astuple(rig.segments[0].snapshots[3])[:4] == (4, 4.0, 0.1, 2.0)
