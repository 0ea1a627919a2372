"""Turns snapshots and proposals into scored candidates, without changing the live parameters."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from mentorgrad.domain.advice import Answer, Proposal, ProposalOutcome, ProposalStatus
from mentorgrad.domain.run import Candidate, CandidateSource, Score
from mentorgrad.domain.spec import Stages
from trainer_service.costs import Cost
from trainer_service.protocols import (
    Embedded,
    Language,
    Objective,
    Projected,
    ProposalRejected,
    Scored,
)
from trainer_service.running.capture import changed_positions, diverged
from trainer_service.running.screening import Screening
from trainer_service.training_settings import TrainingSettings


@dataclass(frozen=True)
class Origin:
    """The start of a stage, with which later snapshots are compared."""

    stage: int
    """Number of the stage, from 0."""
    parameters: Tensor
    """Parameters at its start, float32 [*shape]."""
    ids: tuple[int, ...]
    """Their nearest token at each position."""
    settings: TrainingSettings | None = None
    """Settings of the stage's steps; None if the run has none."""


def spaced_steps(begin: int, length: int, count: int) -> tuple[int, ...]:
    """Steps of a stage whose snapshots become candidates: the last and evenly spaced ones.

    ``spaced_steps(40, 40, 4)`` is (50, 60, 70, 80).
    """
    steps = {begin + round(length * (i + 1) / count) for i in range(count)} - {begin}
    return tuple(sorted(steps))


def candidate_steps(stages: Stages, begin: int, length: int) -> tuple[int, ...]:
    """Steps of a stage whose snapshots become candidates, as the spec says; the last among them.

    With a stride of 2 and 5 candidates, ``candidate_steps(stages, 40, 40)`` is
    (41, 43, 45, 47, 49, 80).
    """
    if stages.stride == 0:
        return spaced_steps(begin, length, stages.candidates)
    early = {begin + 1 + stages.stride * i for i in range(stages.candidates)}
    end = begin + length
    return tuple(sorted({step for step in early if step <= end} | ({end} - {begin})))


