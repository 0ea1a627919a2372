"""Run events.

A run is its log of events, numbered from 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

import numpy as np

from mentorgrad.domain.advice import Answer, ProposalOutcome
from mentorgrad.domain.annotation import RunAnnotation
from mentorgrad.domain.label_score import LabelScore
from mentorgrad.domain.run import Candidate, RunResult, RunState, Snapshot, Usage
from mentorgrad.domain.spec import Policy, RunSpec
from mentorgrad.schema import bounded, evolve, figure, recorded, snake_case


@dataclass(frozen=True)
class Created:
    """The run was accepted and queued."""

    spec: RunSpec = field(default_factory=RunSpec)
    """The spec with all defaults filled in."""
    request_id: str = ""
    """Idempotency key chosen by the caller of CreateRun."""
    versions: dict[str, str] = bounded(factory=dict, max_length=100)
    """Versions of the libraries that affect the result."""
    task_digest: str = ""
    """SHA-256 digest of the task's rows; empty for objectives without data."""
    trace_parent: str = ""
    """W3C ``traceparent`` of the call that created the run; empty if that call was not traced."""
    annotation: RunAnnotation | None = None
    """Labels and note of the run at the time when its log is read, if they were edited. No event
    records an edit; an import takes them over."""


@dataclass(frozen=True)
class StateChanged:
    """The run changed state."""

    state: RunState = RunState.QUEUED
    """New state."""
    reason: str = recorded()
    """Reason, in one line."""


@dataclass(frozen=True)
class StageStarted:
    """A stage started."""

    stage: int = 0
    """Stage number, from 0."""
    step: int = 0
    """Steps of the trajectory before this stage."""
    text: str = recorded()
    """Starting point written as words."""
    device: str = ""
    """Device that computes the stage, for example ``cpu`` or ``cuda:0``. Of a run on several
    devices, all of them, separated by commas."""
    tuned_model: str = ""
    """Tuned model of `served_prompt`: the name that its server reports, or the file's name and
    SHA-256."""


@dataclass(frozen=True)
class Segment:
    """Consecutive snapshots of one stage."""

    stage: int = 0
    """Stage number."""
    step_start: int = 0
    """Step of the first snapshot."""
    step_end: int = 0
    """Step of the last snapshot, inclusive."""
    snapshots: tuple[Snapshot, ...] = ()
    """Snapshots in step order."""
    parameters: np.ndarray | None = None
    """Raw parameters, float32 [snapshots, *shape]; stored separately and present only in the FULL
    view."""
    forward_rows: int = 0
    """Forward rows of the run up to the last of these steps; 0 if they are not counted."""
    train_time: timedelta | None = None
    """Time of training up to the last of these steps, as `Usage.train_time` counts it; None if it
    is not measured."""


@dataclass(frozen=True)
class CandidatesScored:
    """Candidates were scored on the selection split."""

    stage: int = 0
    """Stage number."""
    candidates: tuple[Candidate, ...] = bounded((), max_length=10_000)
    """Newly scored candidates."""
    usage: Usage = field(default_factory=Usage)
    """Usage of the run so far, including these evaluations."""


@dataclass(frozen=True)
class ProposalsReceived:
    """The mentor answered, or the request ended without an answer."""

    stage: int = 0
    """Stage that has ended."""
    answer: Answer = field(default_factory=Answer)
    """Proposals or a status that says why there are none, with the raw replies."""
    is_fallback: bool = False
    """Whether the fallback answered instead of the mentor."""
    usage: Usage = field(default_factory=Usage)
    """Usage of the run so far, including this request."""
    lag_steps: int = 0
    """Gradient steps taken between the request and the use of its answer; 0 if the run waited."""


@dataclass(frozen=True)
class Branch:
    """One of the starting points compared in a restart decision."""

    candidate_id: str = ""
    """Id of the incumbent or of a proposal's candidate."""
    loss_before: float = figure()
    """Selection loss before any probe step."""
    loss_after: float | None = figure(None)
    """Selection loss after the probe steps, if there was a race."""


