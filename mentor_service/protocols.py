"""The small interfaces of the mentor service.

A strategy turns what a session knows into questions and the replies into proposals; a backend
answers one question. Neither knows of gRPC, and a strategy never sees which backend answers.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, ClassVar, Protocol

import numpy as np

from mentor_service.profiles import Profile
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
    """The instruction; empty where the profile's model takes none."""
    user: str
    """The question."""
    grammar: str
    """GBNF grammar of the reply; empty: free."""
    json_schema: Mapping[str, Any] | None
    """JSON Schema of the reply, for backends that take one."""
    max_tokens: int
    """Most tokens of the reply."""
    temperature: float
    """Sampling temperature."""
    seed: int
    """Sampling seed; not negative."""
    repeat_penalty: float = 0.0
    """Taken off a token's logit for each earlier use in the reply, and once more from the first on
    (frequency and presence penalty); keeps a small model's lines apart."""
    samples: int = 1
    """Replies wanted; drawn independently, decoded together where the backend can."""


@dataclass(frozen=True)
class Reply:
    """What the LLM said: as many replies as the question's samples."""

    texts: tuple[str, ...]
    """Untouched, one a sample."""
    prompt_tokens: int
    """Tokens of the question, as the model counts; once, whatever the number of samples."""
    evaluated_tokens: int
    """Tokens of the question that had to be evaluated, since no cache had them."""
    reply_tokens: int
    """Tokens of all replies together."""
    duration: timedelta
    """Time in the backend, waiting included."""
    finish_reasons: tuple[str, ...]
    """One a sample: ``stop``, ``length`` or ``dead_end`` (the grammar allowed nothing more)."""


class Backend(Protocol):
    """An LLM runtime. `ask` may be called concurrently; the backend queues.

    Cancelling the awaiting task ends the generation within a token or so.
    """

    name: ClassVar[str]
    """``llama_cpp``, ``openai`` or ``scripted``."""
    model: str
    """Model reference."""
    context_tokens: int
    """Longest question and reply together."""

    @property
    def waiting(self) -> int:
        """Questions that wait; with a server of others, those under way there."""
        ...

    async def ask(self, question: Question, timeout: float) -> Reply:
        """Answers one question within `timeout` seconds.

        Raises:
            DeadlineExceeded: Not within the time.
            ResourceExhausted: The queue is full; says when to try again.
            Unavailable: The runtime cannot be reached or failed.
            InvalidInput: The question does not fit the model (reason QUESTION_TOO_LONG).
        """
        ...

    async def check(self) -> None:
        """Raises `Unavailable` when the runtime does not answer. Asked every few seconds, it costs
        the runtime nothing and never waits behind questions."""
        ...

    async def close(self) -> None:
        """Releases the model."""
        ...


@dataclass(frozen=True)
class Knowledge:
    """What a session knows: the effective trajectory, the pool and what became of proposals."""

    open: AdviseOpen
    """The job."""
    snapshots: tuple[tuple[int, Snapshot], ...]
    """(stage, snapshot) in order; bounded, the oldest thinned out first."""
    pool: Mapping[str, Candidate]
    """Candidates by id, in order of arrival."""
    outcomes: tuple[Outcomes, ...]
    """In order of arrival."""
    batches: tuple[Batch, ...] = ()
    """Batches with raw parameters, when the strategy wants them; bounded."""
    embeddings: Mapping[str, np.ndarray] = field(default_factory=dict)
    """float32 [width] by candidate id, unit vectors, when the strategy wants them and the trainer
    sends them; bounded, so candidates of the pool may lack theirs."""
    exemplar_losses: Mapping[str, np.ndarray] = field(default_factory=dict)
    """float32 [exemplars] by candidate id, as `embeddings`; in the order of the requests'
    exemplars."""


Ask = Callable[[Question], Awaitable[Reply]]
"""Asks the backend, within what is left of the request's time."""


class Strategy(Protocol):
    """How a trajectory becomes a question and the reply proposals.

    One instance serves one session and is called by one task at a time. It answers with a typed
    status rather than raise when a reply cannot be used; errors of the backend pass through. The
    same knowledge, request and replies give the same answer: what it draws comes from the
    request's seed, and what it must remember it reads out of the pool, which a caller replays
    after a break.
    """

    @property
    def name(self) -> str:
        """Name to ask for it by."""
        ...

    @property
    def wants(self) -> Wants:
        """What it wants to be sent, its options considered."""
        ...

    async def propose(self, request: ProposalRequest, known: Knowledge, ask: Ask) -> Answer:
        """Proposals, each checked against the constraints, or a typed outcome."""
        ...


class StrategyType(Protocol):
    """What makes strategies: a class, or anything that can be called like one.

    The registry's entries, and what a package of another author offers by an entry point of group
    ``mentorgrad.strategies``.
    """

    @property
    def name(self) -> str:
        """Name to ask for it by."""
        ...

    @property
    def description(self) -> str:
        """One line."""
        ...

    @property
    def options_schema(self) -> Mapping[str, Any]:
        """JSON Schema of its options, an object with ``properties``."""
        ...

    @property
    def wants(self) -> Wants:
        """What it wants to be sent without any options."""
        ...

    def __call__(self, profile: Profile, options: Mapping[str, Any], model: str) -> Strategy:
        """A strategy for one session.

        Args:
            profile: What form of question the model can follow.
            options: Checked against `options_schema`.
            model: Reference of the model, for the records.
        """
        ...
