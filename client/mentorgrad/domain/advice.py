"""Messages exchanged between a trainer and a mentor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Any

import numpy as np

from mentorgrad.domain.run import Candidate, Score, Snapshot
from mentorgrad.schema import NAME_PATTERN, bounded, figure, recorded


class ProposalKind(StrEnum):
    """Form of a proposal."""

    TEXT = "text"
    NUMBERS = "numbers"
    SETTINGS = "settings"


class AnswerStatus(StrEnum):
    """Status of a mentor's answer. Only ``usable`` comes with proposals."""

    USABLE = "usable"
    UNUSABLE = "unusable"
    TIMED_OUT = "timed_out"
    UNAVAILABLE = "unavailable"
    REFUSED = "refused"
    CANCELLED = "cancelled"


class ProposalStatus(StrEnum):
    """What happened to one proposal."""

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
    """Description of the job that the mentor receives."""

    objective: str = bounded("", max_length=100)
    """Name of the objective, for example ``label_prompt``."""
    description: str = bounded("", max_length=500)
    """One-line description: what is classified, or which function is minimised."""
    labels: tuple[str, ...] = bounded((), max_length=1000)
    """Label words."""
    proposal: str = bounded("", max_length=500)
    """What a proposal is and how it acts, as a noun phrase that completes "the parameter is ...".
    Empty: for text, a phrase in front of each class name; for numbers, a point of a function."""
    place: str = bounded("", max_length=100)
    """Where a text proposal is placed, for example ``in front of every text``; ``{label}`` stands
    for the label word of each class. Empty: ``in front of {label}``."""


@dataclass(frozen=True)
class Constraints:
    """Constraints that a proposal must satisfy."""

    kind: ProposalKind = ProposalKind.TEXT
    """Text, numbers or settings."""
    n_tokens: int = bounded(8, ge=1, le=4096)
    """Maximum number of tokens in a text proposal, counted with the trainer's tokenizer."""
    max_words: int = bounded(8, ge=1, le=4096)
    """Maximum number of words the mentor should write, chosen so that few proposals are too
    long."""
    dimensions: int = bounded(0, ge=0, le=10_000)
    """Length of a numeric proposal."""
    lower: float = bounded(0.0)
    """Lower bound of each number."""
    upper: float = bounded(0.0)
    """Upper bound of each number."""
    settings_schema: Mapping[str, Any] | None = bounded(None, max_length=64)
    """JSON Schema of the settings, an object all of whose properties are required. A property has
    one of the values that its ``enum`` lists, or is a list of ``minItems`` = ``maxItems`` different
    ones of those that the ``enum`` of its ``items`` lists. Present if the kind is ``settings``."""


@dataclass(frozen=True)
class AdviseOpen:
    """First message of a session."""

    session_id: str = bounded("", required=True, max_length=200)
    """Session name chosen by the caller; used in logs."""
    card: TaskCard = field(default_factory=TaskCard)
    """Description of the job."""
    constraints: Constraints = field(default_factory=Constraints)
    """Constraints that proposals must satisfy."""
    strategy: str = bounded("maao", required=True, pattern=NAME_PATTERN)
    """Strategy name."""
    options: Mapping[str, Any] = bounded(factory=dict, max_length=64)
    """Strategy options, validated against the strategy's JSON Schema."""
    seed: int = bounded(0, ge=0, le=2**63 - 1)
    """Random seed of the session."""


@dataclass(frozen=True)
class Wants:
    """Data that a strategy needs from the caller."""

    words: bool = True
    """Snapshots written as words."""
    parameters: bool = False
    """Raw parameters of snapshots."""
    hints: bool = False
    """Gradient hints in proposal requests."""
    embeddings: bool = False
    """Candidate embeddings in batches."""
    exemplars: bool = False
    """Train rows in proposal requests, and each candidate's losses on them in batches. Sent only if
    the run spec allows showing rows to the mentor."""


@dataclass(frozen=True)
class Accepted:
    """Reply to `AdviseOpen`."""

    wants: Wants = field(default_factory=Wants)
    """Data that the strategy needs from the caller."""
    model: str = ""
    """Reference of the mentor's model."""
    profile: str = ""
    """Model profile, which selects the form of the questions."""


