"""The small interfaces that a run is put together from.

Implementations of `Objective` live in `objectives/`, optimizers in `optimizers/`, mentors in
`mentors/`; which of them a run uses is decided in `trainer_service.composition` alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from mentorgrad.domain.advice import (
    Answer,
    Batch,
    Constraints,
    Outcomes,
    PositionHints,
    Proposal,
    ProposalRequest,
    ProposalStatus,
    TaskCard,
    Wants,
)
from mentorgrad.domain.run import Candidate, Score
from trainer_service.tasks.data import Row

if TYPE_CHECKING:  # the control plane reads this module too, and must not import torch
    import torch
    from torch import Tensor


class ProposalRejected(Exception):
    """A proposal cannot be scored; says what becomes of it."""

    def __init__(self, status: ProposalStatus, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail


@dataclass(frozen=True)
class Projected:
    """A parameter written as words."""

    text: str
    """Nearest words, joined by spaces (or the numbers, for ``function``)."""
    ids: tuple[int, ...]
    """Nearest token of each position; empty where there are no tokens."""
    distance: float
    """Mean distance to those tokens, in the projection's metric."""


@dataclass(frozen=True)
class Embedded:
    """A proposal as a parameter."""

    parameters: Tensor
    """float32 of the objective's shape."""
    filled: tuple[int, ...]
    """Positions that the proposal fills; the others keep the incumbent's vectors."""


@dataclass(frozen=True)
class Baseline:
    """What there is before any tuning, on *test*."""

    zero_shot: Score | None
    """The bare label words."""
    majority_accuracy: float | None
    """Share of the most frequent class."""


