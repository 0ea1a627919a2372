"""Interfaces of the mentor service: backends and strategies.

A strategy turns the knowledge of a session into questions and the replies into proposals; a
backend answers one question. Neither depends on gRPC, and a strategy does not depend on the
backend.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Hashable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, ClassVar, Protocol

import numpy as np

from mentor_service.profiles import Profile
from mentor_service.similarity import exact_forms
from mentorgrad.domain.advice import (
    AdviseOpen,
    Answer,
    Batch,
    Outcomes,
    ProposalRequest,
    Wants,
)
from mentorgrad.domain.run import Candidate, Snapshot


@dataclass(frozen=True)
class Question:
    """One question to an LLM."""

    system: str
    """System prompt; may be empty."""
    user: str
    """User prompt."""
    grammar: str
    """GBNF grammar of the reply; empty: unconstrained."""
    json_schema: Mapping[str, Any] | None
    """JSON Schema of the reply; None: unconstrained."""
    max_tokens: int
    """Maximum tokens per reply; of a chat's, without its reasoning."""
    temperature: float
    """Sampling temperature."""
    seed: int
    """Sampling seed; not negative."""
    repeat_penalty: float = 0.0
    """Frequency and presence penalty, both of this value: subtracted from a token's logit for each
    earlier use in the reply, plus once. Makes a small model's lines differ."""
    samples: int = 1
    """Number of independent replies; decoded in one batch where the backend can."""
    completes: bool = False
    """Whether `user` is a text to continue up to the end of its line, rather than a message to
    answer. `system` is then for backends that cannot continue a text: they ask both as a chat."""
    last: str = ""
    """Character that is the last one of the line too, such as a question mark; a backend may stop
    behind it."""
    distinct: bool = False
    """Whether the replies of a text to continue are drawn without replacement: no two count as
    equal, and there are fewer than `samples` if the model has no more to say. A backend that cannot
    do so draws them independently, and ignores `known`, `excluded` and `forms`."""
    known: tuple[str, ...] = ()
    """Lines that are not drawn again; empty ones never are."""
    excluded: tuple[str, ...] = ()
    """Strings that no line contains; those that are a word, as a word of its own."""
    reasoning_tokens: int = 0
    """Maximum tokens of the reasoning in front of a chat's answer."""
    forms: Callable[[str], Collection[Hashable]] = exact_forms
    """Forms of a line: lines that share one count as equal. By default, those do that differ in
    case and punctuation only."""

    @property
    def reply_tokens(self) -> int:
        """Maximum tokens of a whole reply."""
        return self.max_tokens + (0 if self.completes else self.reasoning_tokens)


@dataclass(frozen=True)
class Reply:
    """The replies to a question, one per sample, with token counts."""

    texts: tuple[str, ...]
    """Raw replies, one per sample; fewer only where the question asks for distinct ones. Reasoning
    stands in front of the answer, as `mentor_service.reasoning` reads it."""
    prompt_tokens: int
    """Tokens of the question, counted once whatever the number of samples."""
    evaluated_tokens: int
    """Tokens of the question that were evaluated, that is, not found in a prefix cache."""
    reply_tokens: int
    """Tokens of all replies together."""
    duration: timedelta
    """Time in the backend, including time in the queue."""
    finish_reasons: tuple[str, ...]
    """One per reply: ``stop``, ``length`` or ``dead_end`` (the grammar allowed no token)."""
    completed: bool = False
    """Whether the replies continue the question's text; they then end before the line break.
    Otherwise they answer a chat."""


class Backend(Protocol):
    """An LLM runtime. `ask` may be called concurrently; the backend queues the questions.

    Cancelling the awaiting task stops the generation within about one token.
    """

    name: ClassVar[str]
    """``llama_cpp``, ``openai`` or ``scripted``."""
    model: str
    """Model reference."""
    context_tokens: int
    """Maximum tokens of a question and its reply together."""

    @property
    def waiting(self) -> int:
        """Number of queued questions; with a remote server, of those in progress there."""
        ...

    async def ask(self, question: Question, timeout: float) -> Reply:
        """Answers one question within `timeout` seconds.

        Raises:
            DeadlineExceeded: There was no answer within `timeout`.
            ResourceExhausted: The queue is full; `retry_after` says when to try again.
            Unavailable: The runtime cannot be reached or failed.
            InvalidInput: The question does not fit the model (reason QUESTION_TOO_LONG).
        """
        ...

    async def check(self) -> None:
        """Health check, called every few seconds; must be cheap and not queue behind questions.

        Raises:
            Unavailable: The runtime does not work.
        """
        ...

    async def close(self) -> None:
        """Releases the model."""
        ...


@dataclass(frozen=True)
class Knowledge:
    """What a session has received: the effective trajectory, the pool and proposal outcomes."""

    open: AdviseOpen
    """The opening request: task, constraints, strategy and options."""
    snapshots: tuple[tuple[int, Snapshot], ...]
    """(stage, snapshot) in order; bounded: the oldest are thinned out first."""
    pool: Mapping[str, Candidate]
    """Candidates by id, in order of arrival; bounded: the worst are dropped first."""
    outcomes: tuple[Outcomes, ...]
    """Outcomes of earlier proposals, in order of arrival."""
    batches: tuple[Batch, ...] = ()
    """Batches with raw parameters, if the strategy wants them; bounded."""
    embeddings: Mapping[str, np.ndarray] = field(default_factory=dict)
    """Candidate id → embedding, a unit vector, float32 (width,), if the strategy wants them and the
    trainer sends them. Bounded: candidates of the pool may lack theirs."""
    exemplar_losses: Mapping[str, np.ndarray] = field(default_factory=dict)
    """Candidate id → losses on the request's exemplars, float32 (exemplars,), under the conditions
    of `embeddings`."""


Ask = Callable[[Question], Awaitable[Reply]]
"""Asks the backend, within the remaining time of the request."""


class Strategy(Protocol):
    """Turns a trajectory into questions and the replies into proposals.

    One instance serves one session and is called by one task at a time. If a reply cannot be used,
    it answers with a typed status instead of raising; errors of the backend are raised. The same
    knowledge, request and replies give the same answer: randomness comes from the request's seed,
    and there is no state besides the pool, which the client sends again after a reconnect.
    """

    @property
    def name(self) -> str:
        """Name of the strategy."""
        ...

    @property
    def wants(self) -> Wants:
        """Data that the client should send, given the options."""
        ...

    async def propose(self, request: ProposalRequest, known: Knowledge, ask: Ask) -> Answer:
        """Returns proposals that satisfy the constraints, or a typed status without proposals."""
        ...


class StrategyType(Protocol):
    """A factory of strategies: a class, or a callable with the same attributes.

    The registry holds these; other packages register them as entry points of the group
    ``mentorgrad.strategies``.
    """

    @property
    def name(self) -> str:
        """Name of the strategy."""
        ...

    @property
    def description(self) -> str:
        """One-line description."""
        ...

    @property
    def options_schema(self) -> Mapping[str, Any]:
        """JSON Schema of its options, an object with ``properties``."""
        ...

    @property
    def wants(self) -> Wants:
        """Data that the client should send, with the default options."""
        ...

    def __call__(self, profile: Profile, options: Mapping[str, Any], model: str) -> Strategy:
        """Creates a strategy for one session.

        Args:
            profile: Model profile, which determines the form of the questions.
            options: Options, already validated against `options_schema`.
            model: Model reference, for the records.
        """
        ...
