"""MaaO: the best of the pool, worst to best with their losses, and a wish for better ones.

After "LLM as a Complementary Optimizer to Gradient Descent: A Case Study in Prompt Tuning"
(arXiv 2405.19732), without what its released code does wrong: the pool lasts over all rounds, the
task is described, every proposal goes back to be scored, and none is taken unseen.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from mentor_service import grammars, prompts
from mentor_service.parsing import Found, Parsed, canonical
from mentor_service.profiles import Profile
from mentor_service.protocols import Ask, Knowledge, Question, Reply
from mentorgrad.errors import InvalidInput, MentorgradError
from mentorgrad.model.advice import (
    Answer,
    AnswerRecord,
    AnswerStatus,
    Constraints,
    Proposal,
    ProposalKind,
    ProposalRequest,
    Wants,
)
from mentorgrad.model.run import Candidate, CandidateSource

_TOKENS_A_WORD = 4
"""Generous: odd words are written in several tokens."""


@dataclass(frozen=True)
class Plan:
    """A question, and what is needed to read its answer."""

    question: Question
    """For the backend."""
    shown: tuple[Candidate, ...]
    """The candidates it shows, worst first."""


class Maao:
    """See the module.

    Args:
        profile: What form of question the model can follow.
        options: Checked against `options_schema`.
        model: Reference of the model, for the records.
    """

    name: ClassVar[str] = "maao"
    description: ClassVar[str] = (
        "shows the best candidates so far, worst to best with their losses, and asks for better"
    )
    wants: ClassVar[Wants] = Wants(words=True)
    options_schema: ClassVar[Mapping[str, Any]] = {
        "type": "object",
        "properties": {
            "top_k": {
                "type": "integer",
                "minimum": 0,
                "maximum": 100,
                "description": "Candidates shown; by default the profile's.",
            },
            "temperature": {
                "type": "number",
                "minimum": 0,
                "maximum": 2,
                "description": "Sampling temperature; by default the profile's.",
            },
            "calls": {
                "type": "integer",
                "minimum": 1,
                "maximum": 5,
                "description": "Most LLM calls for one answer: the later ones ask again when the "
                "earlier ones gave less than half of what was wanted.",
            },
        },
        "additionalProperties": False,
    }

    def __init__(self, profile: Profile, options: Mapping[str, Any], model: str) -> None:
        self.profile = replace(
            profile,
            top_k=options.get("top_k", profile.top_k),
            temperature=float(options.get("temperature", profile.temperature)),
            calls=options.get("calls", profile.calls),
        )
        self._model = model

    async def propose(self, request: ProposalRequest, known: Knowledge, ask: Ask) -> Answer:
        """See `mentor_service.protocols.Strategy`."""
        limits = session_limits(known.open.constraints, self.profile)
        foreign = () if self.profile.json else prompts.foreign_words(known.open.card)
        parsed = Parsed(limits, (*texts(known), *prompts.EXAMPLE_PHRASES), foreign)
        records: list[AnswerRecord] = []
        parents: tuple[str, ...] = ()
        for call in range(self.profile.calls):
            wanted = request.count - len(parsed.found)
            problem = parsed.detail() if call else ""
            try:
                plan, reply = await self._ask(request, known, ask, wanted, call, problem)
            except MentorgradError:
                if not parsed.found:
                    raise
                break
            records.append(self._record(plan.question, reply))
            parents = tuple(candidate.candidate_id for candidate in plan.shown)
            for text, finish in zip(reply.texts, reply.finish_reasons, strict=True):
                parsed.read(text, self.profile.json, complete=finish == "stop")
            if 2 * len(parsed.found) >= request.count:
                break
        found = parsed.found[: request.count]
        return Answer(
            request_id=request.request_id,
            status=AnswerStatus.USABLE if found else AnswerStatus.UNUSABLE,
            proposals=tuple(
                _proposal(request.stage, number, item, parents)
                for number, item in enumerate(found, start=1)
            ),
            records=tuple(records),
            detail=parsed.detail() or ("" if found else "the reply was empty"),
        )

    async def _ask(
        self,
        request: ProposalRequest,
        known: Knowledge,
        ask: Ask,
        count: int,
        call: int,
        problem: str,
    ) -> tuple[Plan, Reply]:
        """Asks, and shows half as many candidates while the question is too long."""
        profile = self.profile
        while True:
            plan = question(replace(request, count=count), known, profile, call, problem)
            try:
                return plan, await ask(plan.question)
            except InvalidInput as error:
                if error.reason != "QUESTION_TOO_LONG" or not plan.shown:
                    raise
                profile = replace(profile, top_k=len(plan.shown) // 2)

    def _record(self, asked: Question, reply: Reply) -> AnswerRecord:
        return AnswerRecord(
            strategy=self.name,
            model=self._model,
            profile=self.profile.name,
            seed=asked.seed,
            question=f"{asked.system}\n\n{asked.user}" if asked.system else asked.user,
            raw_replies=reply.texts,
            prompt_tokens=reply.prompt_tokens,
            reply_tokens=reply.reply_tokens,
            duration=reply.duration,
        )


def question(
    request: ProposalRequest,
    known: Knowledge,
    profile: Profile,
    call: int = 0,
    problem: str = "",
) -> Plan:
    """The question for a request; a pure function.

    Args:
        request: How many proposals, with which seed.
        known: What the session knows.
        profile: What form of question the model can follow; with `top_k`, how much is shown.
        call: Which call for this request it is, from 0; each has a seed of its own.
        problem: What was wrong with the last reply; empty on the first call.
    """
    limits = session_limits(known.open.constraints, profile)
    shown = best(known, profile.top_k)
    entries = [
        prompts.Shown(
            text=item.text,
            loss=item.score.loss,
            accuracy=item.score.accuracy,
            toward=item.toward_text,
            source=item.source.value,
        )
        for item in shown
    ]
    write = prompts.capable if profile.json else prompts.small
    system, user = write(known.open.card, limits, entries, request.count)
    if problem and profile.json:
        user += "\n" + prompts.repair(problem, request.count)
    numbers = limits.kind is ProposalKind.NUMBERS
    if profile.json:
        grammar = ""
    elif numbers:
        grammar = grammars.number_lines(request.count, limits)
    else:
        grammar = grammars.word_lines(request.count, limits.max_words, profile.min_words)
    return Plan(
        Question(
            system=system,
            user=user,
            grammar=grammar,
            json_schema=grammars.reply_schema(limits.kind) if profile.json else None,
            max_tokens=_reply_tokens(limits, profile, request.count),
            temperature=profile.temperature,
            seed=(request.seed + call * 1_000_003) % 2**63,
            repeat_penalty=0.0 if numbers else profile.repeat_penalty,
        ),
        tuple(shown),
    )


def session_limits(constraints: Constraints, profile: Profile) -> Constraints:
    """The session's constraints, with the profile's own limit on words."""
    return replace(constraints, max_words=min(constraints.max_words, profile.max_words))


def _reply_tokens(limits: Constraints, profile: Profile, count: int) -> int:
    if limits.kind is ProposalKind.NUMBERS:
        each = 8 * limits.dimensions + 4
    else:
        each = _TOKENS_A_WORD * min(limits.max_words, 32) + 4
    return count * (each + (40 if profile.json else 0)) + 16


def best(known: Knowledge, top_k: int) -> list[Candidate]:
    """The `top_k` candidates of lowest loss, worst first, no two with the same words.

    Where a snapshot and its projection share their words, the projection's loss is shown: it is
    what these words are worth.
    """
    chosen: dict[str, Candidate] = {}
    for candidate in known.pool.values():
        key = canonical(candidate.text) or candidate.text
        if not key or not math.isfinite(candidate.score.loss):
            continue
        other = chosen.get(key)
        if other is None or _rank(candidate) < _rank(other):
            chosen[key] = candidate
    ordered = sorted(chosen.values(), key=lambda item: item.score.loss)
    return ordered[:top_k][::-1]


def _rank(candidate: Candidate) -> tuple[bool, float]:
    return candidate.source is CandidateSource.SNAPSHOT, candidate.score.loss


def texts(known: Knowledge) -> list[str]:
    """The words of the whole pool."""
    return [candidate.text for candidate in known.pool.values() if candidate.text]


def _proposal(stage: int, number: int, found: Found, parents: tuple[str, ...]) -> Proposal:
    return Proposal(
        proposal_id=f"s{stage}/p{number}",
        text=found.text,
        values=found.values,
        parents=parents,
        rationale=found.rationale,
    )
