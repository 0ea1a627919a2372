"""Asks for lines of a language model's input: the model continues a list of tasks with theirs."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from mentor_service.line_replies import LineRules
from mentor_service.parsing import ParsedProposal
from mentor_service.prompts import EXAMPLE_TASKS, LineKind, next_lines
from mentor_service.protocols import Question
from mentor_service.strategies.drafts import TOKENS_A_WORD, Draft, Size, WriteLine

if TYPE_CHECKING:
    from mentor_service.strategies.conversation import Conversation

_MOST_TOKENS = 64
"""Maximum tokens of a line; a longer one has lost its way."""

_MOST_REPLIES = 64
"""Maximum replies per text to continue."""

_HEAT = 0.2
"""Added to the temperature, since all replies continue the same text."""

_QUOTES = ('"', "“", "”", "„", "«", "»", " '", " ‘", " `")
"""What begins or ends a quotation, which a line has no use for: a small model would invent a text
and ask about that."""


async def propose_lines(
    conversation: Conversation, draft: Draft, write: WriteLine, count: int
) -> list[ParsedProposal]:
    """Asks for `count` lines, one per reply; the kinds in turn, one question each. Where a model
    has less to say in one kind, the next kinds take its place, and then those in which it had
    enough.

    Returns:
        The lines kept.

    Raises:
        MentorgradError: The backend failed; see `mentor_service.protocols.Backend.ask`.
    """
    kinds = next_lines.kinds_for(conversation.known.open.card)
    first = (conversation.request.stage + len(conversation.records)) % len(kinds)
    found: list[ParsedProposal] = []
    turns, with_more = [*kinds[first:], *kinds[:first]], []
    while count and turns:
        samples = min(_MOST_REPLIES, math.ceil(count / len(turns)))
        kind = turns.pop(0)
        found += await _propose_kind(conversation, draft, write, kind, samples)
        replies = len(conversation.records[-1].raw_replies)
        count -= replies
        if replies == samples:
            with_more.append(kind)
        if not turns:
            turns, with_more = with_more, []
    return found


async def _propose_kind(
    conversation: Conversation, draft: Draft, write: WriteLine, kind: LineKind, samples: int
) -> list[ParsedProposal]:
    size = Size(len(draft.shown), len(EXAMPLE_TASKS), extras=bool(conversation.exemplars))
    reply = await conversation.ask(
        size, lambda: _question(conversation, draft, write, kind, samples, size)
    )
    if conversation.exemplars and not size.extras:
        conversation.note("shortened by the train rows")
    if size.lines < len(EXAMPLE_TASKS):
        conversation.note(f"shortened to {size.lines} of {len(EXAMPLE_TASKS)} example tasks")
    rules = _rules(conversation, kind)

    def check(line: ParsedProposal) -> str:
        return "shows a row" if next_lines.ARROW in line.text else draft.check(line)

    found: list[ParsedProposal] = []
    for text, finish in zip(reply.texts, reply.finish_reasons, strict=True):
        found += conversation.parsed.read_line(text, rules, finish == "stop", check)
    conversation.keep(found, draft, size)
    return found


def _question(
    conversation: Conversation,
    draft: Draft,
    write: WriteLine,
    kind: LineKind,
    samples: int,
    size: Size,
) -> Question:
    limits, card = conversation.constraints, conversation.known.open.card
    facts = conversation.facts(size.lines, size.of(draft.shown), size.extras)
    message = write(replace(facts, limits=limits), kind)
    tokens = min(limits.n_tokens, TOKENS_A_WORD * limits.max_words, _MOST_TOKENS)
    # One more for the line break, and some for a tokenizer other than the trainer's.
    asked = conversation.question(message, tokens + tokens // 4 + 1, heat=draft.heat + _HEAT)
    return replace(
        asked,
        samples=samples,
        repeat_penalty=0.0,
        completes=True,
        last=kind.last,
        distinct=True,
        forms=conversation.parsed.line_forms,
        known=conversation.parsed.texts(),
        # A beginning that names a label has answered, and a language model prefers some labels
        # behind a question that names them. All else would be dropped.
        excluded=(
            *card.labels,
            *_QUOTES,
            next_lines.ARROW,
            *(f"{field}:" for field in next_lines.FIELDS),
            *next_lines.example_lines(),
            *sorted(next_lines.example_subjects(card)),
        ),
    )


def _rules(conversation: Conversation, kind: LineKind) -> LineRules:
    card = conversation.known.open.card
    return LineRules(
        fields=next_lines.FIELDS,
        examples=(*next_lines.example_lines(), *(task.weak for task in EXAMPLE_TASKS)),
        subjects=next_lines.example_subjects(card),
        labels=card.labels,
        max_words=conversation.constraints.max_words,
        last=kind.last,
    )