@dataclass(frozen=True)
class RestartDecided:
    """The starting point of the next stage was decided."""

    stage: int = 0
    """Stage that has ended."""
    policy: Policy = Policy.RACE
    """Policy that decided."""
    restarted: bool = False
    """Whether a proposal was chosen over the incumbent."""
    chosen_id: str = ""
    """Id of the candidate from which the run continues."""
    incumbent_id: str = ""
    """Id of the incumbent."""
    branches: tuple[Branch, ...] = bounded((), max_length=1000)
    """Starting points that were compared, the incumbent first."""
    outcomes: tuple[ProposalOutcome, ...] = bounded((), max_length=1000)
    """What happened to each proposal."""
    reason: str = recorded()
    """Reason, in one line."""
    usage: Usage = field(default_factory=Usage)
    """Usage of the run so far, including the race."""
    settings: Mapping[str, Any] | None = bounded(None, max_length=64)
    """Settings of the gradient steps from here on; None if the run has none."""


@dataclass(frozen=True)
class CheckpointSaved:
    """A checkpoint was saved from which the run can be resumed exactly."""

    step: int = 0
    """Steps of the trajectory at the checkpoint."""
    artifact: str = ""
    """Artifact name of the checkpoint."""
    size_bytes: int = 0
    """Size of the checkpoint, in bytes."""
    sha256: str = ""
    """SHA-256 digest of the checkpoint, in hexadecimal."""


@dataclass(frozen=True)
class StepDivided:
    """A step lacked memory and was repeated in more parts; the steps after it are divided
    likewise."""

    stage: int = 0
    """Stage number."""
    step: int = 0
    """Steps of the trajectory so far."""
    parts: int = 0
    """Parts that the batch of a step is divided into."""
    rows_at_once: int = 0
    """Maximum train rows of a part."""


@dataclass(frozen=True)
class MentorLost:
    """The mentor does not answer; the run continues without it."""

    mentor: str = ""
    """Name of the mentor."""
    reason: str = recorded()
    """Reason, in one line."""


@dataclass(frozen=True)
class MentorBack:
    """The mentor answers again."""

    mentor: str = ""
    """Name of the mentor."""


@dataclass(frozen=True)
class Resumed:
    """A new attempt continues the run. Events of older attempts after the checkpoint are
    superseded."""

    checkpoint_seq: int = 0
    """Sequence number of the `CheckpointSaved` event that the attempt continues from; 0: the run
    starts from the beginning."""
    reason: str = recorded()
    """Why the previous attempt stopped."""


@dataclass(frozen=True)
class Finished:
    """The run ended with a result or an error; the last event of such a run."""

    state: RunState = RunState.SUCCEEDED
    """Final state."""
    result: RunResult | None = None
    """Result; present if the run succeeded."""
    error: str = recorded()
    """Error in one line, if the run failed."""
    label_scores: tuple[LabelScore, ...] = bounded((), max_length=1_000)
    """What is predicted for the test rows of each label, in the order of the labels. Empty if the
    objective has no classes, or the run no test rows."""


Payload = (
    Created
    | StateChanged
    | StageStarted
    | Segment
    | CandidatesScored
    | ProposalsReceived
    | RestartDecided
    | CheckpointSaved
    | MentorLost
    | MentorBack
    | Resumed
    | Finished
    | StepDivided
)
"""Content of an event."""


class EventKind(StrEnum):
    """Event kinds, used as a filter. The name of a kind is its payload's name in snake case."""

    CREATED = "created"
    STATE_CHANGED = "state_changed"
    STAGE_STARTED = "stage_started"
    SEGMENT = "segment"
    CANDIDATES_SCORED = "candidates_scored"
    PROPOSALS_RECEIVED = "proposals_received"
    RESTART_DECIDED = "restart_decided"
    CHECKPOINT_SAVED = "checkpoint_saved"
    MENTOR_LOST = "mentor_lost"
    MENTOR_BACK = "mentor_back"
    RESUMED = "resumed"
    FINISHED = "finished"
    STEP_DIVIDED = "step_divided"


@dataclass(frozen=True)
class RunEvent:
    """One event of a run's log."""

    run_id: str
    """Id of the run."""
    seq: int
    """Sequence number within the run, from 1, without gaps."""
    attempt: int
    """Number of the worker attempt that wrote the event; 0: the control plane, before any
    worker."""
    time: datetime
    """Time of writing (UTC)."""
    payload: Payload
    """Content of the event."""

    @property
    def kind(self) -> EventKind:
        """Kind of the event's payload."""
        return EventKind(snake_case(type(self.payload).__name__))

    def summary(self) -> RunEvent:
        """A copy of the event without raw tensors."""
        if isinstance(self.payload, Segment) and self.payload.parameters is not None:
            return evolve(self, payload=evolve(self.payload, parameters=None))
        return self
