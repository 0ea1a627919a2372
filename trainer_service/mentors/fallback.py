"""Asks a mentor, times and traces it, and asks the spec's fallback if its answer is not usable."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from mentorgrad.domain.advice import (
    Answer,
    AnswerStatus,
    Batch,
    Outcomes,
    ProposalRequest,
    Wants,
)
from mentorgrad.domain.event import MentorBack, MentorLost, ProposalsReceived
from mentorgrad.wire import tracing
from trainer_service.mentors.pending_requests import (
    LoggedRequest,
    PendingRequest,
    SendRequest,
    ThreadedRequest,
)
from trainer_service.protocols import Mentor, Scored
from trainer_service.running.telemetry import Telemetry
from trainer_service.worker_metrics import AnswerMetrics

_LOST = frozenset({AnswerStatus.UNAVAILABLE, AnswerStatus.TIMED_OUT, AnswerStatus.REFUSED})
"""Statuses that mean the mentor did not answer. `UNUSABLE` is not among them: it answered."""


@dataclass(frozen=True)
class MentorReply:
    """One answer of a consultation."""

    answer: Answer
    """The answer."""
    is_fallback: bool
    """Whether the fallback gave it."""
    waited: timedelta
    """How long the run waited for it."""


@dataclass(frozen=True)
class Consultation:
    """Result of asking the mentor once."""

    replies: tuple[MentorReply, ...]
    """The mentor's reply, then the fallback's if it was asked; the last one is used."""
    notice: MentorLost | MentorBack | None
    """Event if the mentor was lost or became available again; else None."""
    lost: bool
    """Whether the mentor is lost now."""


class FallbackMentor:
    """A mentor with a fallback. Must be created in the run's thread.

    Args:
        name: The mentor's name in the spec, for the log, metrics and traces.
        mentor: The mentor to ask.
        fallback: Asked if the mentor's answer is not usable; None: no fallback.
        logged: The mentor's answers that are already in the run's log, by request id; these are
            re-used instead of asking again.
        ask: Sends a request without waiting for its answer.
        telemetry: Counts the answers and the time spent waiting for them.
    """

    def __init__(
        self,
        name: str,
        mentor: Mentor,
        fallback: Mentor | None = None,
        logged: Mapping[str, ProposalsReceived] | None = None,
        ask: SendRequest = ThreadedRequest,
        telemetry: Telemetry | None = None,
    ) -> None:
        self.name = name
        self._mentor = mentor
        self._fallback = fallback
        self._logged = dict(logged or {})
        self._ask_apart = ask
        self._telemetry = telemetry or Telemetry()
        self._parent = tracing.current().parent

    @property
    def wants(self) -> Wants:
        """The data that the mentor wants to receive."""
        return self._mentor.wants

    def logged(self, request_id: str) -> ProposalsReceived | None:
        """The mentor's answer to a request, if it is already in the run's log."""
        return self._logged.get(request_id)

    def wait_open(self, timeout: float) -> bool:
        """Waits for the mentor's first session; see `Mentor.wait_open`."""
        return self._mentor.wait_open(timeout)

    def observe(self, batch: Batch) -> None:
        """Forwards a batch of the trajectory to the mentor."""
        self._mentor.observe(batch)

    def report(self, outcomes: Outcomes) -> None:
        """Forwards the outcomes of the mentor's own proposals."""
        self._mentor.report(outcomes)

    def cancel(self) -> None:
        """Cancels a pending consultation."""
        self._mentor.cancel()

    def close(self) -> None:
        """Ends the mentor's session."""
        self._mentor.close()

    def consult(
        self, request: ProposalRequest, incumbent: Scored, pool: Sequence[Scored], *, lost: bool
    ) -> Consultation:
        """Asks the mentor, and the fallback if the answer is not usable.

        Args:
            request: The request.
            incumbent: The current incumbent.
            pool: The candidates so far.
            lost: Whether the mentor was lost in the previous consultation.
        """
        known = self._logged.get(request.request_id)
        if known is None:
            first = _timed(self, request, incumbent, pool, is_fallback=False)
        else:
            waited = sum((record.duration for record in known.answer.records), timedelta(0))
            first = MentorReply(known.answer, False, waited)
        return self._settle(first, request, incumbent, pool, lost=lost)

    def ask(
        self, request: ProposalRequest, incumbent: Scored, pool: Sequence[Scored]
    ) -> PendingRequest:
        """Asks the mentor without waiting; pass its answer to `conclude`. See `consult`."""
        known = self._logged.get(request.request_id)
        if known is not None:
            return LoggedRequest(known)
        return self._ask_apart(self, request, incumbent, pool)

    def conclude(
        self,
        request: ProposalRequest,
        answer: Answer,
        incumbent: Scored,
        pool: Sequence[Scored],
        *,
        lost: bool,
    ) -> Consultation:
        """Processes the answer to `ask`, and asks the fallback if it is not usable.

        Args:
            request: The request.
            answer: The mentor's answer.
            incumbent: The current incumbent.
            pool: The candidates so far.
            lost: Whether the mentor was lost in the previous consultation.
        """
        first = MentorReply(_numbered(answer, request, pool), False, timedelta(0))
        return self._settle(first, request, incumbent, pool, lost=lost)

    def propose(
        self, request: ProposalRequest, incumbent: Scored, pool: Sequence[Scored]
    ) -> Answer:
        """Asks the mentor alone, within a trace span that its own spans belong to. See `Mentor`."""
        began = time.monotonic()
        facts: tracing.Attributes = {
            "mentor": self.name,
            "stage": request.stage,
            "request_id": request.request_id,
        }
        with (
            self._telemetry.waiting(),
            tracing.span("ask", "client", self._parent, facts) as span,
        ):
            asked = replace(request, trace_parent=span.parent) if span.parent else request
            answer = self._mentor.propose(asked, incumbent, pool)
            span.note(status=answer.status.value, proposals=len(answer.proposals))
        seconds = time.monotonic() - began
        self._telemetry.answered(AnswerMetrics(self.name, answer.status.value, seconds))
        return answer

    def _settle(
        self,
        first: MentorReply,
        request: ProposalRequest,
        incumbent: Scored,
        pool: Sequence[Scored],
        *,
        lost: bool,
    ) -> Consultation:
        answer = first.answer
        if answer.status is AnswerStatus.CANCELLED:
            return Consultation((first,), None, lost)
        now_lost = answer.status in _LOST
        notice: MentorLost | MentorBack | None = None
        if now_lost and not lost:
            why = f"{answer.status.value}: {answer.detail}" if answer.detail else answer.status
            notice = MentorLost(self.name, str(why))
        elif lost and not now_lost:
            notice = MentorBack(self.name)
        if answer.status is AnswerStatus.USABLE or self._fallback is None:
            return Consultation((first,), notice, now_lost)
        second = _timed(self._fallback, request, incumbent, pool, is_fallback=True)
        return Consultation((first, second), notice, now_lost)


