"""How far a run is: all that a checkpoint holds, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum

from torch import Tensor

from mentorgrad.domain.advice import Answer
from trainer_service.protocols import Scored
from trainer_service.running.budget import Ledger
from trainer_service.running.scoring import Origin

MAX_POOL = 512
"""Most candidates kept with their parameters; beyond it the worst ones go."""

MAX_POOL_BYTES = 64 * 1024 * 1024
"""Most bytes of their parameters: a checkpoint holds the pool, and a blob has a limit."""


class LoopPhase(StrEnum):
    """What comes next. Each phase ends with its events queued and the next phase set, so that a
    checkpoint between any two steps agrees with the log."""

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

    def add(self, scored: Sequence[Scored], spared: str = "") -> None:
        """Takes in new candidates; when there are too many, the worst old ones go, but the one
        named `spared`."""
        self.entries.extend(scored)
        each = max(scored[0].parameters.nbytes, 1) if scored else 1
        limit = max(min(MAX_POOL, MAX_POOL_BYTES // each), len(scored) + 2)
        excess = len(self.entries) - limit
        if excess > 0:
            fresh = {s.candidate.candidate_id for s in scored} | {spared, f"{spared}/words"}
            old = [s for s in self.entries if s.candidate.candidate_id not in fresh]
            worst = sorted(old, key=lambda s: s.candidate.score.loss, reverse=True)[:excess]
            gone = {s.candidate.candidate_id for s in worst}
            self.entries = [s for s in self.entries if s.candidate.candidate_id not in gone]

    def get(self, candidate_id: str) -> Scored | None:
        """A candidate by id."""
        return next((s for s in self.entries if s.candidate.candidate_id == candidate_id), None)


@dataclass
class LoopState:
    """Where a run is. The optimizer's moments are the optimizer's, and saved along with this."""

    ledger: Ledger
    """What was spent."""
    parameters: Tensor
    """The live parameters, float32 [*shape]."""
    origin: Origin
    """The present stage and its start."""
    best: Scored
    """Lowest selection loss of the whole run; of equals, the earlier."""
    pool: Pool = field(default_factory=Pool)
    """Candidates so far."""
    phase: LoopPhase = LoopPhase.STAGE
    """What comes next."""
    step: int = 0
    """Steps of the trajectory, probe steps not included."""
    stage_begin: int = 0
    """Of these, before the present stage."""
    stage_length: int = 0
    """Steps that the present stage takes; at most so many while a question is under way."""
    kept: dict[int, Tensor] = field(default_factory=dict)
    """Snapshots of the present stage that will be scored, by step."""
    incumbent_id: str = ""
    """The stage's last snapshot, once scored, or its start where it takes no steps; empty when the
    budget did not allow it."""
    start_id: str = ""
    """Candidate whose parameters the present stage began with; empty where they were not scored."""
    answer: Answer | None = None
    """What the mentor said, while it is decided upon."""
    asked_step: int | None = None
    """Step at which the stage's question was sent, while the stage goes on behind it."""
    hinted: bool = False
    """Whether the stage's question comes with a gradient hint."""
    answer_is_fallback: bool = False
    """Whether the fallback said it."""
    restarts: int = 0
    """Restarts that went on from a proposal."""
    mentor_lost: bool = False
    """Whether the mentor did not answer when last asked."""
    earlier_time: timedelta = timedelta(0)
    """Worker's time of the attempts before this one, up to the checkpoint."""

    @property
    def stage(self) -> int:
        """The present stage."""
        return self.origin.stage

    @property
    def stage_end(self) -> int:
        """Step at which the present stage ends at the latest."""
        return self.stage_begin + self.stage_length

    @property
    def lag(self) -> int:
        """Steps taken since the question under way was asked."""
        return 0 if self.asked_step is None else self.step - self.asked_step

    @property
    def incumbent(self) -> Scored:
        """The candidate that would go on."""
        found = self.pool.get(self.incumbent_id)
        if found is None:
            raise LookupError(f"the incumbent {self.incumbent_id!r} is not in the pool")
        return found

    def take(self, scored: Sequence[Scored]) -> None:
        """New candidates join the pool; the best one is remembered."""
        self.pool.add(scored, self.incumbent_id or self.start_id)
        best = min(scored, key=lambda s: s.candidate.score.loss)
        if best.candidate.score.loss < self.best.candidate.score.loss:
            self.best = best
