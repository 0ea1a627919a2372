"""The logic of one advice session, independent of gRPC.

    open ─▶ accepted ─▶ batches (acknowledged by seq) · outcomes · requests (answered, once each)

Memory is bounded in number and size, whatever the client sends. When there are too many snapshots,
every other one of the older half is dropped; of candidates the worst are dropped first; of raw
parameters and outcomes the oldest. Only the answers to the latest requests are cached.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

import numpy as np
import structlog
from structlog.contextvars import bind_contextvars

from mentor_service.answer_limits import memory_of, sendable, text_size
from mentor_service.protocols import Backend, Knowledge, Question, Reply, Strategy
from mentorgrad.domain.advice import (
    Accepted,
    AdviseOpen,
    Answer,
    AnswerStatus,
    Batch,
    Outcomes,
    ProposalKind,
    ProposalRequest,
)
from mentorgrad.domain.run import Candidate, Snapshot
from mentorgrad.errors import (
    Cancelled,
    DeadlineExceeded,
    InvalidInput,
    MentorgradError,
    ResourceExhausted,
)
from mentorgrad.settings_space import SettingsSpace
from mentorgrad.wire import tracing

log = structlog.get_logger(__name__)

T = TypeVar("T")

MAX_PROPOSALS = 64
"""Maximum proposals per request."""
MAX_SNAPSHOTS = 4_096
"""Maximum snapshots kept."""
MAX_CANDIDATES = 4_096
"""Maximum candidates kept."""
MAX_OUTCOMES = 1_024
"""Maximum `Outcomes` messages kept."""
MAX_RAW_BATCHES = 1_024
"""Maximum batches with raw parameters kept; empty ones take memory too."""
MAX_PARAMETER_BYTES = 64 * 1024 * 1024
"""Maximum bytes kept of raw parameters and their snapshots."""
MAX_VECTOR_BYTES = 64 * 1024 * 1024
"""Maximum bytes kept of candidates' embeddings, and of their losses on exemplars, each."""
MAX_TEXT_BYTES = 16 * 1024 * 1024
"""Maximum bytes kept in memory of the texts of snapshots, candidates, outcomes and answers, each;
more than one message can hold."""
MAX_ANSWERS = 256
"""Maximum cached answers."""
MAX_PENDING = 4
"""Maximum concurrent requests per session."""

_ENTRY_BYTES = 40
"""Approximate memory of an entry of a candidate's lists, without its text."""
_ITEM_BYTES = 100
"""Approximate memory of a snapshot or outcome, without its text."""

_RESERVE_SECONDS = 0.25
"""Part of a request's timeout that is withheld from the backend, so that the proposals found so far
are returned in time; a tenth of the timeout if that is less."""

_CACHED = (AnswerStatus.USABLE, AnswerStatus.UNUSABLE, AnswerStatus.REFUSED)
"""Statuses of answers that are cached: a repeated request would not change them."""


