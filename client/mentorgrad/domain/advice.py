"""What passes between a trainer and a mentor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Any

import numpy as np

from mentorgrad.domain.run import Candidate, Score, Snapshot
from mentorgrad.domain.spec import NAME_PATTERN
from mentorgrad.schema import bounded, figure, recorded


class ProposalKind(StrEnum):
    """What a proposal is made of."""

    TEXT = "text"
    NUMBERS = "numbers"


class AnswerStatus(StrEnum):
    """What came of asking the mentor. Everything but ``usable`` carries no proposals."""

    USABLE = "usable"
    UNUSABLE = "unusable"
    TIMED_OUT = "timed_out"
    UNAVAILABLE = "unavailable"
    REFUSED = "refused"
    CANCELLED = "cancelled"


class ProposalStatus(StrEnum):
    """What became of one proposal."""

    APPLIED = "applied"
    LOST = "lost"
    NOT_CHOSEN = "not_chosen"
    DUPLICATE = "duplicate"
    EMPTY = "empty"
    TOO_LONG = "too_long"
    OUT_OF_BOUNDS = "out_of_bounds"
    MALFORMED = "malformed"
    OVER_BUDGET = "over_budget"


@dataclass(frozen=True)
class TaskCard:
    """What a mentor is told about the job."""

    objective: str = bounded("", max_length=100)
    """Name of the objective, for example ``label_prompt``."""
    description: str = bounded("", max_length=500)
    """One line: what is classified, or which function is minimised."""
    labels: tuple[str, ...] = bounded((), max_length=1000)
    """Label words."""


@dataclass(frozen=True)
class Constraints:
    """What a proposal must satisfy."""

    kind: ProposalKind = ProposalKind.TEXT
    """Words or numbers."""
    n_tokens: int = bounded(8, ge=1, le=4096)
    """Most tokens of a text proposal in the *trainer's* tokenizer."""
    max_words: int = bounded(8, ge=1, le=4096)
    """Most words that a mentor should write, so that few proposals are too long."""
    dimensions: int = bounded(0, ge=0, le=10_000)
    """Length of a vector of numbers."""
    lower: float = bounded(0.0)
    """Least value of a number."""
    upper: float = bounded(0.0)
    """Greatest value of a number."""


@dataclass(frozen=True)
class AdviseOpen:
    """The first message of a session."""

    session_id: str = bounded("", required=True, max_length=200)
    """The caller's name for the session; for the logs."""
    card: TaskCard = field(default_factory=TaskCard)
    """What the job is."""
    constraints: Constraints = field(default_factory=Constraints)
    """What proposals must satisfy."""
    strategy: str = bounded("maao", required=True, pattern=NAME_PATTERN)
    """Name of the strategy."""
    options: Mapping[str, Any] = bounded(factory=dict, max_length=64)
    """Its options, checked against its JSON Schema."""
    seed: int = bounded(0, ge=0, le=2**63 - 1)
    """Seed of the session."""


@dataclass(frozen=True)
class Wants:
    """What a strategy wants to be sent."""

    words: bool = True
    """Snapshots in words."""
    parameters: bool = False
    """Raw parameters of snapshots."""
    hints: bool = False
    """Gradient hints in proposal requests."""
    embeddings: bool = False
    """Embeddings of candidates beside them, in batches."""
    exemplars: bool = False
    """Train rows in proposal requests, and every candidate's losses on them in batches; only where
    the spec shows rows to the mentor."""


@dataclass(frozen=True)
class Accepted:
    """The mentor's answer to an open."""

    wants: Wants = field(default_factory=Wants)
    """What the strategy wants to be sent."""
    model: str = ""
    """Reference of the model behind the mentor."""
    profile: str = ""
    """The model profile that shapes the questions."""


@dataclass(frozen=True)
class Batch:
    """A piece of the trajectory: snapshots of one stage, or candidates, or both."""

    seq: int = bounded(0, ge=0)
    """Number of the batch in its session, from 1; acknowledged by the mentor."""
    stage: int = bounded(0, ge=0)
    """Stage of the snapshots."""
    snapshots: tuple[Snapshot, ...] = bounded((), max_length=100_000)
    """In order of step."""
    parameters: np.ndarray | None = None
    """float32 [snapshots, *shape], when the strategy wants them or the capture says so."""
    candidates: tuple[Candidate, ...] = bounded((), max_length=10_000)
    """Newly scored candidates, of whatever source."""
    embeddings: np.ndarray | None = None
    """float32 [candidates, width], unit vectors of what their words mean, when the strategy wants
    them."""
    exemplar_losses: np.ndarray | None = None
    """float32 [candidates, exemplars]: each candidate's loss on each exemplar of the session, in
    the order of the requests, when the strategy wants exemplars."""


@dataclass(frozen=True)
class TokenHint:
    """One token that the gradient speaks for or against."""

    token: str = bounded("", max_length=200)
    """A whole word."""
    score: float = figure()
    """gradient x (token's embedding - present vector): by how much the train loss would change to
    first order; negative is better (HotFlip, Ebrahimi et al., ACL 2018)."""


@dataclass(frozen=True)
class PositionHints:
    """What the gradient says of one position of the prompt."""

    position: int = bounded(0, ge=0)
    """Position, from 0."""
    current: str = bounded("", max_length=200)
    """Nearest word of the present vector."""
    tokens: tuple[TokenHint, ...] = bounded((), max_length=256)
    """The tokens that lower the loss most, best first."""


@dataclass(frozen=True)
class Exemplar:
    """One train row as a strategy may show it."""

    text: str = bounded("", max_length=2_000)
    """The text."""
    label: str = bounded("", max_length=200)
    """Its label word."""
    predicted: str = bounded("", max_length=200)
    """What the incumbent takes it for."""
    loss: float = figure()
    """The incumbent's loss on it, in nats."""


