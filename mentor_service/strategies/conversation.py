"""Asks the LLM on behalf of a strategy and collects the proposals of one answer.

A strategy describes its questions as `Draft`s. This module turns a draft into a question in the
profile's form, chooses the number of replies, shortens questions that are too long, parses the
replies and records them, in the same way for all strategies.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from mentor_service import grammars
from mentor_service.grammars import Slot
from mentor_service.parsing import Check, Parsed, ParsedProposal
from mentor_service.profiles import Profile
from mentor_service.prompts import (
    EXAMPLE_PHRASES,
    Message,
    QuestionFacts,
    foreign_words,
    next_lines,
)
from mentor_service.protocols import Ask, Knowledge, Question, Reply
from mentor_service.reasoning import UNFINISHED, answer_of
from mentor_service.similarity import plain_letters
from mentor_service.strategies import shown_candidates
from mentor_service.strategies.asked_lines import propose_lines
from mentor_service.strategies.drafts import TOKENS_A_WORD, Draft, Size, Write
from mentor_service.strategies.options import Options
from mentorgrad.domain.advice import (
    AnswerRecord,
    Constraints,
    Exemplar,
    PositionHints,
    Proposal,
    ProposalKind,
    ProposalRequest,
)
from mentorgrad.domain.run import Candidate, CandidateSource
from mentorgrad.errors import InvalidInput

_SEED_STRIDE = 1_000_003
"""Distance between the seeds of questions, so that no two replies share a seed."""

_PATTERN_TURNS = 4
"""Maximum questions that differ in their patterns only."""

_CONTINUED = "[text to continue]\n"
"""Stands in front of the recorded question if the backend continued it, not answered by chat."""

_TOKENS_A_SETTING = 24
"""Tokens reserved per setting, with its name."""

_MOST_WORDS = 256
"""Maximum favoured words in a grammar; each makes it slower."""


@dataclass
class Conversation:
    """Questions and results of one answer; a strategy's only access to the LLM.

    Deterministic given the knowledge, the request and the replies: all randomness comes from
    `random`.
    """

    request: ProposalRequest
    """The client's request."""
    known: Knowledge
    """The session's knowledge."""
    profile: Profile
    """Model profile, with the options applied."""
    options: Options
    """The strategy's options."""
    strategy: str
    """Name of the strategy, for the records."""
    model: str
    """Model reference, for the records."""
    hints: str
    """Use of gradient hints: ``none``, ``show`` or ``grammar``; ``none`` if there are none."""
    near: bool
    """Whether near duplicates are dropped."""
    exemplars: tuple[Exemplar, ...]
    """Train rows shown in prompts; a strategy may replace them."""
    ask_backend: Ask
    """Asks the backend."""
    random: random.Random = field(init=False)
    """Random generator, seeded by the request."""
    parsed: Parsed = field(init=False)
    """Everything parsed so far."""
    kept: list[Proposal] = field(default_factory=list)
    """Proposals of the answer so far, without ids and weights."""
    records: list[AnswerRecord] = field(default_factory=list)
    """Records, one per question."""
    round: int = 0
    """Number of the current round, from 0."""
    ended: bool = False
    """Set by a strategy that needs no further round."""
    notes: list[str] = field(default_factory=list)
    """What the answer's detail says besides what was dropped, without repetitions."""

    def __post_init__(self) -> None:
        self._by_line = False
        self.random = random.Random(f"{self.strategy}:{self.request.seed}")
        foreign = () if self.profile.rules else foreign_words(self.known.open.card)
        known = (*shown_candidates.texts(self.known), *EXAMPLE_PHRASES)
        self.parsed = Parsed(
            self.constraints, known, foreign, self.near, in_effect=self.settings_in_effect
        )

    # -- what a strategy may read --------------------------------------------------------------

    @property
    def constraints(self) -> Constraints:
        """Constraints on proposals."""
        return self.known.open.constraints

    @property
    def numbers(self) -> bool:
        """Whether proposals are numbers, not text."""
        return self.constraints.kind is ProposalKind.NUMBERS

    @property
    def settings_in_effect(self) -> Mapping[str, Any] | None:
        """The settings of the incumbent, for proposals of settings."""
        incumbent = self.known.pool.get(self.request.incumbent_id)
        return None if incumbent is None else incumbent.settings

    @property
    def asks_for_lines(self) -> bool:
        """Whether proposals are lines of a language model's input."""
        return next_lines.asks_for_line(self.known.open.card, self.constraints.kind)

    @property
    def continues(self) -> bool:
        """Whether drafts with `next_line` are asked as texts to continue: by the profile, and for
        lines of a language model's input."""
        return self.asks_for_lines and self.profile.form == "completion"

    @property
    def has_enough(self) -> bool:
        """Whether no further round is needed: half of the requested proposals were found, or all of
        them if each has a reply of its own."""
        return not self.missing if self._by_line else 2 * len(self.kept) >= self.request.count

    def ranked(self) -> list[Candidate]:
        """The candidates to show, best first. In a text to continue, only earlier proposals: the
        words of a continuous vector are no line to go on from."""
        sources = [CandidateSource.PROPOSAL] if self.continues else list(CandidateSource)
        return shown_candidates.ranked(self.known, sources)

    def best(self, top_k: int) -> list[Candidate]:
        """The `top_k` candidates of lowest loss to show, worst first; see `ranked`."""
        return self.ranked()[:top_k][::-1]

    @property
    def missing(self) -> int:
        """Number of proposals still missing."""
        return max(0, self.request.count - len(self.kept))

    def turns(self, most: int) -> Iterator[int]:
        """Divides the missing proposals among at most `most` questions; yields the number for each.
        Later questions share what earlier ones did not find."""
        for left in range(min(most, self.missing), 0, -1):
            if self.missing:
                yield math.ceil(self.missing / left)

    def pattern_turns(self) -> Iterator[int]:
        """`turns` for strategies with patterns: with grammars, several questions with different
        patterns. A model follows much the same path through a grammar every time, and repeating a
        question with another grammar is cheap."""
        replies = math.ceil(self.missing / self.profile.lines)
        return self.turns(1 if self.profile.json else min(_PATTERN_TURNS, replies))

    def favoured(self) -> tuple[str, ...]:
        """The words of ASCII letters that the gradient favours, in lower case."""
        words = (
            hint.token.lower()
            for place in self.request.hints
            for hint in place.tokens[: self.profile.hint_tokens]
        )
        plain = dict.fromkeys(word for word in words if plain_letters(word))
        return tuple(itertools.islice(plain, _MOST_WORDS))

    # -- asking -------------------------------------------------------------------------------

    async def propose(self, draft: Draft, count: int | None = None) -> list[ParsedProposal]:
        """Asks for proposals and keeps at most `count` valid ones.

        Args:
            draft: The question.
            count: Number of proposals; None: all that are missing.

        Returns:
            The proposals kept.

        Raises:
            MentorgradError: The backend failed; see `mentor_service.protocols.Backend.ask`.
        """
        count = self.missing if count is None else min(count, self.missing)
        if not count:
            return []
        if draft.next_line is not None and self.continues:
            self._by_line = True
            return await propose_lines(self, draft, draft.next_line, count)
        samples, lines = self._shares(draft, count)
        size = Size(len(draft.shown), lines)
        check = self._check(draft)
        reply = await self.ask(size, lambda: self._question(draft, size, count, samples))
        found = []
        for text, finish in zip(reply.texts, reply.finish_reasons, strict=True):
            found += self.parsed.read(text, self.profile.json, finish == "stop", check)
        if self.options.order == "short":
            found.sort(key=lambda item: item.text.count(" "))
        self.keep(found[:count], draft, size)
        return found[:count]

    async def say(
        self, write: Write, max_tokens: int, grammar: str = "", shown: Sequence[Candidate] = ()
    ) -> str:
        """Asks for free text.

        Args:
            write: Writes the prompt.
            max_tokens: Maximum tokens of the reply.
            grammar: GBNF grammar of the reply; empty: unconstrained.
            shown: Candidates to show, worst first.

        Returns:
            The reply without its reasoning; empty if it ends within it.

        Raises:
            MentorgradError: The backend failed; see `mentor_service.protocols.Backend.ask`.
        """
        size = Size(len(shown), 1, extras=False)

        def question() -> Question:
            facts = self.facts(self.request.count, size.of(shown))
            return self.question(write(facts), max_tokens, grammar)

        return next(iter((await self.ask(size, question)).texts), "")

    def offer(self, found: ParsedProposal, parents: tuple[str, ...]) -> None:
        """Keeps a proposal that the strategy parsed itself, if it is valid and one is missing."""
        if self.missing and self.parsed.offer(found):
            self._keep(self.parsed.found[-1], parents)

    def offer_line(self, text: str) -> None:
        """Keeps a line as it is, without parents, if it was not proposed before and one is missing.

        It may have as many words as the constraints allow."""
        if self.missing and self.parsed.offer_line(text):
            self._keep(self.parsed.found[-1], ())

    def facts(
        self, count: int, shown: Sequence[Candidate] = (), extras: bool = True
    ) -> QuestionFacts:
        """Builds the facts of a question.

        Args:
            count: Proposals requested per reply.
            shown: Candidates, worst first.
            extras: Whether to include hints and train rows.
        """
        hints: tuple[PositionHints, ...] = ()
        if extras and self.hints == "show":
            keep = self.profile.hint_tokens
            hints = tuple(replace(at, tokens=at.tokens[:keep]) for at in self.request.hints)
        words = min(self.constraints.max_words, self.profile.max_words)
        return QuestionFacts(
            card=self.known.open.card,
            limits=replace(self.constraints, max_words=words),
            profile=self.profile,
            count=count,
            shown=tuple(shown_candidates.show(candidate) for candidate in shown),
            hints=hints,
            exemplars=self.exemplars if extras else (),
            problem=self.parsed.detail() if self.round else "",
            wording=self.options.wording,
            settings=self.settings_in_effect,
        )

    def keep(self, found: Sequence[ParsedProposal], draft: Draft, size: Size) -> None:
        """Keeps proposals as the answer's, with the draft's parents and base."""
        shown = tuple(candidate.candidate_id for candidate in size.of(draft.shown))
        for item in found:
            self._keep(item, shown if draft.parents is None else draft.parents, draft.base_id)

    def note(self, note: str) -> None:
        """Adds to what the answer's detail says."""
        if note not in self.notes:
            self.notes.append(note)

    async def ask(self, size: Size, write: Callable[[], Question]) -> Reply:
        """Asks a question, smaller and smaller until it fits, and records it.

        Args:
            size: Size of the question; reduced as necessary.
            write: Writes the question in this size.

        Returns:
            The replies, without reasoning.

        Raises:
            MentorgradError: The backend failed; see `mentor_service.protocols.Backend.ask`.
        """
        while True:
            question = write()
            try:
                reply = await self.ask_backend(question)
            except InvalidInput as error:
                if error.reason != "QUESTION_TOO_LONG" or not size.shrink():
                    raise
            else:
                self._record(question, reply)
                return self._answers(reply)

    def question(
        self, message: Message, max_tokens: int, grammar: str = "", heat: float = 0.0
    ) -> Question:
        """A question with the profile's settings and the next seed.

        Args:
            message: The prompt.
            max_tokens: Maximum tokens of a reply.
            grammar: GBNF grammar of a reply; empty: unconstrained.
            heat: Added to the temperature.
        """
        return Question(
            system=message.system,
            user=message.user,
            grammar="" if self.profile.reasoning_tokens else grammar,
            json_schema=None,
            max_tokens=max_tokens,
            temperature=min(2.0, max(0.0, self.profile.temperature + heat)),
            seed=(self.request.seed + len(self.records) * _SEED_STRIDE) % 2**63,
            repeat_penalty=0.0 if self.numbers else self.profile.repeat_penalty,
            reasoning_tokens=self.profile.reasoning_tokens,
        )

    # -- internal -----------------------------------------------------------------------------

    def _keep(self, found: ParsedProposal, parents: tuple[str, ...], base_id: str = "") -> None:
        self.kept.append(Proposal(**vars(found), parents=parents, base_id=base_id))

    def _answers(self, reply: Reply) -> Reply:
        """The replies without their reasoning; those that end within it are dropped."""
        answers = [answer_of(text) for text in reply.texts]
        found = [
            (text, finish)
            for text, finish in zip(answers, reply.finish_reasons, strict=True)
            if text is not None
        ]
        if unfinished := len(answers) - len(found):
            self.parsed.dropped[UNFINISHED] += unfinished
        return replace(
            reply,
            texts=tuple(text for text, _ in found),
            finish_reasons=tuple(finish for _, finish in found),
        )

    def _shares(self, draft: Draft, count: int) -> tuple[int, int]:
        """Number of replies, and of lines per reply, for `count` proposals."""
        wanted = self.options.samples
        if wanted is None:
            least = min(self.profile.samples, math.ceil(count / self.profile.lines))
            wanted = max(draft.samples, least)
        samples = min(wanted, count)
        return samples, math.ceil(count / samples)

    def _allowed(self, draft: Draft) -> dict[str, None]:
        """Allowed words of a proposal, as an ordered set; empty: any."""
        if self.hints != "grammar":
            return {}
        slots = [slot for pattern in draft.patterns for slot in pattern if slot is not None]
        fixed = [word for slot in slots for word in ((slot,) if isinstance(slot, str) else slot)]
        return dict.fromkeys((*self.favoured(), *fixed))

    def _check(self, draft: Draft) -> Check:
        """Combines the draft's check with the check of allowed words."""
        allowed = self._allowed(draft)

        def check(found: ParsedProposal) -> str:
            if allowed and not allowed.keys() >= set(found.text.split()):
                return "words that the gradient does not favour"
            return draft.check(found)

        return check

    def _question(self, draft: Draft, size: Size, count: int, samples: int) -> Question:
        facts = self.facts(size.lines, size.of(draft.shown), size.extras)
        facts = replace(facts, only=tuple(self._allowed(draft)))
        each = _reply_tokens(facts.limits, self.profile, draft.patterns)
        question = self.question(
            draft.write(facts),
            size.lines * each + 16,
            "" if self.profile.json else self._grammar(draft, facts),
            draft.heat,
        )
        if self.profile.json and not self.profile.reasoning_tokens:
            limits = facts.limits
            schema = grammars.reply_schema(limits.kind, limits.settings_schema)
            question = replace(question, json_schema=schema)
        return replace(
            question,
            samples=min(count, max(samples, math.ceil(count / size.lines))),
        )

    def _grammar(self, draft: Draft, facts: QuestionFacts) -> str:
        if self.numbers:
            return grammars.number_lines(facts.count, facts.limits)
        if self.parsed.space is not None:
            return grammars.settings_lines(facts.count, self.parsed.space)
        if draft.patterns:
            return grammars.pattern_lines(facts.count, draft.patterns, facts.only)
        return grammars.word_lines(
            facts.count, facts.limits.max_words, self.profile.min_words, facts.only
        )

    def _record(self, asked: Question, reply: Reply) -> None:
        text = f"{asked.system}\n\n{asked.user}" if asked.system else asked.user
        if reply.completed:
            text = _CONTINUED + asked.user
        self.records.append(
            AnswerRecord(
                strategy=self.strategy,
                model=self.model,
                profile=self.profile.name,
                seed=asked.seed,
                question=text,
                raw_replies=reply.texts,
                prompt_tokens=reply.prompt_tokens,
                reply_tokens=reply.reply_tokens,
                duration=reply.duration,
            )
        )


def _reply_tokens(limits: Constraints, profile: Profile, patterns: Sequence[Sequence[Slot]]) -> int:
    """Tokens to reserve per proposal."""
    if limits.kind is ProposalKind.NUMBERS:
        each = 8 * limits.dimensions + 4
    elif limits.kind is ProposalKind.SETTINGS:
        each = _TOKENS_A_SETTING * len((limits.settings_schema or {}).get("properties", ()))
    else:
        words = max((len(pattern) for pattern in patterns), default=limits.max_words)
        each = TOKENS_A_WORD * min(words, 32) + 4
    return each + (40 if profile.json else 0)