@dataclass(frozen=True)
class Batch:
    """Part of the trajectory: snapshots of one stage, candidates, or both."""

    seq: int = bounded(0, ge=0)
    """Sequence number of the batch within the session, from 1. The mentor acknowledges it."""
    stage: int = bounded(0, ge=0)
    """Stage that the snapshots belong to."""
    snapshots: tuple[Snapshot, ...] = bounded((), max_length=100_000)
    """Snapshots in step order."""
    parameters: np.ndarray | None = None
    """Raw parameters, float32 [snapshots, *shape]; sent if the strategy wants them or the run
    captures them."""
    candidates: tuple[Candidate, ...] = bounded((), max_length=10_000)
    """Newly scored candidates from any source."""
    embeddings: np.ndarray | None = None
    """Unit vectors that embed each candidate's words, float32 [candidates, width]; sent if the
    strategy wants them."""
    exemplar_losses: np.ndarray | None = None
    """Loss of each candidate on each exemplar of the session, float32 [candidates, exemplars], with
    exemplars in request order; sent if the strategy wants exemplars."""


@dataclass(frozen=True)
class TokenHint:
    """One token that the gradient favours or disfavours."""

    token: str = bounded("", max_length=200)
    """Token, a whole word."""
    score: float = figure()
    """First-order estimate of the change in train loss: gradient x (token embedding - current
    vector). Negative is better. Source: HotFlip, Ebrahimi et al., ACL 2018."""


@dataclass(frozen=True)
class PositionHints:
    """Gradient hints for one position of the soft prompt."""

    position: int = bounded(0, ge=0)
    """Position, from 0."""
    current: str = recorded(max_length=200)
    """Word nearest to the current vector."""
    tokens: tuple[TokenHint, ...] = bounded((), max_length=256)
    """Tokens that lower the loss most, best first."""


@dataclass(frozen=True)
class Exemplar:
    """One train row that a strategy may show to the LLM."""

    text: str = bounded("", max_length=2_000)
    """Text of the row."""
    label: str = bounded("", max_length=200)
    """Label word of the row."""
    predicted: str = bounded("", max_length=200)
    """Label word that the incumbent predicts."""
    loss: float = figure()
    """Loss of the incumbent on the row, in nats."""


@dataclass(frozen=True)
class ProposalRequest:
    """Requests proposals."""

    request_id: str = bounded("", required=True, max_length=200)
    """Unique within the run. If an answer for this id was already recorded, it is not counted
    again."""
    stage: int = bounded(0, ge=0)
    """Stage that has just ended."""
    incumbent_id: str = bounded("", max_length=200)
    """Candidate from which the run would continue without a restart."""
    count: int = bounded(8, ge=1, le=256)
    """Number of proposals requested."""
    seed: int = bounded(0, ge=0, le=2**63 - 1)
    """Random seed of this answer."""
    timeout: timedelta = bounded(timedelta(seconds=60), gt=0.0, le=3600.0)
    """Maximum time the caller waits for the answer."""
    trace_parent: str = bounded("", max_length=200)
    """W3C ``traceparent`` of the request, since a session carries many requests but only one set of
    metadata; empty if the request is not traced."""
    hints: tuple[PositionHints, ...] = bounded((), max_length=4_096)
    """Gradient hints at the incumbent, computed on a train batch, one entry per position; sent if
    the strategy wants hints and the objective has gradients."""
    exemplars: tuple[Exemplar, ...] = bounded((), max_length=256)
    """Train rows, the same in every request of a run; sent if the strategy wants them."""
    progress: float = bounded(0.0, ge=0.0, le=1.0)
    """Share of the run's budget that is spent, from 0 to 1."""


@dataclass(frozen=True)
class Proposal:
    """A candidate that the mentor suggests."""

    proposal_id: str = ""
    """Unique within the run, for example ``s1/p3``."""
    text: str = recorded()
    """Text to embed as the soft prompt, for proposals of kind `text`."""
    values: tuple[float, ...] = bounded((), max_length=10_000, finite=False)
    """Point, for proposals of kind ``numbers``."""
    parameters: np.ndarray | None = None
    """Raw parameters; only controls propose these."""
    parents: tuple[str, ...] = bounded((), max_length=4_096)
    """Ids of the candidates that the proposal is derived from."""
    rationale: str = recorded()
    """The mentor's explanation, if the strategy requests one."""
    base_id: str = bounded("", max_length=200)
    """Id of the candidate that the proposal edits: positions that the proposal does not fill keep
    that candidate's vectors. Empty: the incumbent."""
    weight: float = bounded(1.0, gt=0.0, le=1.0)
    """Weight of the proposal's vectors at the positions it fills; the base's vectors have the
    remaining weight."""
    settings: Mapping[str, Any] | None = bounded(None, max_length=64)
    """Settings of the gradient steps from the incumbent on, for proposals of kind ``settings``: a
    value for each property of the schema."""


