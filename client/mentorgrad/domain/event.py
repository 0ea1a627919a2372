"""The run event: the one thing that flows. A run *is* its log of events, numbered from 1."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

import numpy as np

from mentorgrad.domain.advice import Answer, ProposalOutcome
from mentorgrad.domain.run import Candidate, RunResult, RunState, Snapshot, Usage
from mentorgrad.domain.spec import Policy, RunSpec
from mentorgrad.schema import bounded, evolve, figure, recorded, snake_case


@dataclass(frozen=True)
class Created:
    """The run was accepted and queued."""

    spec: RunSpec = field(default_factory=RunSpec)
    """With all defaults filled in."""
    request_id: str = ""
    """The creator's key."""
    versions: dict[str, str] = bounded(factory=dict, max_length=100)
    """Versions of the libraries that shape the result."""
    task_digest: str = ""
    """SHA-256 over the task's rows; empty for objectives without data."""
    trace_parent: str = ""
    """W3C ``traceparent`` of the call that created it; empty when that was not traced."""


@dataclass(frozen=True)
class StateChanged:
    """The run went to another state."""

    state: RunState = RunState.QUEUED
    """The new state."""
    reason: str = recorded()
    """Why, in one line."""


@dataclass(frozen=True)
class StageStarted:
    """A stage begins."""

    stage: int = 0
    """From 0."""
    step: int = 0
    """Steps taken before it."""
    text: str = recorded()
    """The starting point in words."""
    device: str = ""
    """Where it is computed, for example ``cpu`` or ``cuda:0``."""


@dataclass(frozen=True)
class Segment:
    """Consecutive snapshots of one stage."""

    stage: int = 0
    """The stage."""
    step_start: int = 0
    """Step of the first snapshot."""
    step_end: int = 0
    """Step of the last snapshot, inclusive."""
    snapshots: tuple[Snapshot, ...] = ()
    """In order of step."""
    parameters: np.ndarray | None = None
    """float32 [snapshots, *shape]; stored apart, present in the FULL view only."""


@dataclass(frozen=True)
class CandidatesScored:
    """Candidates were scored on the selection split."""

    stage: int = 0
    """The stage."""
    candidates: tuple[Candidate, ...] = bounded((), max_length=10_000)
    """Newly scored."""
    usage: Usage = field(default_factory=Usage)
    """The run's usage so far, these included."""


@dataclass(frozen=True)
class ProposalsReceived:
    """The mentor answered, or did not."""

    stage: int = 0
    """Stage that had ended."""
    answer: Answer = field(default_factory=Answer)
    """Proposals or a typed outcome, with the raw reply."""
    is_fallback: bool = False
    """Whether the fallback answered instead of the mentor."""
    usage: Usage = field(default_factory=Usage)
    """The run's usage so far, this call included."""
    lag_steps: int = 0
    """Gradient steps taken between asking and applying; 0 where the run waited."""


@dataclass(frozen=True)
class Branch:
    """One way of going on that was looked at."""

    candidate_id: str = ""
    """The incumbent's or a proposal's candidate."""
    loss_before: float = figure()
    """Selection loss before any probe step."""
    loss_after: float | None = figure(None)
    """Selection loss after the probe steps, in a race."""


@dataclass(frozen=True)
class RestartDecided:
    """It was decided what the next stage starts from."""

    stage: int = 0
    """Stage that had ended."""
    policy: Policy = Policy.RACE
    """How it was decided."""
    restarted: bool = False
    """Whether a proposal was chosen over the incumbent."""
    chosen_id: str = ""
    """Candidate that goes on."""
    incumbent_id: str = ""
    """Candidate that would have gone on."""
    branches: tuple[Branch, ...] = bounded((), max_length=1000)
    """What was compared, the incumbent first."""
    outcomes: tuple[ProposalOutcome, ...] = bounded((), max_length=1000)
    """What became of each proposal."""
    reason: str = recorded()
    """Why, in one line."""
    usage: Usage = field(default_factory=Usage)
    """The run's usage so far, the race included."""


@dataclass(frozen=True)
class CheckpointSaved:
    """The state from which the run can be resumed exactly."""

    step: int = 0
    """Steps of the trajectory taken."""
    artifact: str = ""
    """Name of the blob."""
    size_bytes: int = 0
    """Length of the blob."""
    sha256: str = ""
    """Digest of the blob in hexadecimal."""


@dataclass(frozen=True)
class MentorLost:
    """The mentor does not answer; the run goes on without."""

    mentor: str = ""
    """Its name."""
    reason: str = recorded()
    """Why, in one line."""


@dataclass(frozen=True)
class MentorBack:
    """The mentor answers again."""

    mentor: str = ""
    """Its name."""


@dataclass(frozen=True)
class Resumed:
    """A new attempt goes on; events of older attempts after the checkpoint are superseded."""

    checkpoint_seq: int = 0
    """Number of the `CheckpointSaved` event gone on from; 0: from the beginning."""
    reason: str = recorded()
    """Why it had stopped."""


@dataclass(frozen=True)
class Finished:
    """The last event of a run that ended by itself."""

    state: RunState = RunState.SUCCEEDED
    """A final state."""
    result: RunResult | None = None
    """Present when it succeeded."""
    error: str = recorded()
    """One line, when it failed."""


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
)
"""What an event says."""


class EventKind(StrEnum):
    """The kinds of events, to filter by; each is its payload's name in snake case."""

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


@dataclass(frozen=True)
class RunEvent:
    """One event of a run's log."""

    run_id: str
    """The run."""
    seq: int
    """From 1, without gaps."""
    attempt: int
    """Which worker wrote it; 0: the control plane before any worker."""
    time: datetime
    """When it was written (UTC)."""
    payload: Payload
    """What it says."""

    @property
    def kind(self) -> EventKind:
        """The kind of its payload."""
        return EventKind(snake_case(type(self.payload).__name__))

    def summary(self) -> RunEvent:
        """The event without raw tensors."""
        if isinstance(self.payload, Segment) and self.payload.parameters is not None:
            return evolve(self, payload=evolve(self.payload, parameters=None))
        return self
