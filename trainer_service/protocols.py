"""The interfaces between the parts of a run: `Objective`, `Optimizer` and `Mentor`.

Implementations live in `objectives/`, `optimizers/` and `mentors/`. Only
`trainer_service.composition` decides which of them a run uses.
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
    """A proposal cannot be scored; holds the status and detail of its outcome."""

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
    """Id of the nearest token at each position; empty for an objective without tokens."""
    distance: float
    """Mean distance to these tokens, in the projection's metric."""


@dataclass(frozen=True)
class Embedded:
    """A proposal as a parameter."""

    parameters: Tensor
    """float32 of the objective's shape."""
    filled: tuple[int, ...]
    """Positions that the proposal fills; the others keep the incumbent's vectors."""


@dataclass(frozen=True)
class Baseline:
    """Reference figures on *test*, without any tuning."""

    zero_shot: Score | None
    """Score of the label words without a prompt; None if there is none."""
    majority_accuracy: float | None
    """Accuracy of always predicting the most frequent class, from 0 to 1."""


class Objective(Protocol):
    """What is optimised and how a parameter is scored.

    Scoring never changes the parameters passed in and is batched over the first dimension. It does
    not charge the budget; the caller does. On a CPU every method is deterministic given its inputs.
    """

    card: TaskCard
    """The task's description and labels, as a mentor is shown them."""
    constraints: Constraints
    """The constraints that a proposal must satisfy."""
    shape: tuple[int, ...]
    """Shape of one parameter."""
    device: torch.device
    """Device of the parameters."""
    train_rows: int
    """Number of *train* rows; 1 for an objective without data."""
    has_words: bool
    """Whether the projection of a parameter is a parameter of its own, with a score of its own."""
    has_hints: bool
    """Whether `hints` is supported: the objective has tokens and gradients."""
    rows: tuple[Row, ...]
    """The rows of *train*; empty for an objective without data."""
    digest: str
    """SHA-256 over the rows of all splits; empty for an objective without data."""

    def initial(self, generator: torch.Generator) -> Tensor:
        """The initial parameter, float32 [*shape]. `generator` is a CPU generator."""
        ...

    def gradients(self, parameters: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """[k, *shape], int64 train row indices [batch] → the mean loss of each parameter on these
        rows in nats, float32 [k], and its gradient, [k, *shape]."""
        ...

    def score(self, parameters: Tensor) -> list[Score]:
        """[k, *shape] → k scores on the whole selection split."""
        ...

    def test(self, parameters: Tensor) -> Score | None:
        """[*shape] → score on *test*; None without a test split."""
        ...

    def baseline(self) -> Baseline:
        """Reference figures without any tuning."""
        ...

    def project(self, parameters: Tensor) -> list[Projected]:
        """[k, *shape] → k projections, batched."""
        ...

    def toward(self, start: Tensor, parameters: Tensor) -> list[str]:
        """[*shape], [k, *shape] → for each of the k parameters, the words nearest to its
        displacement from `start`."""
        ...

    def embed_ids(self, ids: Sequence[int], incumbent: Tensor) -> Tensor:
        """Token ids → [*shape]; positions without an id keep the incumbent's vectors."""
        ...

    def embed(self, proposal: Proposal, incumbent: Tensor) -> Embedded:
        """Converts a proposal to a parameter.

        Raises:
            ProposalRejected: The proposal is too long, empty, malformed or out of bounds.
        """
        ...

    def random_proposal(self, generator: torch.Generator) -> Proposal:
        """A proposal of random tokens (a uniform point, for ``function``), without an id."""
        ...

    def random_parameters(self, generator: torch.Generator, incumbent: Tensor) -> Tensor:
        """Random values of the same scale as `initial`, float32 [*shape], not made of tokens. Parts
        that proposals never change (a classifier) are copied from `incumbent`."""
        ...

    def hints(self, parameters: Tensor, rows: Tensor, count: int) -> tuple[PositionHints, ...]:
        """The tokens that the gradient of the train loss favours at each position.

        This takes one backward pass. The score of a token v is gradient · (e_v − e), where e is
        the present vector: the first-order change of the loss (HotFlip, Ebrahimi et al., ACL
        2018). Only whole-word tokens are considered. If each class has its own prompt, the scores
        are summed over the classes, because a proposal's words fill all prompts.

        Args:
            parameters: [*shape].
            rows: int64 train row indices [batch].
            count: Tokens per position, the most negative scores first.

        Returns:
            Hints by position; empty if `has_hints` is false or the gradient is not finite.
        """
        ...

    def row_losses(self, parameters: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """[k, *shape], int64 train row indices [n] → losses in nats, float32 [k, n], and predicted
        labels, int64 [k, n]. Results of recently scored parameters are cached."""
        ...

    def meanings(self, texts: Sequence[str], parameters: Tensor) -> Tensor:
        """Embeddings of k candidates, float32 [k, width] of norm 1: similar texts are close.

        Args:
            texts: Texts of the k candidates.
            parameters: Their parameters, [k, *shape].
        """
        ...

    def artifacts(self, parameters: Tensor) -> dict[str, bytes]:
        """Name → content of the artifacts of a finished run. One is ``prompt.safetensors``; equal
        parameters give equal bytes."""
        ...


class Optimizer(Protocol):
    """Takes gradient steps on a parameter that is passed in; its only state is its moments."""

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

    `observe` and `report` never block and never raise. `propose` blocks for at most the request's
    timeout and reports every failure as a typed status. The run's thread makes all calls, except
    that in overlapped mode `propose` is called from a separate thread; there is at most one
    `propose` at a time. `cancel` may be called from any thread and ends a pending `propose`.
    """

    @property
    def wants(self) -> Wants:
        """The data that the mentor asks to be sent; may change when a session opens."""
        ...

    def wait_open(self, timeout: float) -> bool:
        """Waits up to `timeout` seconds for the first session, from which on `wants` is the
        mentor's own; returns whether there is one."""
        ...

    def observe(self, batch: Batch) -> None:
        """Takes the next part of the trajectory (the mentor sets the batch's seq itself)."""
        ...

    def propose(
        self, request: ProposalRequest, incumbent: Scored, pool: Sequence[Scored]
    ) -> Answer:
        """Asks for proposals; returns them, or a typed status without proposals.

        Args:
            request: The request.
            incumbent: The candidate that the run continues from if no proposal is accepted.
            pool: The candidates so far; a remote mentor has been sent them already.
        """
        ...

    def report(self, outcomes: Outcomes) -> None:
        """Takes the outcome of each proposal."""
        ...

    def cancel(self) -> None:
        """Ends a pending `propose`, with status CANCELLED."""
        ...

    def close(self) -> None:
        """Ends the session."""
        ...
