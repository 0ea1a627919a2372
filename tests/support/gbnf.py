"""Random texts out of a GBNF grammar: what a model under it could write.

Covers what `mentor_service.grammars` uses: literals, character classes, groups, choices, rule
names, ``?``, ``*`` and ``{m,n}``.
"""

from __future__ import annotations

import functools
import random
import re
from collections.abc import Callable

_TOKEN = re.compile(r'"((?:[^"\\]|\\.)*)"|\[((?:[^\]\\]|\\.)*)\]|([a-z]+)|(\{[\d,]+\}|[()|?*])|\s+')
_ESCAPES = {"n": "\n"}

Make = Callable[[random.Random], str]


def write(grammar: str, draw: random.Random) -> str:
    """A text that the grammar allows.

    Args:
        grammar: GBNF, with a rule ``root``.
        draw: Makes the choices.
    """
    return _rules(grammar)["root"](draw)


@functools.lru_cache(maxsize=256)
def _rules(grammar: str) -> dict[str, Make]:
    rules: dict[str, Make] = {}
    for line in grammar.strip().split("\n"):
        name, _, body = line.partition(" ::= ")
        rules[name] = _Reader(body, rules).choice()
    return rules


class _Reader:
    def __init__(self, body: str, rules: dict[str, Make]) -> None:
        found = _TOKEN.finditer(body)
        self._tokens = [token for token in found if token.group().strip()]
        assert sum(len(token.group()) for token in _TOKEN.finditer(body)) == len(body), body
        self._rules = rules
        self._at = 0

    def _next(self) -> str:
        return self._tokens[self._at].group() if self._at < len(self._tokens) else ""

    def choice(self) -> Make:
        ways = [self._sequence()]
        while self._next() == "|":
            self._at += 1
            ways.append(self._sequence())
        return lambda draw: draw.choice(ways)(draw)

    def _sequence(self) -> Make:
        parts = []
        while self._next() not in ("", "|", ")"):
            parts.append(self._repeated())
        return lambda draw: "".join(part(draw) for part in parts)

    def _repeated(self) -> Make:
        made = self._one()
        sign = self._next()
        if sign not in ("?", "*") and not sign.startswith("{"):
            return made
        self._at += 1
        least, most = (0, 1 if sign == "?" else 3)
        if sign.startswith("{"):
            numbers = sign.strip("{}").split(",")
            least, most = int(numbers[0]), int(numbers[-1])
        return lambda draw: "".join(made(draw) for _ in range(draw.randint(least, most)))

    def _one(self) -> Make:
        literal, chars, name, sign = self._tokens[self._at].groups()
        self._at += 1
        if sign == "(":
            inner = self.choice()
            assert self._next() == ")"
            self._at += 1
            return inner
        if name:
            return lambda draw: self._rules[name](draw)
        if chars is not None:
            allowed = _class(chars)
            return lambda draw: draw.choice(allowed)
        text = _plain(literal)
        return lambda draw: text


def _class(chars: str) -> list[str]:
    allowed = []
    for first, last in re.findall(r"(\\.|[^\\])(?:-(\\.|[^\\]))?", chars):
        start, end = _plain(first), _plain(last or first)
        allowed += [chr(code) for code in range(ord(start), ord(end) + 1)]
    return allowed


def _plain(text: str) -> str:
    return re.sub(r"\\(.)", lambda match: _ESCAPES.get(match.group(1), match.group(1)), text)
