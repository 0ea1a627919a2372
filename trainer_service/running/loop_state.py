"""The state of a run between two steps: exactly what a checkpoint saves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum

from torch import Tensor

from mentorgrad.domain.advice import Answer
from mentorgrad.domain.run import preference
from mentorgrad.domain.spec import Criterion
from trainer_service.protocols import Scored
from trainer_service.running.budget import Ledger
from trainer_service.running.scoring import Origin

MAX_POOL = 512
"""Maximum number of candidates in the pool; the worst are dropped."""

MAX_POOL_BYTES = 64 * 1024 * 1024
"""Maximum bytes of their parameters: a checkpoint contains the pool, and blobs are limited."""


class LoopPhase(StrEnum):
    """The next phase of the loop. Each phase ends by queuing its events and setting the next phase,
    so that a checkpoint between any two steps is consistent with the log."""

    STAGE = "stage"
    ASK = "ask"
    WAIT = "wait"
    DECIDE = "decide"
    DONE = "done"


@dataclass
class Pool:
    """The candidates so far."""

    entries: list[Scored] = field(default_factory=list)
    """In order of arrival."""
    criterion: Criterion = Criterion.LOSS
    """What ranks them."""

    def preference(self, scored: Scored) -> tuple[float, float]:
        """Sort key of candidates, the best first."""
        return preference(scored.candidate.score, self.criterion)

    def add(self, scored: Sequence[Scored], spared: str = "") -> None:
        """Adds candidates. If the pool is too large, the worst old candidates are dropped, except
        the one with the id `spared`."""
        self.entries.extend(scored)
        each = max(scored[0].parameters.nbytes, 1) if scored else 1
        limit = max(min(MAX_POOL, MAX_POOL_BYTES // each), len(scored) + 2)
        excess = len(self.entries) - limit
        if excess > 0:
            fresh = {s.candidate.candidate_id for s in scored} | {spared, f"{spared}/words"}
            old = [s for s in self.entries if s.candidate.candidate_id not in fresh]
            worst = sorted(old, key=self.preference, reverse=True)[:excess]
            gone = {s.candidate.candidate_id for s in worst}
            self.entries = [s for s in self.entries if s.candidate.candidate_id not in gone]

    def get(self, candidate_id: str) -> Scored | None:
        """A candidate by id."""
        return next((s for s in self.entries if s.candidate.candidate_id == candidate_id), None)


@dataclass
class LoopState:
    """The state of a run. The optimizer holds its moments; a checkpoint saves them too."""

    ledger: Ledger
    """Usage and budget."""
    parameters: Tensor
    """The live parameters, float32 [*shape]."""
    origin: Origin
    """The current stage and its start."""
    best: Scored
    """The best candidate of the whole run by its criterion; the earliest in case of a tie."""
    pool: Pool = field(default_factory=Pool)
    """Candidates so far."""
    phase: LoopPhase = LoopPhase.STAGE
    """The next phase."""
    step: int = 0
    """Steps of the trajectory, without probe steps."""
    stage_begin: int = 0
    """Value of `step` at the beginning of the current stage."""
    stage_length: int = 0
    """Steps of the current stage; an upper limit while a request is pending."""
    kept: dict[int, Tensor] = field(default_factory=dict)
    """Snapshots of the current stage that will be scored, by step."""
    incumbent_id: str = ""
    """Id of the incumbent: the stage's last snapshot once it is scored, or the start of a stage
    without steps; empty if the budget did not allow scoring it."""
    start_id: str = ""
    """Id of the candidate from which the current stage started; empty if it was not scored."""
    answer: Answer | None = None
    """The mentor's answer, until the restart is decided."""
    asked_step: int | None = None
    """Step at which the pending request was sent, in overlapped mode."""
    hinted: bool = False
    """Whether the stage's request contains a gradient hint."""
    answer_is_fallback: bool = False
    """Whether `answer` is the fallback's."""
    restarts: int = 0
    """Restarts from a proposal so far."""
    mentor_lost: bool = False
    """Whether the mentor did not answer the last request."""
    tuned_model: str = ""
    """The tuned model at the run's start; see `Problem.tuned_model`."""
    parts: int = 1
    """Parts that a step's batch is divided into; see `Problem.parts`."""
    earlier_time: timedelta = timedelta(0)
    """Execution time of earlier attempts, up to the checkpoint."""

    @property
    def stage(self) -> int:
        """Number of the current stage, from 0."""
        return self.origin.stage

    @property
    def stage_end(self) -> int:
        """The last possible step of the current stage."""
        return self.stage_begin + self.stage_length

    @property
    def lag(self) -> int:
        """Steps taken since the pending request was sent."""
        return 0 if self.asked_step is None else self.step - self.asked_step

    @property
    def incumbent(self) -> Scored:
        """The candidate from which the run continues if no proposal is accepted."""
        found = self.pool.get(self.incumbent_id)
        if found is None:
            raise LookupError(f"the incumbent {self.incumbent_id!r} is not in the pool")
        return found

    def take(self, scored: Sequence[Scored]) -> None:
        """Adds new candidates to the pool and updates `best`."""
        self.pool.add(scored, self.incumbent_id or self.start_id)
        best = min(scored, key=self.pool.preference)
        if self.pool.preference(best) < self.pool.preference(self.best):
            self.best = best
