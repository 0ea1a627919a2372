"""Captures the trajectory: snapshots are buffered on the device and flushed in segments.

Parameters that are larger than a segment may be are not recorded, only losses and words.

The training loop only copies tensors into preallocated rows and never synchronizes with the device.
On CUDA there are two buffers: while one is filled, the other is copied to pinned memory on a
separate stream, and the host reads it after the copy's event has completed.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor

from mentorgrad.domain.advice import Batch
from mentorgrad.domain.event import Segment
from mentorgrad.domain.run import Snapshot
from mentorgrad.domain.spec import Capture as CaptureSpec
from mentorgrad.domain.spec import CaptureContent
from mentorgrad.errors import PreconditionFailed
from run_store.invariants import MAX_SEGMENT_BYTES
from trainer_service.mentors.fallback import FallbackMentor
from trainer_service.protocols import Objective, Projected

DIVERGED = "DIVERGED"
"""Reason of the error for a loss that is not finite."""

SEGMENT_BYTES = 256 * 1024
"""Size of the raw tensors at which a segment is flushed."""
SEGMENT_SECONDS = 0.25
"""Age at which a segment is flushed."""
MAX_SNAPSHOTS = 1024
"""Maximum number of snapshots per segment."""


def changed_positions(before: Sequence[int], after: Sequence[int]) -> int:
    """Number of positions whose nearest token differs."""
    return sum(a != b for a, b in zip(before, after, strict=False))


@dataclass
class _Ring:
    """Rows for the snapshots of one segment, on the device and (on CUDA) in pinned memory."""

    parameters: Tensor
    scalars: Tensor
    host_parameters: Tensor
    host_scalars: Tensor
    stage: int = 0
    stage_ids: tuple[int, ...] = ()
    steps: list[int] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    forward_rows: int = 0
    train_time: timedelta | None = None
    copied: Any = None
    began: float = 0.0


class TrajectoryCapture:
    """Collects snapshots and emits them as segments.

    Args:
        spec: What to capture.
        objective: Projects parameters to words.
        record: Called with each segment, for the log.
        mentor: Receives the same snapshots as a batch.
        clock: Monotonic time in seconds, for the age of a segment.

    The methods raise `PreconditionFailed` (reason DIVERGED) if a training loss is not finite.
    """

    def __init__(
        self,
        spec: CaptureSpec,
        objective: Objective,
        record: Callable[[Segment], object],
        mentor: FallbackMentor,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._spec = spec
        self._objective = objective
        self._record = record
        self._mentor = mentor
        self._clock = clock
        self._on = spec.content is not CaptureContent.OFF
        size = max(4 * math.prod(objective.shape), 1)
        self._are_recordable = size <= MAX_SEGMENT_BYTES
        self._with_parameters = (
            spec.content is CaptureContent.TEXT_AND_PARAMETERS and self._are_recordable
        )
        self._cuda = objective.device.type == "cuda"
        self.capacity = min(max(SEGMENT_BYTES // size, 1), MAX_SNAPSHOTS)
        self._rings = [self._ring() for _ in range(2 if self._cuda else 1)] if self._on else []
        self._stream: Any = None
        if self._cuda and self._on:
            self._stream = torch.cuda.Stream(objective.device)  # type: ignore[no-untyped-call]
        self._current = 0
        self._pending: _Ring | None = None
        self._stage = 0
        self._stage_ids: tuple[int, ...] = ()

    def _ring(self) -> _Ring:
        shape, device = self._objective.shape, self._objective.device
        parameters = torch.zeros((self.capacity, *shape), device=device)
        scalars = torch.zeros((self.capacity, 2), device=device)
        if not self._cuda:
            return _Ring(parameters, scalars, parameters, scalars)
        pinned = torch.zeros((self.capacity, *shape), pin_memory=True)
        return _Ring(parameters, scalars, pinned, torch.zeros((self.capacity, 2), pin_memory=True))

    def begin_stage(self, stage: int, start_ids: tuple[int, ...]) -> None:
        """Begins a stage. `start_ids` are the nearest tokens at its start; snapshots count the
        positions that differ from them."""
        self.flush()
        self._stage, self._stage_ids = stage, start_ids

    def add(
        self,
        step: int,
        learning_rate: float,
        loss: Tensor,
        norm: Tensor,
        parameters: Tensor,
        *,
        forward_rows: int = 0,
        train_time: timedelta | None = None,
    ) -> None:
        """Captures the parameters [*shape] after a step, if the spec selects that step; the run has
        cost so many forward rows and so much time until then."""
        if not self._on or step % self._spec.every:
            return
        ring = self._rings[self._current]
        row = len(ring.steps)
        if row == 0:
            ring.began, ring.stage, ring.stage_ids = self._clock(), self._stage, self._stage_ids
        with torch.no_grad():
            ring.parameters[row].copy_(parameters)
            ring.scalars[row, 0].copy_(loss)
            ring.scalars[row, 1].copy_(norm)
        ring.steps.append(step)
        ring.rates.append(learning_rate)
        ring.forward_rows, ring.train_time = forward_rows, train_time
        if row + 1 == self.capacity or self._clock() - ring.began >= SEGMENT_SECONDS:
            self._turn()

    def flush(self) -> None:
        """Emits everything captured so far."""
        if self._on:
            self._turn()
            self._deliver()

    def _turn(self) -> None:
        """Starts the copy of the current buffer to the host and switches to the next buffer."""
        ring = self._rings[self._current]
        self._deliver()  # the other ring, which is filled next
        if not ring.steps:
            return
        if self._stream is not None:
            self._stream.wait_stream(torch.cuda.current_stream(self._objective.device))
            with torch.cuda.stream(self._stream):
                ring.host_parameters.copy_(ring.parameters, non_blocking=True)
                ring.host_scalars.copy_(ring.scalars, non_blocking=True)
                ring.copied = torch.cuda.Event()  # type: ignore[no-untyped-call]
                ring.copied.record(self._stream)
        self._pending = ring
        self._current = (self._current + 1) % len(self._rings)
        if self._stream is None:
            self._deliver()

    def _deliver(self) -> None:
        ring, self._pending = self._pending, None
        if ring is None:
            return
        if ring.copied is not None:
            ring.copied.synchronize()
        losses = ring.host_scalars[: len(ring.steps), 0].tolist()
        count = next((i for i, loss in enumerate(losses) if not math.isfinite(loss)), len(losses))
        if count:  # those before a loss that is not finite are kept
            self._emit(ring, count)
        if count < len(losses):
            # The loss of a step is that of the parameters before it.
            step = ring.steps[count]
            start_remedy = self._objective.problem.start_remedy if step == 1 else ""
            raise diverged("training loss", losses[count], step, start_remedy)
        ring.steps, ring.rates, ring.copied = [], [], None

    def _emit(self, ring: _Ring, count: int) -> None:
        """Records the first snapshots of a buffer as a segment, and sends them to the mentor."""
        projected = self._objective.language.project(ring.parameters[:count])
        raw = ring.host_parameters[:count].numpy().copy()
        snapshots = _snapshots(ring, ring.host_scalars[:count].tolist(), projected)
        self._record(
            Segment(
                ring.stage,
                ring.steps[0],
                ring.steps[count - 1],
                snapshots,
                raw if self._with_parameters else None,
                ring.forward_rows,
                ring.train_time,
            )
        )
        wanted = self._with_parameters or (self._are_recordable and self._mentor.wants.parameters)
        self._mentor.observe(
            Batch(stage=ring.stage, snapshots=snapshots, parameters=raw if wanted else None)
        )


def diverged(what: str, loss: float, step: int, start_remedy: str = "") -> PreconditionFailed:
    """The error for a loss that is not finite.

    Args:
        what: Which loss, for example ``selection loss``.
        loss: The loss.
        step: The step that it is recorded with.
        start_remedy: What to change if it is that of a start, before any gradient step.
    """
    remedy = start_remedy or "try a lower learning rate"
    return PreconditionFailed(f"the {what} is {loss} at step {step}; {remedy}", reason=DIVERGED)


def _snapshots(
    ring: _Ring, scalars: Sequence[Sequence[float]], projected: Sequence[Projected]
) -> tuple[Snapshot, ...]:
    return tuple(
        Snapshot(step, loss, rate, norm, words.text, changed_positions(ring.stage_ids, words.ids))
        for step, rate, (loss, norm), words in zip(
            ring.steps, ring.rates, scalars, projected, strict=False
        )
    )
