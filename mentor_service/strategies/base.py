"""Base class of strategies that prompt an LLM.

A custom strategy is a subclass with a name, a description and one method, `converse`, which chooses
the candidates to show and asks questions through a `Conversation`. The base handles repeated
questions, shortening of long questions, parsing, duplicates, blend weights, records and typed
statuses.
"""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from mentor_service.profiles import Profile
from mentor_service.protocols import Ask, Knowledge
from mentor_service.strategies import shown_candidates
from mentor_service.strategies.conversation import Conversation
from mentor_service.strategies.options import Options, schema
from mentorgrad.domain.advice import (
    Answer,
    AnswerStatus,
    ProposalKind,
    ProposalRequest,
    Wants,
)
from mentorgrad.errors import InvalidInput, MentorgradError


class PromptedStrategy(ABC):
    """Base class of strategies; implements `mentor_service.protocols.Strategy`.

    Args:
        profile: Model profile, which determines the form of the questions.
        options: Options, already validated against `options_schema`.
        model: Model reference, for the records.
    """

    name: ClassVar[str]
    """Name of the strategy."""
    description: ClassVar[str]
    """One-line description."""
    wants: ClassVar[Wants] = Wants(words=True)
    """Data that the client should send; in an instance, the option ``hints`` may add hints."""
    own_options: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    """Option name → JSON Schema with a description, of options that only this strategy has. An
    entry with the name of a common option replaces it."""
    options_schema: ClassVar[Mapping[str, Any]] = schema({})
    """JSON Schema of all options: the common ones and `own_options`."""
    kinds: ClassVar[frozenset[ProposalKind]] = frozenset({ProposalKind.TEXT, ProposalKind.NUMBERS})
    """Supported kinds of proposals."""
    near_is_known: ClassVar[bool] = True
    """Whether near duplicates are dropped; False for strategies that make small edits."""
    shows_exemplars: ClassVar[bool] = False
    """Whether prompts show train rows, up to the profile's number."""

    def __init_subclass__(cls, **more: Any) -> None:
        super().__init_subclass__(**more)
        cls.options_schema = schema(cls.own_options)

    def __init__(self, profile: Profile, options: Mapping[str, Any], model: str) -> None:
        given = Options.read(options)
        self.options = given
        """The options."""
        names = ("top_k", "temperature", "calls", "form", "reasoning_tokens")
        common = {name: getattr(given, name) for name in names}
        self.profile = replace(profile, **{k: v for k, v in common.items() if v is not None})
        """The profile, with the options applied."""
        self.hints = given.hints or (profile.hints if self.wants.hints else "none")
        """Use of gradient hints: ``none``, ``show`` or ``grammar``."""
        # The class attribute applies without options; this one considers them.
        self.wants = replace(self.wants, hints=self.hints != "none")  # type: ignore[misc]
        self._model = model

    @abstractmethod
    async def converse(self, conversation: Conversation) -> None:
        """Asks for the missing proposals, in one or more questions. Called again, up to the
        profile's `calls`, until `Conversation.has_enough`.

        Args:
            conversation: The session's knowledge, the request, and methods to ask the LLM.
        """

    async def propose(self, request: ProposalRequest, known: Knowledge, ask: Ask) -> Answer:
        """See `mentor_service.protocols.Strategy`.

        Raises:
            InvalidInput: It does not support the session's kind of proposals (UNSUPPORTED_KIND).
            MentorgradError: The backend failed before any proposal was found.
        """
        kind = known.open.constraints.kind
        if kind not in self.kinds:
            raise InvalidInput(
                f"the strategy {self.name} cannot propose {kind.value}", reason="UNSUPPORTED_KIND"
            )
        conversation = self._start(request, known, ask)
        for conversation.round in range(self.profile.calls):
            try:
                await self.converse(conversation)
            except MentorgradError:
                if not conversation.kept:
                    raise
                break
            if conversation.ended or conversation.has_enough:
                break
        return self._answer(conversation)

    def _start(self, request: ProposalRequest, known: Knowledge, ask: Ask) -> Conversation:
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
        found, parsed, request = conversation.kept, conversation.parsed, conversation.request
        weights = itertools.cycle(self.options.weights or (1.0,))
        proposals = (
            replace(kept, proposal_id=f"s{request.stage}/p{number}", weight=weight)
            for number, (kept, weight) in enumerate(zip(found, weights, strict=False), start=1)
        )
        if self.options.base is not None:
            is_best = self.options.base == "best"
            base_id = shown_candidates.best_snapshot(conversation.known) if is_best else ""
            proposals = (replace(proposal, base_id=base_id) for proposal in proposals)
        return Answer(
            request_id=request.request_id,
            status=AnswerStatus.USABLE if found else AnswerStatus.UNUSABLE,
            proposals=tuple(proposals),
            records=tuple(conversation.records),
            detail="; ".join(filter(None, [*conversation.notes, parsed.detail()]))
            or ("" if found else "the reply was empty"),
        )