def affordable(steps: Sequence[int], each: int, evaluations: float) -> tuple[int, ...]:
    """The steps whose snapshots the evaluations allow to score: evenly spaced, with the last one.

    Args:
        steps: Steps of the snapshots, ascending.
        each: Evaluations per snapshot.
        evaluations: Evaluations left.
    """
    count = int(min(len(steps), evaluations // each))
    if count == 0:
        return ()
    return tuple(steps[round(len(steps) * (i + 1) / count) - 1] for i in range(count))


def snapshot_candidates(
    objective: Objective, origin: Origin, snapshots: Mapping[int, Tensor], names: Mapping[int, str]
) -> list[Scored]:
    """Scores snapshots and their projections in one batch.

    If several snapshots have the same projection, it is scored once, for the latest of them.

    Args:
        objective: Scores and projects.
        origin: The stage's start.
        snapshots: Parameters [*shape] by step.
        names: Candidate id by step.

    Returns:
        The candidates in order of step; each snapshot is followed by its projection.

    Raises:
        PreconditionFailed: A selection loss is not finite (reason DIVERGED).
    """
    language = objective.language
    steps = sorted(snapshots)
    soft = torch.stack([snapshots[step] for step in steps])
    projected = language.project(soft)
    toward = language.toward(origin.parameters, soft)
    with_words = _first_of_each(projected) if language.has_words else {}
    words = [language.embed_ids(ids, soft[i]) for i, ids in with_words.items()]
    scores = objective.problem.score(torch.cat([soft, torch.stack(words)]) if words else soft)
    worded = dict(zip(with_words, zip(words, scores[len(steps) :], strict=True), strict=True))
    result = []
    for i, step in enumerate(steps):
        candidate = Candidate(
            candidate_id=names[step],
            source=CandidateSource.SNAPSHOT,
            stage=origin.stage,
            step=step,
            text=projected[i].text,
            toward_text=toward[i],
            positions_changed=changed_positions(origin.ids, projected[i].ids),
            projection_distance=projected[i].distance if language.has_words else None,
            score=_finite(scores[i], step, objective),
            settings=origin.settings,
        )
        result.append(Scored(candidate, soft[i]))
        if i in worded:
            parameters, score = worded[i]
            result.append(_words_of(candidate, parameters, _finite(score, step, objective)))
    return result


def _first_of_each(projected: Sequence[Projected]) -> dict[int, tuple[int, ...]]:
    """Index → token ids of the projections to score: each once, for its latest snapshot."""
    latest = {projection.ids: index for index, projection in enumerate(projected)}
    return {index: ids for ids, index in sorted(latest.items(), key=lambda item: item[1])}


def _words_of(candidate: Candidate, parameters: Tensor, score: Score) -> Scored:
    return Scored(
        Candidate(
            candidate_id=f"{candidate.candidate_id}/words",
            source=CandidateSource.PROJECTION,
            stage=candidate.stage,
            step=candidate.step,
            text=candidate.text,
            positions_changed=candidate.positions_changed,
            projection_distance=0.0,
            parents=(candidate.candidate_id,),
            score=score,
        ),
        parameters,
    )


def _finite(score: Score, step: int, objective: Objective) -> Score:
    if not math.isfinite(score.loss):
        start_remedy = "" if step else objective.problem.start_remedy
        raise diverged("selection loss", score.loss, step, start_remedy)
    return score


@dataclass(frozen=True)
class ScoredAnswer:
    """The scored proposals of an answer."""

    entrants: tuple[Scored, ...]
    """Proposals that were scored, in the answer's order; `candidate_id` is the proposal's id."""
    refused: Mapping[str, ProposalOutcome]
    """Outcome by proposal id of all other proposals."""
    cost: Cost = field(default_factory=Cost)
    """What the scores cost."""
    unscored: Scored | None = None
    """The proposal to accept without a score (policy ``first``); its loss is NaN."""


def place(
    language: Language,
    proposal: Proposal,
    incumbent: Scored,
    find: Callable[[str], Scored | None],
) -> Embedded:
    """A proposal as a parameter: base + weight x (the proposal embedded on its base − base).

    Args:
        language: Embeds the proposal.
        proposal: Words, numbers or raw parameters.
        incumbent: The base if the proposal names none.
        find: Returns a candidate of the pool by id.

    Raises:
        ProposalRejected: The proposal cannot be embedded, or its base is not in the pool; settings
            have another base than the incumbent.
    """
    base: Scored | None = incumbent
    if proposal.base_id:
        base = find(proposal.base_id)
    if base is None:
        raise ProposalRejected(
            ProposalStatus.MALFORMED, f"the base {proposal.base_id!r} is not in the pool"
        )
    placed = language.embed(proposal, base.parameters)
    if placed.settings is not None and base.candidate != incumbent.candidate:
        raise ProposalRejected(
            ProposalStatus.MALFORMED, "settings are of the steps from the incumbent on"
        )
    if proposal.weight == 1.0 or placed.settings is not None:
        return placed
    if not language.can_blend:
        raise ProposalRejected(
            ProposalStatus.MALFORMED, "its weight must be 1: texts cannot be blended"
        )
    mixed = torch.lerp(base.parameters, placed.parameters, proposal.weight)
    return Embedded(mixed, placed.filled)


def _parents(proposal: Proposal, incumbent: Scored) -> tuple[str, ...]:
    """Parent ids of a proposal: its base, if it is an edit, and the parents that it names."""
    if not proposal.base_id and proposal.weight == 1.0:
        return proposal.parents
    base = proposal.base_id or incumbent.candidate.candidate_id
    return (base, *(parent for parent in proposal.parents if parent != base))


def score_answer(
    language: Language,
    screening: Screening,
    answer: Answer,
    incumbent: Scored,
    find: Callable[[str], Scored | None],
    stage: int,
    affordable: Callable[[int], bool],
) -> ScoredAnswer:
    """Embeds an answer's proposals on their bases (see `place`) and scores them in one batch.

    Args:
        language: Embeds the proposals.
        screening: Scores them.
        answer: The mentor's answer.
        incumbent: The incumbent.
        find: Returns a candidate of the pool by id.
        stage: The current stage.
        affordable: Whether the budget allows scoring so many proposals; further ones are refused as
            OVER_BUDGET.
    """
    refused: dict[str, ProposalOutcome] = {}
    embedded: dict[str, tuple[Proposal, Embedded]] = {}
    seen: dict[bytes, str] = {}
    for proposal in answer.proposals:
        name = proposal.proposal_id
        try:
            item = place(language, proposal, incumbent, find)
        except ProposalRejected as rejection:
            refused[name] = ProposalOutcome(name, rejection.status, detail=rejection.detail)
            continue
        key = item.parameters.cpu().contiguous().numpy().tobytes()
        if key in seen:
            refused[name] = _refusal(name, ProposalStatus.DUPLICATE, f"identical to {seen[key]}")
        elif not affordable(len(embedded) + 1):
            refused[name] = _refusal(name, ProposalStatus.OVER_BUDGET, "no evaluations are left")
        else:
            seen[key] = name
            embedded[name] = (proposal, item)
    if not embedded:
        return ScoredAnswer((), refused)
    stacked = torch.stack([item.parameters for _, item in embedded.values()])
    scores = screening.score(stacked)
    rows = max(score.rows for score in scores)
    projected = language.project(stacked)
    entrants = []
    for i, (name, (proposal, item)) in enumerate(embedded.items()):
        if not math.isfinite(scores[i].loss):
            refused[name] = _refusal(
                name, ProposalStatus.OUT_OF_BOUNDS, f"its selection loss is {scores[i].loss}"
            )
            continue
        if scores[i].rows < rows:
            refused[name] = ProposalOutcome(
                name,
                ProposalStatus.NOT_CHOSEN,
                scores[i],
                detail=f"screened out after {scores[i].rows} of {rows} selection rows",
            )
            continue
        candidate = Candidate(
            candidate_id=name,
            source=CandidateSource.PROPOSAL,
            stage=stage,
            step=incumbent.candidate.step,
            text=_text(language, proposal, projected[i]),
            filled=item.filled,
            parents=_parents(proposal, incumbent),
            score=scores[i],
        )
        entrants.append(Scored(candidate, stacked[i]))
    return ScoredAnswer(tuple(entrants), refused, screening.cost(len(embedded)))


def first_proposal(
    language: Language,
    answer: Answer,
    incumbent: Scored,
    find: Callable[[str], Scored | None],
    stage: int,
) -> ScoredAnswer:
    """The first proposal of an answer that can be embedded, without scoring it; the others are
    refused."""
    others: dict[str, ProposalOutcome] = {}
    first: Scored | None = None
    for proposal in answer.proposals:
        name = proposal.proposal_id
        if first is not None:
            others[name] = _refusal(name, ProposalStatus.NOT_CHOSEN, "only the first is used")
            continue
        try:
            item = place(language, proposal, incumbent, find)
        except ProposalRejected as rejection:
            others[name] = _refusal(name, rejection.status, rejection.detail)
            continue
        candidate = Candidate(
            candidate_id=name,
            source=CandidateSource.PROPOSAL,
            stage=stage,
            step=incumbent.candidate.step,
            text=proposal.text,
            filled=item.filled,
            parents=_parents(proposal, incumbent),
            score=Score(loss=math.nan),
            settings=item.settings,
        )
        first = Scored(candidate, item.parameters)
    return ScoredAnswer((), others, unscored=first)


def _text(language: Language, proposal: Proposal, projected: Projected) -> str:
    """Text of a proposal's candidate. A blend of vectors keeps the proposal's own words, because
    its nearest tokens are mostly the base's. A blend of numbers gives new numbers."""
    mixed_numbers = proposal.weight != 1.0 and not language.has_words
    return projected.text if mixed_numbers else proposal.text or projected.text


def _refusal(name: str, status: ProposalStatus, detail: str) -> ProposalOutcome:
    return ProposalOutcome(name, status, detail=detail)