def _timed(
    mentor: Mentor,
    request: ProposalRequest,
    incumbent: Scored,
    pool: Sequence[Scored],
    *,
    is_fallback: bool,
) -> MentorReply:
    began = time.monotonic()
    answer = mentor.propose(request, incumbent, pool)
    waited = timedelta(seconds=time.monotonic() - began)
    return MentorReply(_numbered(answer, request, pool), is_fallback, waited)


def _numbered(answer: Answer, request: ProposalRequest, pool: Sequence[Scored]) -> Answer:
    """Limits an answer to the requested number of proposals; replaces ids that are not unique."""
    proposals = answer.proposals[: request.count]
    detail = answer.detail
    if len(proposals) < len(answer.proposals):
        extra = len(answer.proposals) - len(proposals)
        detail = f"{detail}; {extra} more proposals than requested".removeprefix("; ")
    ids = [proposal.proposal_id for proposal in proposals]
    taken = {scored.candidate.candidate_id for scored in pool}
    if "" in ids or len(set(ids)) < len(ids) or taken & set(ids):
        proposals = tuple(
            replace(proposal, proposal_id=f"s{request.stage}/p{i + 1}")
            for i, proposal in enumerate(proposals)
        )
    status = answer.status
    if status is AnswerStatus.USABLE and not proposals:
        status, detail = AnswerStatus.UNUSABLE, detail or "the answer contains no proposals"
    elif status is not AnswerStatus.USABLE:
        proposals = ()
    return replace(
        answer,
        request_id=request.request_id,
        status=status,
        proposals=tuple(proposals),
        detail=detail,
    )
