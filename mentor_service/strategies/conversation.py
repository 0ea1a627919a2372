"""One answer in the making: asking, reading, and keeping what can be used.

A strategy words its questions as drafts. How a draft becomes a question of the profile's form, how
many replies are drawn to it, what is left out when it is too long, and what is recorded of it, is
here and the same for all.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from mentor_service import grammars
from mentor_service.grammars import Slot
from mentor_service.parsing import Check, Parsed, ParsedProposal
from mentor_service.profiles import Profile
from mentor_service.prompts import EXAMPLE_PHRASES, Message, QuestionFacts, foreign_words
from mentor_service.protocols import Ask, Knowledge, Question, Reply
from mentor_service.similarity import plain_letters
from mentor_service.strategies import shown_candidates
from mentor_service.strategies.options import Options
from mentorgrad.domain.advice import (
    AnswerRecord,
    Constraints,
    Exemplar,
    PositionHints,
    ProposalKind,
    ProposalRequest,
)
from mentorgrad.domain.run import Candidate
from mentorgrad.errors import InvalidInput

_TOKENS_A_WORD = 4
"""Generous: odd words are written in several tokens."""

_SEED_STRIDE = 1_000_003
"""Apart enough that no call's replies share a seed with another's."""

_PATTERN_TURNS = 4
"""Questions at most that differ in their patterns only."""

_MOST_WORDS = 256
"""Favoured words that a grammar allows; each makes it slower."""

Write = Callable[[QuestionFacts], Message]
"""Words a question."""


def _no_objection(found: ParsedProposal) -> str:
    return ""


@dataclass(frozen=True)
class Draft:
    """One question as a strategy words it."""

    write: Write
    """Words it; a pure function, called again with fewer candidates when it was too long."""
    shown: tuple[Candidate, ...] = ()
    """Candidates to show, the worst first. The first ones are left out when the question is
    too long: what it cannot do without belongs into `write` itself."""
    parents: tuple[str, ...] | None = None
    """Ids of the candidates that the proposals are made from; None: those shown."""
    base_id: str = ""
    """Candidate that the proposals are edits of; empty: the incumbent. The option ``base`` is
    stronger."""
    patterns: tuple[tuple[Slot, ...], ...] = ()
    """What lines may look like, where replies have a grammar; empty: any words."""
    check: Check = _no_objection
    """Why a proposal within the constraints is refused all the same."""
    heat: float = 0.0
    """Added to the temperature."""
    samples: int = 1
    """Replies to draw at least; the option ``samples`` is stronger."""


@dataclass(frozen=True)
class Kept:
    """A proposal, and what it comes from."""

    found: ParsedProposal
    """As it was read."""
    parents: tuple[str, ...]
    """Candidates it was made from."""
    base_id: str
    """Candidate that it is an edit of; empty: the incumbent."""


@dataclass
class _Size:
    """How much of a draft is asked; made smaller while the question is too long."""

    shown: int
    lines: int
    extras: bool = True

    def shrink(self) -> bool:
        """Leaves something out; False when nothing is left to leave out."""
        if self.shown:
            self.shown //= 2
        elif self.extras:
            self.extras = False
        elif self.lines > 1:
            self.lines //= 2
        else:
            return False
        return True


@dataclass
class Conversation:
    """See the module. What a strategy may look at, and by what it asks.

    The same knowledge, request and replies make the same conversation: whatever is drawn at random
    comes from `random`.
    """

    request: ProposalRequest
    """What is asked for."""
    known: Knowledge
    """What the session knows."""
    profile: Profile
    """What form of question the model can follow, with the options in it."""
    options: Options
    """As given."""
    strategy: str
    """Its name, for the records."""
    model: str
    """Reference of the model, for the records."""
    hints: str
    """``none``, ``show`` or ``grammar``; ``none`` where the trainer sent none."""
    near: bool
    """Whether what is nearly known is no news."""
    exemplars: tuple[Exemplar, ...]
    """Train rows that pages show; a strategy may choose others."""
    ask_backend: Ask
    """Asks the backend."""
    random: random.Random = field(init=False)
    """Seeded by the request."""
    parsed: Parsed = field(init=False)
    """What was read so far."""
    kept: list[Kept] = field(default_factory=list)
    """What will be proposed."""
    records: list[AnswerRecord] = field(default_factory=list)
    """One a call."""
    round: int = 0
    """How often the strategy was called before for this answer."""
    ended: bool = False
    """Whether the strategy wants no further round."""

    def __post_init__(self) -> None:
        self.random = random.Random(f"{self.strategy}:{self.request.seed}")
        foreign = () if self.profile.rules else foreign_words(self.known.open.card)
        known = (*shown_candidates.texts(self.known), *EXAMPLE_PHRASES)
        self.parsed = Parsed(self.constraints, known, foreign, self.near)

    # -- what a strategy looks at -------------------------------------------------------------

    @property
    def constraints(self) -> Constraints:
        """What a proposal must satisfy."""
        return self.known.open.constraints

    @property
    def numbers(self) -> bool:
        """Whether proposals are points, not phrases."""
        return self.constraints.kind is ProposalKind.NUMBERS

    @property
    def missing(self) -> int:
        """Proposals still wanted."""
        return max(0, self.request.count - len(self.kept))

    def turns(self, most: int) -> Iterator[int]:
        """Shares of what is missing, for at most so many questions one after the other; what one
        leaves open is shared by those after it."""
        for left in range(min(most, self.missing), 0, -1):
            if self.missing:
                yield math.ceil(self.missing / left)

    def pattern_turns(self) -> Iterator[int]:
        """The turns of a strategy of patterns: where replies have a grammar, a question for each
        few replies, with patterns of its own. A model takes much the same way through a grammar
        every time, and the same question costs little with another grammar."""
        replies = math.ceil(self.missing / self.profile.lines)
        return self.turns(1 if self.profile.json else min(_PATTERN_TURNS, replies))

    def favoured(self) -> tuple[str, ...]:
        """The words of plain letters that the gradient favours, in lower case."""
        words = (
            hint.token.lower()
            for place in self.request.hints
            for hint in place.tokens[: self.profile.hint_tokens]
        )
        plain = dict.fromkeys(word for word in words if plain_letters(word))
        return tuple(itertools.islice(plain, _MOST_WORDS))

    # -- what it does -------------------------------------------------------------------------

    async def propose(self, draft: Draft, count: int | None = None) -> list[ParsedProposal]:
        """Asks for proposals and keeps at most `count` of those that can be used.

        Args:
            draft: The question.
            count: Proposals wanted of it; None: all that are missing.

        Raises:
            MentorgradError: The backend's, see `mentor_service.protocols.Backend.ask`.
        """
        count = self.missing if count is None else min(count, self.missing)
        if not count:
            return []
        samples, lines = self._shares(draft, count)
        size = _Size(len(draft.shown), lines)
        check = self._check(draft)
        while True:
            question, shown = self._question(draft, size, count, samples)
            try:
                reply = await self.ask_backend(question)
                break
            except InvalidInput as error:
                if error.reason != "QUESTION_TOO_LONG" or not size.shrink():
                    raise
        self._record(question, reply)
        found = []
        for text, finish in zip(reply.texts, reply.finish_reasons, strict=True):
            found += self.parsed.read(text, self.profile.json, finish == "stop", check)
        if self.options.order == "short":
            found.sort(key=lambda item: item.text.count(" "))
        ids = tuple(candidate.candidate_id for candidate in shown)
        parents = ids if draft.parents is None else draft.parents
        self.kept += [Kept(item, parents, draft.base_id) for item in found[:count]]
        return found[:count]

    async def say(
        self, write: Write, max_tokens: int, grammar: str = "", shown: Sequence[Candidate] = ()
    ) -> str:
        """Asks for free text.

        Args:
            write: Words the question.
            max_tokens: Most tokens of the reply.
            grammar: GBNF grammar of the reply; empty: free.
            shown: Candidates to show, the worst first.

        Raises:
            MentorgradError: The backend's.
        """
        size = _Size(len(shown), 1, extras=False)
        while True:
            facts = self.facts(self.request.count, tuple(shown)[len(shown) - size.shown :])
            try:
                question = self._asked(write(facts), max_tokens, grammar)
                reply = await self.ask_backend(question)
                break
            except InvalidInput as error:
                if error.reason != "QUESTION_TOO_LONG" or not size.shrink():
                    raise
        self._record(question, reply)
        return reply.texts[0]

    def offer(self, found: ParsedProposal, parents: tuple[str, ...]) -> None:
        """Keeps a proposal that the strategy read itself, if the constraints allow it."""
        if self.missing and self.parsed.offer(found):
            self.kept.append(Kept(self.parsed.found[-1], parents, ""))

    def facts(
        self, count: int, shown: Sequence[Candidate] = (), extras: bool = True
    ) -> QuestionFacts:
        """The facts of a question.

        Args:
            count: Proposals that one reply should hold.
            shown: Candidates, the worst first.
            extras: Whether there is room for hints and train rows.
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
        )

    # -- how ----------------------------------------------------------------------------------

    def _shares(self, draft: Draft, count: int) -> tuple[int, int]:
        """Replies to draw, and lines of each, for so many proposals."""
        wanted = self.options.samples
        if wanted is None:
            least = min(self.profile.samples, math.ceil(count / self.profile.lines))
            wanted = max(draft.samples, least)
        samples = min(wanted, count)
        return samples, math.ceil(count / samples)

    def _allowed(self, draft: Draft) -> dict[str, None]:
        """The only words that a proposal may have; none: any."""
        if self.hints != "grammar":
            return {}
        slots = [slot for pattern in draft.patterns for slot in pattern if slot is not None]
        fixed = [word for slot in slots for word in ((slot,) if isinstance(slot, str) else slot)]
        return dict.fromkeys((*self.favoured(), *fixed))

    def _check(self, draft: Draft) -> Check:
        """The draft's own, and that of the words where no grammar sees to them."""
        allowed = self._allowed(draft)

        def check(found: ParsedProposal) -> str:
            if allowed and not allowed.keys() >= set(found.text.split()):
                return "words that the gradient does not favour"
            return draft.check(found)

        return check

    def _question(
        self, draft: Draft, size: _Size, count: int, samples: int
    ) -> tuple[Question, tuple[Candidate, ...]]:
        shown = draft.shown[len(draft.shown) - size.shown :]
        facts = replace(
            self.facts(size.lines, shown, size.extras), only=tuple(self._allowed(draft))
        )
        each = _reply_tokens(facts.limits, self.profile, draft.patterns)
        question = self._asked(
            draft.write(facts),
            size.lines * each + 16,
            "" if self.profile.json else self._grammar(draft, facts),
        )
        if self.profile.json:
            question = replace(question, json_schema=grammars.reply_schema(facts.limits.kind))
        return replace(
            question,
            samples=min(count, max(samples, math.ceil(count / size.lines))),
            temperature=min(2.0, max(0.0, self.profile.temperature + draft.heat)),
        ), shown

    def _asked(self, message: Message, max_tokens: int, grammar: str) -> Question:
        return Question(
            system=message.system,
            user=message.user,
            grammar=grammar,
            json_schema=None,
            max_tokens=max_tokens,
            temperature=self.profile.temperature,
            seed=(self.request.seed + len(self.records) * _SEED_STRIDE) % 2**63,
            repeat_penalty=0.0 if self.numbers else self.profile.repeat_penalty,
        )

    def _grammar(self, draft: Draft, facts: QuestionFacts) -> str:
        if self.numbers:
            return grammars.number_lines(facts.count, facts.limits)
        if draft.patterns:
            return grammars.pattern_lines(facts.count, draft.patterns, facts.only)
        return grammars.word_lines(
            facts.count, facts.limits.max_words, self.profile.min_words, facts.only
        )

    def _record(self, asked: Question, reply: Reply) -> None:
        self.records.append(
            AnswerRecord(
                strategy=self.strategy,
                model=self.model,
                profile=self.profile.name,
                seed=asked.seed,
                question=f"{asked.system}\n\n{asked.user}" if asked.system else asked.user,
                raw_replies=reply.texts,
                prompt_tokens=reply.prompt_tokens,
                reply_tokens=reply.reply_tokens,
                duration=reply.duration,
            )
        )


def _reply_tokens(limits: Constraints, profile: Profile, patterns: Sequence[Sequence[Slot]]) -> int:
    """Room for one proposal."""
    if limits.kind is ProposalKind.NUMBERS:
        each = 8 * limits.dimensions + 4
    else:
        words = max((len(pattern) for pattern in patterns), default=limits.max_words)
        each = _TOKENS_A_WORD * min(words, 32) + 4
    return each + (40 if profile.json else 0)