@dataclass(frozen=True)
class ProposalRequest:
    """Asks for proposals."""

    request_id: str = bounded("", required=True, max_length=200)
    """Unique within the run; an answer already given for it is not counted twice."""
    stage: int = bounded(0, ge=0)
    """Stage that has just ended."""
    incumbent_id: str = bounded("", max_length=200)
    """Candidate that the run would go on from."""
    count: int = bounded(8, ge=1, le=256)
    """Proposals wanted."""
    seed: int = bounded(0, ge=0, le=2**63 - 1)
    """Seed of this answer."""
    timeout: timedelta = bounded(timedelta(seconds=60), gt=0.0, le=3600.0)
    """How long the caller will wait."""
    trace_parent: str = bounded("", max_length=200)
    """W3C ``traceparent`` of what asks, since a session has many requests and one set of metadata;
    empty when it is not traced."""
    hints: tuple[PositionHints, ...] = bounded((), max_length=4_096)
    """What the gradient on a train batch says at the incumbent, when the strategy wants hints and
    the objective has gradients; by position."""
    exemplars: tuple[Exemplar, ...] = bounded((), max_length=256)
    """Train rows, the same in every request of a run, when the strategy wants them."""
    progress: float = bounded(0.0, ge=0.0, le=1.0)
    """Share of the run's budget that is spent, from 0 to 1."""


@dataclass(frozen=True)
class Proposal:
    """A candidate that the mentor suggests."""

    proposal_id: str = ""
    """Unique within the run, for example ``s1/p3``."""
    text: str = recorded()
    """Words to put in front, for ``text``."""
    values: tuple[float, ...] = bounded((), max_length=10_000, finite=False)
    """The point, for ``numbers``."""
    parameters: np.ndarray | None = None
    """Raw parameters; only controls propose these."""
    parents: tuple[str, ...] = bounded((), max_length=4_096)
    """Candidates it was made from."""
    rationale: str = recorded()
    """Why, in the mentor's words, where the strategy asks for it."""
    base_id: str = bounded("", max_length=200)
    """Candidate that the proposal is an edit of: positions that it does not fill keep that
    candidate's vectors; empty: the incumbent."""
    weight: float = bounded(1.0, gt=0.0, le=1.0)
    """Weight of the proposal's own vectors where it fills positions; the rest is the base's."""


@dataclass(frozen=True)
class AnswerRecord:
    """How an answer came about; recorded whole with the run."""

    mentor: str = ""
    """Name of the mentor or control."""
    strategy: str = ""
    """Strategy; empty for controls."""
    model: str = ""
    """Model reference; empty for controls."""
    profile: str = ""
    """Model profile."""
    seed: int = 0
    """Seed that was used."""
    question: str = recorded(max_length=4_000_000)
    """What the LLM was shown."""
    raw_replies: tuple[str, ...] = bounded((), max_length=4_000_000, verbatim=True)
    """What it said, untouched: one text for each reply that was drawn together."""
    prompt_tokens: int = 0
    """Tokens of the question."""
    reply_tokens: int = 0
    """Tokens of the reply."""
    duration: timedelta = timedelta(0)
    """Time from request to answer, as the answerer saw it."""


@dataclass(frozen=True)
class Answer:
    """Proposals, or a typed outcome."""

    request_id: str = ""
    """The request it answers."""
    status: AnswerStatus = AnswerStatus.USABLE
    """What came of it."""
    proposals: tuple[Proposal, ...] = ()
    """At least one if usable."""
    records: tuple[AnswerRecord, ...] = ()
    """One for each LLM call that was made for it."""
    detail: str = recorded()
    """Why, when not usable; and what was dropped."""


@dataclass(frozen=True)
class ProposalOutcome:
    """What became of one proposal."""

    proposal_id: str = ""
    """The proposal."""
    status: ProposalStatus = ProposalStatus.NOT_CHOSEN
    """What became of it."""
    score: Score | None = None
    """Before any step, if it was scored."""
    probe_loss: float | None = figure(None)
    """Selection loss after its probe steps, if it raced."""
    detail: str = recorded(max_length=2_000)
    """One line, where the status does not say it all."""


@dataclass(frozen=True)
class Outcomes:
    """What became of the proposals of one request."""

    request_id: str = bounded("", required=True, max_length=200)
    """The request."""
    outcomes: tuple[ProposalOutcome, ...] = bounded((), max_length=1000)
    """One a proposal."""


@dataclass(frozen=True)
class ProposeInput:
    """All that a single question needs: the unary form of a session."""

    open: AdviseOpen = field(default_factory=AdviseOpen)
    """What the job is."""
    batches: tuple[Batch, ...] = bounded((), max_length=10_000)
    """The trajectory."""
    request: ProposalRequest = field(default_factory=ProposalRequest)
    """The question."""


@dataclass(frozen=True)
class StrategyInfo:
    """One strategy that a mentor offers."""

    name: str = ""
    """Name to ask for it by."""
    description: str = ""
    """One line."""
    options_schema: Mapping[str, Any] = field(default_factory=dict)
    """JSON Schema of its options."""
    wants: Wants = field(default_factory=Wants)
    """What it wants to be sent."""


@dataclass(frozen=True)
class MentorInfo:
    """What a mentor is and can do."""

    model: str = ""
    """Model reference."""
    backend: str = ""
    """``llama_cpp``, ``openai`` or ``scripted``."""
    profile: str = ""
    """Model profile."""
    strategies: tuple[StrategyInfo, ...] = ()
    """What can be asked for."""
    max_proposals: int = 0
    """Most proposals of one request."""
    context_tokens: int = 0
    """Longest question and reply together."""
    version: str = ""
    """Version of the service."""