class AdviseSession:
    """State of one advice session: what the client sent, and the answers.

    For one event loop; further batches may be added while `answer` runs.

    Args:
        opened: Opening request of the client.
        strategy: Strategy created for this session.
        backend: LLM backend for the strategy's questions.
        profile: Name of the model profile, for the accepted message.
        answered: Called with every answer and its duration in seconds.

    Raises:
        InvalidInput: No proposal can satisfy the constraints.
    """

    def __init__(
        self,
        opened: AdviseOpen,
        strategy: Strategy,
        backend: Backend,
        profile: str,
        answered: Callable[[Answer, float], None] = lambda *_: None,
    ) -> None:
        _check_constraints(opened)
        self.accepted = Accepted(strategy.wants, backend.model, profile)
        """First response to the client."""
        self._opened = opened
        self._strategy = strategy
        self._backend = backend
        self._answered = answered
        self._seq = 0
        self._snapshots: list[tuple[int, Snapshot]] = []
        self._pool: dict[str, Candidate] = {}
        self._outcomes: OrderedDict[str, Outcomes] = OrderedDict()
        self._raw: deque[Batch] = deque()
        self._raw_size = 0
        self._embeddings: OrderedDict[str, np.ndarray] = OrderedDict()
        self._exemplar_losses: OrderedDict[str, np.ndarray] = OrderedDict()
        self._answers: OrderedDict[str, Answer] = OrderedDict()
        self._pending: dict[str, asyncio.Task[Answer]] = {}
        self._turn = asyncio.Lock()

    # -- data from the client -----------------------------------------------------------------

    def take(self, batch: Batch) -> int:
        """Adds a batch; a batch that was added before is ignored.

        Returns:
            The seq of the last batch added, to acknowledge.

        Raises:
            InvalidInput: Batches between the last one and this are missing (BATCH_GAP), or the
                parameters do not match the snapshots.
        """
        if batch.seq <= self._seq:
            return self._seq
        if batch.seq != self._seq + 1:
            raise InvalidInput.field(
                "batch.seq",
                f"must be the next number, {self._seq + 1}, not {batch.seq}",
                reason="BATCH_GAP",
            )
        if batch.parameters is not None and len(batch.parameters) != len(batch.snapshots):
            raise InvalidInput.field(
                "batch.parameters",
                f"must have one row per snapshot ({len(batch.snapshots)}), "
                f"not shape {batch.parameters.shape}",
            )
        _check_rows("batch.embeddings", batch.embeddings, len(batch.candidates))
        _check_rows("batch.exemplar_losses", batch.exemplar_losses, len(batch.candidates))
        self._seq = batch.seq
        self._snapshots.extend((batch.stage, snapshot) for snapshot in batch.snapshots)
        for candidate in batch.candidates:
            self._pool[candidate.candidate_id] = candidate
        if batch.parameters is not None and self._strategy.wants.parameters:
            # Its candidates are kept in the pool only.
            self._raw.append(replace(batch, candidates=(), embeddings=None, exemplar_losses=None))
            self._raw_size += _raw_bytes(batch)
        wants = self._strategy.wants
        if wants.embeddings:
            _keep_rows(self._embeddings, batch, batch.embeddings)
        if wants.exemplars:
            _keep_rows(self._exemplar_losses, batch, batch.exemplar_losses)
        self._shrink()
        return self._seq

    def note(self, outcomes: Outcomes) -> None:
        """Adds the outcomes of proposals; replaces earlier outcomes of the same request."""
        self._outcomes[outcomes.request_id] = outcomes
        _drop_oldest(self._outcomes, _outcomes_text, MAX_TEXT_BYTES, MAX_OUTCOMES)

    def _shrink(self) -> None:
        while len(self._snapshots) > MAX_SNAPSHOTS or (
            sum(memory_of(snapshot.text) for _, snapshot in self._snapshots) > MAX_TEXT_BYTES
        ):
            half = (len(self._snapshots) + 1) // 2
            # Keeps every other snapshot; of a single one, none.
            self._snapshots[:half] = self._snapshots[1:half:2]
        while len(self._pool) > MAX_CANDIDATES or (
            sum(map(_candidate_text, self._pool.values())) > MAX_TEXT_BYTES
        ):
            ranked = sorted(self._pool.values(), key=lambda item: item.score.rank)[
                : len(self._pool) * 3 // 4
            ]
            kept = {candidate.candidate_id for candidate in ranked}
            self._pool = {key: value for key, value in self._pool.items() if key in kept}
        for vectors in (self._embeddings, self._exemplar_losses):
            for key in [key for key in vectors if key not in self._pool]:
                del vectors[key]
        while len(self._raw) > MAX_RAW_BATCHES or self._raw_size > MAX_PARAMETER_BYTES:
            self._raw_size -= _raw_bytes(self._raw.popleft())

    @property
    def size(self) -> int:
        """Approximate bytes that the session keeps in memory."""
        texts = (
            *(_ITEM_BYTES + memory_of(snapshot.text) for _, snapshot in self._snapshots),
            *map(_candidate_text, self._pool.values()),
            *map(_outcomes_text, self._outcomes.values()),
            *map(text_size, self._answers.values()),
        )
        vectors = (*self._embeddings.values(), *self._exemplar_losses.values())
        return sum(texts) + self._raw_size + sum(_ITEM_BYTES + row.nbytes for row in vectors)

    def knowledge(self) -> Knowledge:
        """Returns a snapshot of the session's knowledge; later batches do not change it."""
        return Knowledge(
            open=self._opened,
            snapshots=tuple(self._snapshots),
            pool=dict(self._pool),
            outcomes=tuple(self._outcomes.values()),
            batches=tuple(self._raw),
            embeddings=dict(self._embeddings),
            exemplar_losses=dict(self._exemplar_losses),
        )

    # -- requests -----------------------------------------------------------------------------

    async def answer(self, request: ProposalRequest) -> Answer:
        """Returns proposals or a typed status; the same request_id gets the same answer.

        Raises:
            InvalidInput: `count` exceeds `MAX_PROPOSALS`.
        """
        if request.count > MAX_PROPOSALS:
            raise InvalidInput.field(
                "request.count", f"must be at most {MAX_PROPOSALS}, not {request.count}"
            )
        if request.request_id in self._answers:
            return self._answers[request.request_id]
        task = self._pending.get(request.request_id)
        if task is None:
            if len(self._pending) >= MAX_PENDING:
                busy = ResourceExhausted(f"this session already has {MAX_PENDING} open requests")
                return _failed(request, busy)
            task = asyncio.create_task(self._compute(request))
            self._pending[request.request_id] = task
            task.add_done_callback(lambda _: self._pending.pop(request.request_id, None))
        return await asyncio.shield(task)

    async def close(self) -> None:
        """Cancels pending answers."""
        tasks = list(self._pending.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _compute(self, request: ProposalRequest) -> Answer:
        """Computes an answer, within a tracing span whose parent is given in the request."""
        began = time.monotonic()
        facts = {"session_id": self._opened.session_id, "request_id": request.request_id}
        bind_contextvars(**facts)
        with tracing.span("answer", "server", request.trace_parent, facts) as span:
            answer = sendable(await self._answer(request, began))
            span.note(status=answer.status.value, proposals=len(answer.proposals))
        seconds = time.monotonic() - began
        self._answered(answer, seconds)
        log.info(
            "answered",
            status=answer.status.value,
            proposals=len(answer.proposals),
            seconds=round(seconds, 3),
        )
        if answer.status in _CACHED:
            self._answers[request.request_id] = answer
            _drop_oldest(self._answers, text_size, MAX_TEXT_BYTES, MAX_ANSWERS)
        return answer

    async def _answer(self, request: ProposalRequest, began: float) -> Answer:
        timeout = request.timeout.total_seconds()
        deadline = began + timeout
        reserve = min(_RESERVE_SECONDS, timeout / 10)

        async def ask(question: Question) -> Reply:
            left = deadline - reserve - time.monotonic()
            if left <= 0:
                raise DeadlineExceeded(f"no answer within {timeout:.1f} s")
            with tracing.span("generate", facts={"model": self._backend.model}) as span:
                reply = await self._backend.ask(question, left)
                span.note(
                    prompt_tokens=reply.prompt_tokens,
                    evaluated_tokens=reply.evaluated_tokens,
                    reply_tokens=reply.reply_tokens,
                )
            return reply

        try:
            async with asyncio.timeout(timeout), self._turn:
                return await self._strategy.propose(request, self.knowledge(), ask)
        except TimeoutError:
            return _failed(request, DeadlineExceeded(f"no answer within {timeout:.1f} s"))
        except MentorgradError as error:
            return _failed(request, error)
        except Exception as error:
            log.error("strategy_failed", strategy=self._strategy.name, exc_info=error)
            return _failed(request, MentorgradError("the strategy failed; see the mentor's log"))


def _check_rows(path: str, rows: np.ndarray | None, count: int) -> None:
    if rows is not None and (rows.ndim != 2 or len(rows) != count):
        raise InvalidInput.field(
            path, f"must have one row per candidate ({count}), not shape {rows.shape}"
        )


def _drop_oldest(
    kept: OrderedDict[str, T], size_of: Callable[[T], int], room: int, most: float = math.inf
) -> None:
    """Drops the oldest entries until at most `most` of at most `room` in total size are left."""
    size = sum(map(size_of, kept.values()))
    while len(kept) > most or size > room:
        size -= size_of(kept.popitem(last=False)[1])


def _keep_rows(kept: OrderedDict[str, np.ndarray], batch: Batch, rows: np.ndarray | None) -> None:
    """Keeps each candidate's row; drops the oldest rows above `MAX_VECTOR_BYTES`."""
    if rows is None:
        return
    for candidate, row in zip(batch.candidates, rows, strict=True):
        kept[candidate.candidate_id] = row.copy()  # a view would keep the whole message alive
    _drop_oldest(kept, lambda row: _ITEM_BYTES + row.nbytes, MAX_VECTOR_BYTES)


def _check_constraints(opened: AdviseOpen) -> None:
    limits = opened.constraints
    if limits.kind is ProposalKind.SETTINGS:
        SettingsSpace.read(limits.settings_schema, "open.constraints.settings_schema")
    if limits.kind is not ProposalKind.NUMBERS:
        return
    if limits.dimensions < 1:
        raise InvalidInput.field(
            "open.constraints.dimensions", "must be at least 1 for proposals of numbers"
        )
    if limits.lower >= limits.upper:
        raise InvalidInput.field(
            "open.constraints.lower", f"must be less than upper, {limits.upper:g}"
        )


def _failed(request: ProposalRequest, error: MentorgradError) -> Answer:
    """Converts an error to an answer with a typed status."""
    if isinstance(error, DeadlineExceeded):
        status = AnswerStatus.TIMED_OUT
    elif isinstance(error, InvalidInput):
        status = AnswerStatus.REFUSED
    elif isinstance(error, Cancelled):
        status = AnswerStatus.CANCELLED
    else:
        status = AnswerStatus.UNAVAILABLE
    return Answer(request_id=request.request_id, status=status, detail=error.message)


def _loss(candidate: Candidate) -> float:
    # NaN would make the sort order undefined.
    loss = candidate.score.loss
    return loss if loss == loss else float("inf")


def _raw_bytes(batch: Batch) -> int:
    # A snapshot takes memory even if its row of parameters is empty.
    size = sum(_ITEM_BYTES + memory_of(snapshot.text) for snapshot in batch.snapshots)
    return size + (0 if batch.parameters is None else batch.parameters.nbytes)


def _candidate_text(candidate: Candidate) -> int:
    texts = (candidate.candidate_id, candidate.text, candidate.toward_text, *candidate.parents)
    # Entries take memory too, and a parent may have an empty name.
    entries = _ENTRY_BYTES * (len(candidate.parents) + len(candidate.filled))
    settings = 0 if candidate.settings is None else memory_of(str(candidate.settings))
    return sum(map(memory_of, texts)) + entries + settings


def _outcomes_text(outcomes: Outcomes) -> int:
    items = outcomes.outcomes
    return sum(_ITEM_BYTES + memory_of(item.proposal_id) + memory_of(item.detail) for item in items)
