"""Puts the task's description in front of a run's first proposals, for later ones to vary."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from mentorgrad.domain.advice import (
    Answer,
    AnswerStatus,
    Batch,
    Outcomes,
    ProposalRequest,
    Wants,
)
from mentorgrad.domain.run import CandidateSource
from trainer_service.mentors.controls import Description
from trainer_service.protocols import Mentor, Scored


class DescriptionFirst:
    """Mentor wrapper that adds the description; implements `trainer_service.protocols.Mentor`.

    The first wording that fits is the first proposal, with the id ``s0/description``, of every
    answer given while the pool holds no proposal. The mentor is asked for one proposal less. What
    it gives is all there is if the task is not described, which the answer's detail says, or if it
    gives nothing usable: then the next answer begins with the description.

    Args:
        mentor: The wrapped mentor or control.
        description: Proposes the wordings.
    """

    def __init__(self, mentor: Mentor, description: Description) -> None:
        self._mentor = mentor
        self._description = description

    @property
    def wants(self) -> Wants:
        """See `Mentor`."""
        return self._mentor.wants

    def wait_open(self, timeout: float) -> bool:
        """See `Mentor`."""
        return self._mentor.wait_open(timeout)

    def observe(self, batch: Batch) -> None:
        """See `Mentor`."""
        self._mentor.observe(batch)

    def propose(
        self, request: ProposalRequest, incumbent: Scored, pool: Sequence[Scored]
    ) -> Answer:
        """See `Mentor`; a request for a single proposal is answered by the description alone."""
        if any(scored.candidate.source is CandidateSource.PROPOSAL for scored in pool):
            return self._mentor.propose(request, incumbent, pool)
        own = self._description.propose(replace(request, count=1), incumbent, pool)
        if own.status is not AnswerStatus.USABLE:
            answer = self._mentor.propose(request, incumbent, pool)
            return _noted(answer, f"the description is left out: {own.detail}")
        first = replace(own.proposals[0], proposal_id=_name(request))
        if request.count == 1:
            return replace(own, proposals=(first,))
        answer = self._mentor.propose(replace(request, count=request.count - 1), incumbent, pool)
        if answer.status is not AnswerStatus.USABLE:
            return answer
        return replace(
            answer,
            proposals=(first, *answer.proposals),
            records=(*answer.records, *own.records),
        )

    def report(self, outcomes: Outcomes) -> None:
        """Reports the outcomes of the mentor's own proposals."""
        own = tuple(o for o in outcomes.outcomes if not o.proposal_id.endswith(_SUFFIX))
        if own:
            self._mentor.report(replace(outcomes, outcomes=own))

    def cancel(self) -> None:
        """See `Mentor`."""
        self._mentor.cancel()

    def close(self) -> None:
        """See `Mentor`."""
        self._mentor.close()


_SUFFIX = f"/{Description.name}"


def _name(request: ProposalRequest) -> str:
    return f"s{request.stage}{_SUFFIX}"


def _noted(answer: Answer, note: str) -> Answer:
    return replace(answer, detail="; ".join(filter(None, [note, answer.detail])))
