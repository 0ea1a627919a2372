"""Proposed settings of gradient steps as entrants of a race.

They act on the incumbent's parameters, so before any step their score is the incumbent's: they cost
no evaluation, and their order in the answer decides which of them race.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from mentorgrad.domain.advice import Answer, ProposalOutcome, ProposalStatus
from mentorgrad.domain.event import Branch
from mentorgrad.domain.run import Candidate, CandidateSource
from trainer_service.protocols import Language, ProposalRejected, Scored
from trainer_service.running.scoring import ScoredAnswer, place


def has_settings(answer: Answer) -> bool:
    """Whether an answer proposes settings."""
    return any(proposal.settings is not None for proposal in answer.proposals)


def settings_entrants(
    language: Language,
    answer: Answer,
    incumbent: Scored,
    find: Callable[[str], Scored | None],
    stage: int,
) -> ScoredAnswer:
    """The proposed settings that differ from those in effect and from each other.

    Args:
        language: Checks the settings.
        answer: The mentor's answer.
        incumbent: The incumbent.
        find: Returns a candidate of the pool by id.
        stage: The current stage.
    """
    before = incumbent.candidate
    entrants: list[Scored] = []
    refused: dict[str, ProposalOutcome] = {}
    for proposal in answer.proposals:
        name = proposal.proposal_id
        try:
            placed = place(language, proposal, incumbent, find)
            if placed.settings is None:
                why = "it holds no settings of this objective"
                raise ProposalRejected(ProposalStatus.MALFORMED, why)
            others = [before, *(entrant.candidate for entrant in entrants)]
            same = next((other for other in others if other.settings == placed.settings), None)
            if same is not None:
                what = "the settings in effect" if same is before else same.candidate_id
                raise ProposalRejected(ProposalStatus.DUPLICATE, f"identical to {what}")
        except ProposalRejected as rejection:
            refused[name] = ProposalOutcome(name, rejection.status, detail=rejection.detail)
            continue
        candidate = Candidate(
            candidate_id=name,
            source=CandidateSource.PROPOSAL,
            stage=stage,
            step=before.step,
            text=before.text,
            parents=(before.candidate_id,),
            score=before.score,
            settings=placed.settings,
        )
        entrants.append(Scored(candidate, placed.parameters))
    return ScoredAnswer(tuple(entrants), refused)


def raced(entrants: Sequence[Scored], branches: Sequence[Branch]) -> list[Scored]:
    """Entrants for the record: what is known of settings is how far a race came with them."""
    losses = {branch.candidate_id: branch.loss_after for branch in branches}

    def recorded(entrant: Scored) -> Scored:
        candidate = entrant.candidate
        if candidate.settings is None:
            return entrant
        loss = losses.get(candidate.candidate_id)
        return replace(entrant, candidate=replace(candidate, probe_loss=loss))

    return list(map(recorded, entrants))