@dataclass(frozen=True)
class AnswerRecord:
    """How an answer was produced; recorded completely with the run."""

    mentor: str = ""
    """Name of the mentor or control."""
    strategy: str = ""
    """Strategy name; empty for controls."""
    model: str = ""
    """Model reference; empty for controls."""
    profile: str = ""
    """Model profile."""
    seed: int = 0
    """Random seed that was used."""
    question: str = recorded(max_length=4_000_000)
    """Question sent to the LLM."""
    raw_replies: tuple[str, ...] = bounded((), max_length=4_000_000, verbatim=True)
    """Unmodified LLM output, one text per reply sampled in the same call."""
    prompt_tokens: int = 0
    """Number of tokens in the question."""
    reply_tokens: int = 0
    """Number of tokens in the replies."""
    duration: timedelta = timedelta(0)
    """Time from request to answer, measured by the mentor or control."""


@dataclass(frozen=True)
class Answer:
    """Proposals, or a status that says why there are none."""

    request_id: str = ""
    """Id of the answered request."""
    status: AnswerStatus = AnswerStatus.USABLE
    """Status of the answer."""
    proposals: tuple[Proposal, ...] = ()
    """Proposals; at least one if the status is ``usable``."""
    records: tuple[AnswerRecord, ...] = ()
    """One record per LLM call made for this answer."""
    detail: str = recorded()
    """Reason if the answer is not usable, and what was discarded."""


@dataclass(frozen=True)
class ProposalOutcome:
    """What happened to one proposal."""

    proposal_id: str = ""
    """Id of the proposal."""
    status: ProposalStatus = ProposalStatus.NOT_CHOSEN
    """What happened to the proposal."""
    score: Score | None = None
    """Score before any gradient step, if the proposal was scored."""
    probe_loss: float | None = figure(None)
    """Selection loss after the probe steps, if the proposal entered a race."""
    detail: str = recorded(max_length=2_000)
    """One line of explanation, if the status alone is not enough."""


@dataclass(frozen=True)
class Outcomes:
    """What happened to the proposals of one request."""

    request_id: str = bounded("", required=True, max_length=200)
    """Id of the request."""
    outcomes: tuple[ProposalOutcome, ...] = bounded((), max_length=1000)
    """One entry per proposal."""


@dataclass(frozen=True)
class ProposeInput:
    """All data of a single proposal request: the unary form of a session."""

    open: AdviseOpen = field(default_factory=AdviseOpen)
    """Session parameters: job, constraints, strategy and seed."""
    batches: tuple[Batch, ...] = bounded((), max_length=10_000)
    """Trajectory so far."""
    request: ProposalRequest = field(default_factory=ProposalRequest)
    """The proposal request."""


@dataclass(frozen=True)
class StrategyInfo:
    """One strategy that a mentor offers."""

    name: str = ""
    """Strategy name."""
    description: str = ""
    """One-line description."""
    options_schema: Mapping[str, Any] = field(default_factory=dict)
    """JSON Schema of the strategy's options."""
    wants: Wants = field(default_factory=Wants)
    """Data that the strategy needs from the caller."""
    kinds: tuple[ProposalKind, ...] = ()
    """What it can propose; empty: not known."""


@dataclass(frozen=True)
class MentorInfo:
    """Capabilities and limits of a mentor."""

    model: str = ""
    """Model reference."""
    backend: str = ""
    """Backend: ``llama_cpp``, ``openai`` or ``scripted``."""
    profile: str = ""
    """Model profile."""
    strategies: tuple[StrategyInfo, ...] = ()
    """Available strategies."""
    max_proposals: int = 0
    """Maximum number of proposals per request."""
    context_tokens: int = 0
    """Maximum number of tokens of a question and its reply together."""
    version: str = ""
    """Service version."""
