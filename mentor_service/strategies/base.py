"""The base of the strategies here: everything but the idea.

A strategy of one's own is a subclass with a name, a description and one method, `converse`, which
chooses what to show and asks by the `Conversation` that it is given. Retries, shorter questions,
parsing, duplicates, blends, records and typed outcomes are the same for all.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from mentor_service.profiles import Profile
from mentor_service.protocols import Ask, Knowledge
from mentor_service.strategies import shown_candidates
from mentor_service.strategies.conversation import Conversation, Kept
from mentor_service.strategies.options import Options, schema
from mentorgrad.domain.advice import (
    Answer,
    AnswerStatus,
    Proposal,
    ProposalKind,
    ProposalRequest,
    Wants,
)
from mentorgrad.errors import InvalidInput, MentorgradError


class PromptedStrategy(ABC):
    """See the module; satisfies `mentor_service.protocols.Strategy`.

    Args:
        profile: What form of question the model can follow.
        options: Checked against `options_schema`.
        model: Reference of the model, for the records.
    """

    name: ClassVar[str]
    """Name to ask for it by."""
    description: ClassVar[str]
    """One line."""
    wants: ClassVar[Wants] = Wants(words=True)
    """What it wants to be sent; of an instance, the option ``hints`` adds hints."""
    own_options: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    """JSON Schemas of its own options by name, each with a description; the common ones are added,
    and an entry of the same name takes the common one's place."""
    options_schema: ClassVar[Mapping[str, Any]] = schema({})
    """Made of the common options and `own_options`."""
    kinds: ClassVar[frozenset[ProposalKind]] = frozenset(ProposalKind)
    """What it can propose."""
    near_is_known: ClassVar[bool] = True
    """Whether proposals that are nearly known are dropped; not where small edits are the point."""
    shows_exemplars: ClassVar[bool] = False
    """Whether pages carry train rows, as many as the profile shows."""

    def __init_subclass__(cls, **more: Any) -> None:
        super().__init_subclass__(**more)
        cls.options_schema = schema(cls.own_options)

    def __init__(self, profile: Profile, options: Mapping[str, Any], model: str) -> None:
        given = Options.read(options)
        self.options = given
        """As given."""
        self.profile = replace(
            profile,
            top_k=profile.top_k if given.top_k is None else given.top_k,
            temperature=profile.temperature if given.temperature is None else given.temperature,
            calls=profile.calls if given.calls is None else given.calls,
        )
        """With the options in it."""
        self.hints = given.hints or (profile.hints if self.wants.hints else "none")
        """What is done with gradient hints."""
        # Read of the class before there are options, and of the instance then.
        self.wants = replace(self.wants, hints=self.hints != "none")  # type: ignore[misc]
        self._model = model

    @abstractmethod
    async def converse(self, conversation: Conversation) -> None:
        """Asks for what is missing, by one question or several; called again while too little was
        found.

        Args:
            conversation: What is known, what is wanted, and by what to ask.
        """

    async def propose(self, request: ProposalRequest, known: Knowledge, ask: Ask) -> Answer:
        """See `mentor_service.protocols.Strategy`.

        Raises:
            InvalidInput: It cannot propose what the session is about (UNSUPPORTED_KIND).
            MentorgradError: The backend's, when nothing had been found yet.
        """
        kind = known.open.constraints.kind
        if kind not in self.kinds:
            raise InvalidInput(
                f"the strategy {self.name} cannot propose {kind.value}", reason="UNSUPPORTED_KIND"
            )
        conversation = self._talk(request, known, ask)
        for conversation.round in range(self.profile.calls):
            try:
                await self.converse(conversation)
            except MentorgradError:
                if not conversation.kept:
                    raise
                break
            if conversation.ended or 2 * len(conversation.kept) >= request.count:
                break
        return self._answer(conversation)

    def _talk(self, request: ProposalRequest, known: Knowledge, ask: Ask) -> Conversation:
        rows = request.exemplars[: self.profile.exemplars] if self.shows_exemplars else ()
        words = known.open.constraints.kind is ProposalKind.TEXT
        conversation = Conversation(
            request=request,
            known=known,
            profile=self.profile,
            options=self.options,
            strategy=self.name,
            model=self._model,
            hints=self.hints if request.hints and words else "none",
            near=self.near_is_known,
            exemplars=rows,
            ask_backend=ask,
        )
        if conversation.hints == "grammar" and not conversation.favoured():
            conversation.hints = "none"
        return conversation

    def _answer(self, conversation: Conversation) -> Answer:
        found, parsed = conversation.kept, conversation.parsed
        best = (
            shown_candidates.best_snapshot(conversation.known)
            if self.options.base == "best"
            else ""
        )
        return Answer(
            request_id=conversation.request.request_id,
            status=AnswerStatus.USABLE if found else AnswerStatus.UNUSABLE,
            proposals=tuple(
                self._proposal(conversation.request.stage, number, kept, best)
                for number, kept in enumerate(found)
            ),
            records=tuple(conversation.records),
            detail=parsed.detail() or ("" if found else "the reply was empty"),
        )

    def _proposal(self, stage: int, number: int, kept: Kept, best: str) -> Proposal:
        weights = self.options.weights or (1.0,)
        return Proposal(
            proposal_id=f"s{stage}/p{number + 1}",
            text=kept.found.text,
            values=kept.found.values,
            parents=kept.parents,
            rationale=kept.found.rationale,
            base_id=kept.base_id if self.options.base is None else best,
            weight=weights[number % len(weights)],
        )