class Objective(Protocol):
    """What is optimised and how a parameter is scored.

    Scoring never touches live parameters, is batched over the first dimension, and counts nothing:
    the caller charges the budget. Everything is deterministic given its inputs on a CPU.
    """

    card: TaskCard
    """What a mentor is told."""
    constraints: Constraints
    """What a proposal must satisfy."""
    shape: tuple[int, ...]
    """Shape of one parameter."""
    device: torch.device
    """Where the parameters live."""
    train_rows: int
    """Rows of *train*; 1 where there is no data."""
    has_words: bool
    """Whether a projection is a different parameter, worth scoring for itself."""
    has_hints: bool
    """Whether a gradient can speak for tokens: there are gradients, and tokens to speak for."""
    rows: tuple[Row, ...]
    """The rows of *train*; none where there is no data."""
    digest: str
    """SHA-256 over the rows of all splits; empty where there is no data."""

    def initial(self, generator: torch.Generator) -> Tensor:
        """float32 [*shape]: where the run starts. `generator` is a CPU generator."""
        ...

    def gradients(self, parameters: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """[k, *shape], int64 train row indices [batch] → k mean losses on these rows, float32 [k],
        and the gradient of each, [k, *shape]."""
        ...

    def score(self, parameters: Tensor) -> list[Score]:
        """[k, *shape] → k scores on the whole selection split."""
        ...

    def test(self, parameters: Tensor) -> Score | None:
        """[*shape] → score on *test*; None where there is none."""
        ...

    def baseline(self) -> Baseline:
        """Figures before any tuning."""
        ...

    def project(self, parameters: Tensor) -> list[Projected]:
        """[k, *shape] → k projections, batched."""
        ...

    def toward(self, start: Tensor, parameters: Tensor) -> list[str]:
        """[*shape], [k, *shape] → the words each moved towards: nearest to the displacement."""
        ...

    def embed_ids(self, ids: Sequence[int], incumbent: Tensor) -> Tensor:
        """Token ids → [*shape]; positions without an id keep the incumbent's vectors."""
        ...

    def embed(self, proposal: Proposal, incumbent: Tensor) -> Embedded:
        """A proposal as a parameter.

        Raises:
            ProposalRejected: Too long, empty, malformed or out of bounds.
        """
        ...

    def random_proposal(self, generator: torch.Generator) -> Proposal:
        """Random real tokens (a uniform point, for ``function``), without an id."""
        ...

    def random_parameters(self, generator: torch.Generator, incumbent: Tensor) -> Tensor:
        """[*shape]: random, not made of tokens, of the scale of `initial`; what no proposal is
        about (a classifier) is the incumbent's."""
        ...

    def hints(self, parameters: Tensor, rows: Tensor, count: int) -> tuple[PositionHints, ...]:
        """What the gradient of the train loss says of each position, by one backward pass.

        The score of a token v is gradient · (e_v − e), e being the present vector: by how much the
        loss would change to first order (HotFlip, Ebrahimi et al., ACL 2018). Whole words alone
        take part. Where each class has a prompt, the scores are summed over the classes, since a
        proposal's words fill them all.

        Args:
            parameters: [*shape].
            rows: int64 train row indices [batch].
            count: Tokens a position, the most negative scores first.

        Returns:
            By position; none where `has_hints` is false or the gradient is not finite.
        """
        ...

    def row_losses(self, parameters: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """[k, *shape], int64 train row indices [n] → losses in nats, float32 [k, n], and the labels
        that the rows are taken for, int64 [k, n]. What was scored just before costs little."""
        ...

    def meanings(self, texts: Sequence[str], parameters: Tensor) -> Tensor:
        """Candidates as float32 [k, width] of length 1: alike where they mean the like.

        Args:
            texts: Of k candidates.
            parameters: [k, *shape], theirs.
        """
        ...

    def artifacts(self, parameters: Tensor) -> dict[str, bytes]:
        """Name → content of the files that a finished run leaves; one of them is
        ``prompt.safetensors``, and equal parameters give equal bytes."""
        ...


class Optimizer(Protocol):
    """Takes gradient steps on one parameter that it is handed; owns nothing but its moments."""

    def step(self, parameters: Tensor, gradient: Tensor, learning_rate: float) -> Tensor:
        """Updates `parameters` in place.

        Returns:
            Gradient norm, a scalar tensor on the parameters' device (no synchronisation).
        """
        ...

    def state(self) -> dict[str, Tensor]:
        """Moments and counters, copied; empty when fresh."""
        ...

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Restores what `state` gave; an empty mapping resets."""
        ...


@dataclass(frozen=True)
class Scored:
    """A candidate together with its parameters, as the pool keeps it."""

    candidate: Candidate
    """What is recorded."""
    parameters: Tensor
    """float32 [*shape], never written to."""


class Mentor(Protocol):
    """A source of proposals: a remote mentor service, or a control.

    `observe` and `report` never block and never raise; `propose` blocks for at most the request's
    timeout and answers every trouble with a typed status. All are called from the run's thread, but
    `propose` from one of its own where steps go on meanwhile, and one at a time; `cancel` may be
    called from any thread and ends a pending `propose`.
    """

    @property
    def wants(self) -> Wants:
        """What it wants to be sent; may change when a session opens."""
        ...

    def wait_open(self, timeout: float) -> bool:
        """Waits, for at most `timeout` seconds, until `wants` is its own; whether it is."""
        ...

    def observe(self, batch: Batch) -> None:
        """Takes in a piece of the trajectory (the batch's seq is set by the mentor itself)."""
        ...

    def propose(
        self, request: ProposalRequest, incumbent: Scored, pool: Sequence[Scored]
    ) -> Answer:
        """Proposals or a typed outcome.

        Args:
            request: What is asked.
            incumbent: Where the run would go on from.
            pool: The candidates so far; a remote mentor has been sent them already.
        """
        ...

    def report(self, outcomes: Outcomes) -> None:
        """What became of the proposals."""
        ...

    def cancel(self) -> None:
        """Ends a pending `propose`, with status CANCELLED."""
        ...

    def close(self) -> None:
        """Ends the session."""
        ...
