"""Forms of a reply: GBNF grammars for local models and JSON Schemas for the others.

A grammar keeps a reply in form, not in content: everything is validated again after decoding.
Schemas have no `maxLength`, `maxItems` or `pattern`, which some servers compile into grammars so
large that they fail.
"""

from __future__ import annotations

from typing import Any

from mentor_service.formats import number_format
from mentorgrad.model.advice import Constraints, ProposalKind

_LONGEST_WORD = 16
"""Letters of a word; without a limit a small model can run on in one word to the end."""


def word_lines(count: int, max_words: int, min_words: int = 1) -> str:
    """Grammar of `count` numbered lines of `min_words` to `max_words` words in plain letters."""
    min_words = min(min_words, max_words)
    numbered = " ".join(f'"{number}. " line' for number in range(1, count + 1))
    more = f' (" " word){{{min_words - 1},{max_words - 1}}}' if max_words > 1 else ""
    return (
        f"root ::= {numbered}\n"
        f'line ::= word{more} "\\n"\n'
        f"word ::= [A-Za-z] [a-z]{{0,{_LONGEST_WORD - 1}}}\n"
    )


def number_lines(count: int, constraints: Constraints) -> str:
    """Grammar of `count` numbered lines of `constraints.dimensions` numbers each."""
    form = number_format(constraints)
    sign = '"-"? ' if constraints.lower < 0 else ""
    numbered = " ".join(f'"{number}. " line' for number in range(1, count + 1))
    rest = constraints.dimensions - 1
    more = f' (" " number){{{rest}}}' if rest else ""
    return (
        f"root ::= {numbered}\n"
        f'line ::= number{more} "\\n"\n'
        f'number ::= {sign}[0-9]{{1,{form.whole}}} "." [0-9]{{1,{form.decimals}}}\n'
    )


def reply_schema(kind: ProposalKind) -> dict[str, Any]:
    """JSON Schema of a capable model's reply: a list of proposals, each with its reason."""
    content: dict[str, Any] = {"type": "string"}
    name = "text"
    if kind is ProposalKind.NUMBERS:
        name, content = "values", {"type": "array", "items": {"type": "number"}}
    proposal = {
        "type": "object",
        "properties": {"rationale": {"type": "string"}, name: content},
        "required": ["rationale", name],
        "additionalProperties": False,
    }
    return {
        "type": "object",
        "properties": {"proposals": {"type": "array", "items": proposal}},
        "required": ["proposals"],
        "additionalProperties": False,
    }
