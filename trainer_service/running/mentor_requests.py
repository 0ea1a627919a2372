"""Sends a stage's request to the mentor, blocking or overlapped, and records the answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from mentorgrad.domain.advice import Answer, AnswerStatus, ProposalRequest
from mentorgrad.domain.event import ProposalsReceived
from mentorgrad.domain.run import Usage
from mentorgrad.domain.spec import MentorMode, RunSpec
from trainer_service.mentors.fallback import Consultation, FallbackMentor
from trainer_service.mentors.pending_requests import PendingRequest
from trainer_service.running.budget import share_spent
from trainer_service.running.hints import Hints
from trainer_service.running.loop_state import LoopPhase, LoopState
from trainer_service.running.mentor_observations import MentorObservations
from trainer_service.running.recorder import Recorder
from trainer_service.running.stop_control import StopControl
from trainer_service.seeds import derive


class MentorRequests:
    """Sends the mentor requests of one run; at most one request is pending.

    Args:
        spec: The run's spec.
        mentor: The mentor.
        recorder: Records the events.
        control: Checked when an answer was cancelled, because a stop request cancels it.
        hints: Computes gradient hints.
        observations: Provides the exemplars.
        usage: Returns the run's usage so far.
    """

    def __init__(
        self,
        spec: RunSpec,
        mentor: FallbackMentor,
        recorder: Recorder,
        control: StopControl,
        hints: Hints,
        observations: MentorObservations,
        usage: Callable[[LoopState], Usage],
    ) -> None:
        self._spec = spec
        self._mentor = mentor
        self._recorder = recorder
        self._control = control
        self._hints = hints
        self._observations = observations
        self._usage = usage
        self._question: PendingRequest | None = None

    @property
    def is_overlapped(self) -> bool:
        """Whether gradient steps continue while a request is pending. Never for controls, which
        answer at once."""
        choice = self._spec.mentor
        return choice.mode is MentorMode.OVERLAPPED and not choice.is_control

    def wait(self, at: LoopState) -> None:
        """Sends the request and waits for the answer; the next phase is DECIDE."""
        at.hinted = self._hints.are_due(_request_id(at), at.ledger)
        exemplar_rows = self._exemplar_rows(at)
        asked = self._mentor.consult(
            self._request(at), at.incumbent, at.pool.entries, lost=at.mentor_lost
        )
        if asked.replies[0].answer.status is AnswerStatus.CANCELLED:
            self._control.check()  # a run stopped here is not charged; it asks again when resumed
        if at.hinted:
            at.ledger.charge_hint()
        at.ledger.charge_exemplars(exemplar_rows)
        self._receive(at, asked)
        at.phase = LoopPhase.DECIDE

    # -- overlapped ---------------------------------------------------------------------------

    def begin(self, at: LoopState) -> None:
        """Sends the request and returns at once; after a resume, sends the same request again."""
        if at.asked_step is None:
            at.asked_step = at.step
            # With 1 step left, the hint would spend it and the request would be cancelled at once.
            at.hinted = self._hints.are_due(_request_id(at), at.ledger, least=2)
            if at.hinted:
                at.ledger.charge_hint()
            at.ledger.charge_exemplars(self._exemplar_rows(at))
        at.phase = LoopPhase.WAIT
        self._question = self._mentor.ask(self._request(at), at.incumbent, at.pool.entries)

    def is_answered(self, at: LoopState) -> bool:
        """Whether the answer to a pending request has arrived; cheap enough for every step."""
        return self._question is not None and self._question.is_answered(at.lag)

    def answer(self) -> Answer:
        """The answer to the pending request.

        Raises:
            Stop: The request was cancelled because the run must stop.
        """
        if self._question is None:
            raise LookupError("no request is pending")
        answer = self._question.answer()
        if answer.status is AnswerStatus.CANCELLED:
            self._control.check()
        return answer

    def conclude(self, at: LoopState, answer: Answer) -> None:
        """Records the answer to the pending request; the next phase is DECIDE."""
        asked = self._mentor.conclude(
            self._request(at, whole=False),
            answer,
            at.incumbent,
            at.pool.entries,
            lost=at.mentor_lost,
        )
        self._question = None
        self._receive(at, asked, at.lag)
        at.phase = LoopPhase.DECIDE

    def give_up(self, at: LoopState) -> None:
        """Cancels the pending request, because no step is left that its answer could affect."""
        self._mentor.cancel()
        why = "the run took its last step before the mentor answered"
        self.conclude(at, Answer(status=AnswerStatus.CANCELLED, detail=why))

    # -- both ---------------------------------------------------------------------------------

    def _request(self, at: LoopState, *, whole: bool = True) -> ProposalRequest:
        choice = self._spec.mentor
        name = _request_id(at)
        # The usage at the time of the first request, without the steps taken since.
        since = at.ledger.prices.step * at.lag
        usage = replace(
            at.ledger.usage,
            gradient_steps=at.ledger.usage.gradient_steps - since.gradient_steps,
            forward_rows=at.ledger.usage.forward_rows - since.forward_rows,
        )
        return ProposalRequest(
            request_id=name,
            stage=at.stage,
            incumbent_id=at.incumbent_id,
            count=choice.proposals,
            seed=derive(self._spec.seed, "mentor", at.stage),
            timeout=choice.timeout,
            hints=self._hints.at(at, name) if whole and at.hinted else (),
            exemplars=self._observations.exemplars(at.incumbent) if whole else (),
            progress=share_spent(self._spec, usage, at.stage, at.step - at.lag),
        )

    def _exemplar_rows(self, at: LoopState) -> int:
        """Rows whose losses the request contains; if the log holds its answer, what was logged."""
        known = self._mentor.logged(_request_id(at))
        if known is None:
            return self._observations.exemplar_rows
        was_shown = known.usage.exemplar_rows > at.ledger.usage.exemplar_rows
        return self._observations.chosen_rows if was_shown else 0

    def _receive(self, at: LoopState, asked: Consultation, lag: int = 0) -> None:
        """Charges and records the replies; the last one is used for the decision."""
        at.mentor_lost = asked.lost
        if asked.notice is not None:
            self._recorder.put(asked.notice)
        for reply in asked.replies:
            behind = 0 if reply.is_fallback else lag  # the fallback answers at the present step
            at.ledger.charge_answer(
                reply.answer, reply.waited, is_fallback=reply.is_fallback, lag_steps=behind
            )
            answer = _without_tensors(reply.answer)
            self._recorder.put(
                ProposalsReceived(at.stage, answer, reply.is_fallback, self._usage(at), behind)
            )
        at.answer, at.answer_is_fallback = asked.replies[-1].answer, asked.replies[-1].is_fallback


def _request_id(at: LoopState) -> str:
    return f"s{at.stage}"


def _without_tensors(answer: Answer) -> Answer:
    """The answer for the log, without a control's raw parameters: they may exceed the message limit
    and can be drawn again from the seed."""
    proposals = tuple(replace(proposal, parameters=None) for proposal in answer.proposals)
    return replace(answer, proposals=proposals)
