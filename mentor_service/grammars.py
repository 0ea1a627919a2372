"""Constraints on the form of replies: GBNF grammars (small models), JSON Schemas (capable ones).

A grammar constrains the form of a reply, not its content: everything is validated again after
decoding. Schemas have no `maxLength`, `maxItems` or `pattern`, which some servers compile into
grammars so large that they fail.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from mentor_service.formats import number_format
from mentorgrad.domain.advice import Constraints, ProposalKind
from mentorgrad.settings_space import Setting, SettingsSpace

_LONGEST_WORD = 16
"""Maximum letters of a word; without a limit a small model may never end a word."""

Slot = str | tuple[str, ...] | None
"""One position of a pattern: a fixed word, one of several words, or (None) any word."""


def word_lines(count: int, max_words: int, min_words: int = 1, words: Collection[str] = ()) -> str:
    """Grammar of `count` numbered lines of `min_words` to `max_words` words of ASCII letters.

    Args:
        count: Number of lines.
        max_words: Maximum words per line.
        min_words: Minimum words per line.
        words: Allowed words; empty: any.
    """
    min_words = min(min_words, max_words)
    more = f' (" " word){{{min_words - 1},{max_words - 1}}}' if max_words > 1 else ""
    return _lines(count, f"word{more}", "word", _choice(words) if words else _ANY_WORD)


def pattern_lines(
    count: int, patterns: Sequence[Sequence[Slot]], words: Collection[str] = ()
) -> str:
    """Grammar of `count` numbered lines, each of which matches one of the patterns.

    Args:
        count: Number of lines.
        patterns: At least one; each has at least one slot, and only words of ASCII letters.
        words: Allowed words where a slot is None; empty: any.
    """
    lines = " | ".join(' " " '.join(map(_slot, pattern)) for pattern in patterns)
    return _lines(count, f"({lines})", "word", _choice(words) if words else _ANY_WORD)


def sentence(longest: int) -> str:
    """Grammar of one sentence of at most `longest` characters."""
    return f'root ::= [A-Z] [A-Za-z0-9 ,;:()\'\\"%-]{{8,{longest}}} "."\n'


def number_lines(count: int, constraints: Constraints) -> str:
    """Grammar of `count` numbered lines of `constraints.dimensions` numbers each.

    If the bounds lie on both sides of zero, the grammar itself enforces them: otherwise hardly
    any point of, say, ten numbers would lie within them.
    """
    form = number_format(constraints)
    signed = []
    if constraints.upper >= 0:
        signed.append(_up_to(form.write(constraints.upper)))
    if constraints.lower < 0:
        signed.append(f'"-" ({_up_to(form.write(-constraints.lower))})')
    rest = constraints.dimensions - 1
    more = f' (" " number){{{rest}}}' if rest else ""
    return _lines(count, f"number{more}", "number", " | ".join(signed))


def settings_lines(count: int, space: SettingsSpace) -> str:
    """Grammar of `count` numbered lines, each of which is settings as one JSON object."""
    members = [f'"\\"{setting.name}\\": " ({_values(setting)})' for setting in space.settings]
    line = ' ", " '.join(members)
    return _lines(count, f'"{{" {line} "}}"')


def reply_schema(kind: ProposalKind, settings: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """JSON Schema of a reply: a list of proposals, each with a rationale.

    Args:
        kind: Kind of the proposals.
        settings: JSON Schema of settings.
    """
    content: dict[str, Any] = {"type": "string"}
    name = "text"
    if kind is ProposalKind.NUMBERS:
        name, content = "values", {"type": "array", "items": {"type": "number"}}
    elif kind is ProposalKind.SETTINGS:
        name, content = "settings", _of_any_length(settings or {})
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


_LENGTH = ("minItems", "maxItems", "uniqueItems", "default")
"""Keywords that not every server compiles."""


def _of_any_length(schema: Mapping[str, Any]) -> dict[str, Any]:
    """A schema of settings whose lists may have any length."""
    properties = {
        name: {keyword: value for keyword, value in form.items() if keyword not in _LENGTH}
        for name, form in schema.get("properties", {}).items()
    }
    return {**schema, "properties": properties}


_ANY_WORD = f"[A-Za-z] [a-z]{{0,{_LONGEST_WORD - 1}}}"


def _lines(count: int, line: str, name: str = "", item: str = "") -> str:
    """Grammar of `count` numbered lines, of items if these are called `name`."""
    root = " ".join(f'"{number}. " line' for number in range(1, count + 1))
    items = f"{name} ::= {item}\n" if name else ""
    return f'root ::= {root}\nline ::= {line} "\\n"\n{items}'


def _choice(words: Collection[str]) -> str:
    return " | ".join(f'"{word}"' for word in sorted(set(words)))


def _values(setting: Setting) -> str:
    """Grammar of the values of a setting, in JSON."""
    choices: Iterable[Any] = setting.values
    if setting.count is not None:
        lists = itertools.combinations(setting.values, setting.count)
        choices = [list(values) for values in itertools.islice(lists, _MOST_LISTS + 1)]
        if len(choices) > _MOST_LISTS:  # their elements may then be equal
            one = f"({_written(setting.values)})"
            inside = ' ", " '.join([one] * setting.count)
            return f'"[" {inside} "]"'
    return _written(choices)


_MOST_LISTS = 128
"""Maximum lists that a grammar spells out."""


def _written(values: Iterable[Any]) -> str:
    return " | ".join(json.dumps(json.dumps(value)) for value in values)


def _slot(slot: Slot) -> str:
    if slot is None:
        return "word"
    return f"({_choice(slot)})" if isinstance(slot, tuple) else f'"{slot}"'


def _up_to(largest: str) -> str:
    """Grammar of the numbers from 0 to `largest`, a number with all its decimals."""
    whole, _, part = largest.partition(".")
    decimals = f'"." [0-9]{{1,{len(part)}}}'
    shorter = ["[0-9]"] if len(whole) > 1 else []
    shorter += [f"[1-9] [0-9]{{{digits}}}" for digits in range(1, len(whole) - 1)]
    before = str(int(whole) - 1)
    if int(whole) and len(before) == len(whole):
        shorter.append(_digits_up_to(before, int(len(whole) > 1)))
    found = [f"({' | '.join(shorter)}) {decimals}"] if shorter else []
    found.append(f'"{whole}." ({_digits_up_to(part, 0)})')
    return " | ".join(found)


def _digits_up_to(digits: str, least: int) -> str:
    """Grammar of the digit strings of the same length as `digits` that are not greater; the first
    digit is at least `least`."""
    first, rest = int(digits[0]), digits[1:]
    if not rest:
        return f"[{least}-{first}]"
    found = [f'"{first}" ({_digits_up_to(rest, 0)})']
    if first > least:
        found.insert(0, f"[{least}-{first - 1}] [0-9]{{{len(rest)}}}")
    return " | ".join(found)
