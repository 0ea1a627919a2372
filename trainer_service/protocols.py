"""The interfaces between the parts of a run: `Objective`, `Optimizer` and `Mentor`.

Implementations live in `objectives/`, `optimizers/` and `mentors/`. The tables
`trainer_service.objectives.table` and `trainer_service.optimizers.table` list the first two, and
`trainer_service.run_composition` decides which parts a run uses.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
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
from mentorgrad.domain.run import Candidate
from trainer_service.training_settings import TrainingSettings

if TYPE_CHECKING:  # the control plane reads this module too, and must not import torch
    import torch
    from torch import Tensor

    from trainer_service.objectives.problem import Problem


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
    settings: TrainingSettings | None = None
    """Of proposed settings: the settings, within the schema; the parameters are the incumbent's."""


class RandomWords(StrEnum):
    """What random words are drawn from."""

    VOCABULARY = "vocabulary"
    TRAIN_TEXTS = "train_texts"


class Language(Protocol):
    """Converts between parameters and what a mentor reads and writes: words, or numbers.

    Nothing here changes the parameters passed in. On a CPU every method is deterministic given its
    inputs; random numbers come from CPU generators that are passed in.
    """

    constraints: Constraints
    """The constraints that a proposal must satisfy."""
    has_words: bool
    """Whether the projection of a parameter is a parameter of its own, with a score of its own."""
    has_hints: bool
    """Whether `hints` is supported: there are tokens."""
    can_blend: bool
    """Whether points between two parameters are parameters: not so for texts."""
    sections: tuple[int, ...]
    """Of a parameter that can be written neither as words nor as numbers: how many numbers each
    part has that belongs together, in order. Proposals are then parameters, and recombination takes
    each section from one parent. Otherwise empty."""
    word_lead: str
    """What a text of whole words begins with, for the first to take as many tokens as elsewhere: a
    space, or nothing."""

    def initial(self, generator: torch.Generator) -> Tensor:
        """The initial parameter, float32 [*shape]."""
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
            ProposalRejected: The proposal is too long, empty, malformed or out of bounds; settings
                are outside the schema.
        """
        ...

    def random_proposal(
        self, generator: torch.Generator, words: RandomWords | None = None
    ) -> Proposal:
        """A proposal of random words (a uniform point, for numbers), without an id.

        Args:
            generator: Random numbers.
            words: What the words are drawn from; None: the default of this language.

        Raises:
            ProposalRejected: There is no word to draw.
        """
        ...

    def random_parameters(self, generator: torch.Generator, incumbent: Tensor) -> Tensor:
        """Random values of the same scale as `initial`, float32 [*shape], not made of tokens. Parts
        that proposals never change (a classifier) are copied from `incumbent`."""
        ...

    def perturbed(self, point: Tensor, scale: float, generator: torch.Generator) -> Tensor:
        """A parameter near another one, on the CPU: Gaussian noise is added; in texts, words are
        replaced.

        Args:
            point: [*shape], on the CPU.
            scale: Standard deviation of the noise, relative to that of the parameters (of a uniform
                draw from the range, for numbers); for texts, the probability of each word.
            generator: Random numbers.
        """
        ...

    def hints(self, parameters: Tensor, gradient: Tensor, count: int) -> tuple[PositionHints, ...]:
        """The tokens that the gradient of the train loss favours at each position.

        The score of a token v is gradient · (e_v − e), where e is the present vector: the
        first-order change of the loss (HotFlip, Ebrahimi et al., ACL 2018). Only whole-word tokens
        are considered. If each class has its own prompt, the scores are summed over the classes,
        because a proposal's words fill all prompts.

        Args:
            parameters: [*shape].
            gradient: [*shape].
            count: Tokens per position, the most negative scores first.

        Returns:
            Hints by position; empty without tokens, or if the gradient is not finite.
        """
        ...

    def meanings(self, texts: Sequence[str], parameters: Tensor) -> Tensor:
        """Embeddings of k candidates, float32 [k, width] of norm 1: similar texts are close.

        Args:
            texts: Texts of the k candidates.
            parameters: Their parameters, [k, *shape].
        """
        ...


Export = Callable[["Tensor"], dict[str, bytes]]
"""Parameter [*shape] → name → content of the files of a finished run. One is
``prompt.safetensors``; equal parameters give equal bytes."""


@dataclass(frozen=True)
class Objective:
    """What is optimised, how a parameter is scored, and how it is read and written as words."""

    problem: Problem
    """The losses of parameters."""
    language: Language
    """Parameters as words or numbers."""
    export: Export
    """The files of a result."""
    card: TaskCard
    """The task, as a mentor is shown it: its description and labels, and what a proposal is."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one parameter."""
        return self.problem.shape

    @property
    def device(self) -> torch.device:
        """Device of the parameters."""
        return self.problem.device

    @property
    def devices(self) -> tuple[str, ...]:
        """Devices of the run's processes, this one's first."""
        group = self.problem.group
        return (str(self.device),) if group is None else group.devices

    @property
    def has_hints(self) -> bool:
        """Whether there are gradient hints: they need tokens and gradients."""
        return self.language.has_hints and self.problem.has_gradients

    def close(self) -> None:
        """Ends the run's other processes, and frees what the problem holds."""
        if self.problem.group is not None:
            self.problem.group.close()
        self.problem.close()


class Oracle(Protocol):
    """Answers an optimizer's questions about one step's batch, and counts what they cost."""

    @property
    def unit(self) -> float:
        """The scale of the parameters; see `Problem.unit`."""
        ...

    def losses(self, points: Tensor) -> Tensor:
        """[k, *shape] → losses on the batch, float32 [k]. Costs one forward pass per point."""
        ...

    def values(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """[k, *shape] → losses, and what the run's criterion makes of the batch, both float32 [k].
        The lower the better: the loss itself, or the negative accuracy, macro F1 or Matthews
        coefficient. On a batch of one class, where the last two are undefined, it is the negative
        accuracy; where the loss is not finite, infinity. Costs one forward pass per point."""
        ...

    def gradient(self, point: Tensor) -> tuple[Tensor, Tensor]:
        """[*shape] → loss, a scalar, and gradient [*shape]. Costs a forward and backward pass.

        Raises:
            PreconditionFailed: The objective has no gradients.
        """
        ...

    def derivative(self, point: Tensor, direction: Tensor) -> tuple[Tensor, Tensor]:
        """[*shape], [*shape] → loss and its derivative along the direction, scalars, computed in
        forward mode. Costs as much as two forward passes.

        Raises:
            PreconditionFailed: The objective has no gradients.
        """
        ...

    def generator(self) -> torch.Generator:
        """A CPU generator of random numbers for this step; the same each time, also after a
        resume."""
        ...


@dataclass(frozen=True, eq=False)
class Step:
    """What an optimizer step reports: scalar tensors on the device, so that nothing waits."""

    loss: Tensor
    """Loss on the batch before the step; the mean over the points that the step asked about, if
    the parameters are not among them."""
    norm: Tensor
    """Euclidean norm of the gradient per unit, or of its estimate, before clipping; of the move,
    for an optimizer that estimates no gradient."""


class Optimizer(Protocol):
    """Takes steps on a parameter that is passed in; its only state is its moments."""

    def step(self, parameters: Tensor, oracle: Oracle, learning_rate: float) -> Step:
        """Updates `parameters` [*shape] in place, by asking the oracle. `learning_rate` is the
        spec's, times the unit."""
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
