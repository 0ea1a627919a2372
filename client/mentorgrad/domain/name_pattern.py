"""Regular expressions for names of runs: extended ones of POSIX, without what cannot be matched in
time linear in the name.

::

    pattern = branch ("|" branch)*           branch = (atom repeat?)*
    atom    = character | "." | "^" | "$" | "[" "^"? range+ "]" | "(" pattern ")"
            | "\\d" | "\\w" | "\\s" | "\\" punctuation
    repeat  = "*" | "+" | "?" | "{n}" | "{n,}" | "{n,m}"

A pattern is compiled to a short program of a nondeterministic automaton, which
`run_store.name_search` executes. There are no back references and no look-around. Letters match
without regard to case, and ``.`` matches every character.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass

from mentorgrad.errors import Violation

MAX_PATTERN = 200
"""Maximum characters of a pattern."""

MAX_REPEAT = 200
"""Maximum number in braces."""

MAX_PROGRAM = 1_000
"""Maximum instructions of a program; a repetition in braces repeats them."""

_MAX_DEPTH = 20

_SHORTHANDS = {
    "d": (("0", "9"),),
    "w": (("a", "z"), ("0", "9"), ("_", "_")),
    "s": ((" ", " "), ("\t", "\r")),
}


class BadPattern(ValueError):
    """A pattern that is not valid.

    Args:
        at: Index of the character that is wrong.
        said: What is wrong.
    """

    def __init__(self, at: int, said: str) -> None:
        super().__init__(f"{said}, at character {at + 1}")


@dataclass(frozen=True)
class OneOf:
    """Instruction: the next character is one of these. Then follows the next instruction."""

    ranges: tuple[tuple[str, str], ...]
    """First and last characters; case-folded where they are the same."""
    is_negated: bool = False
    """Whether it is none of these instead."""

    def __contains__(self, character: str) -> bool:
        """Whether a case-folded character is one."""
        forms = {character, character.upper()}
        is_within = any(
            low <= form <= high for form in forms if len(form) == 1 for low, high in self.ranges
        )
        return is_within is not self.is_negated


@dataclass(frozen=True)
class Edge:
    """Instruction: this is the name's beginning, or its end."""

    is_end: bool


@dataclass(frozen=True)
class Fork:
    """Instruction: goes on at all of these instructions, relative to this one."""

    ways: tuple[int, ...]


Program = tuple[OneOf | Edge | Fork, ...]
"""A pattern matches when its program runs past its last instruction."""

_EVERY = OneOf((), is_negated=True)


@dataclass(frozen=True)
class NamePattern:
    """A compiled pattern."""

    program: Program
    """What it matches, anywhere in a name."""
    literal: str
    """The longest case-folded text that every matching name contains, as far as it is obvious."""


@functools.lru_cache(64)
def compiled(text: str) -> NamePattern:
    """Compiles a pattern.

    Raises:
        BadPattern: It is not valid.
    """
    return _Parser(text).whole()


def pattern_violations(field: str, text: str) -> Iterator[Violation]:
    """What is wrong with a pattern in a field; nothing is with none."""
    try:
        compiled(text[: MAX_PATTERN + 1])
    except BadPattern as error:
        yield Violation(field, str(error))


@dataclass
class _Parser:
    """Recursive descent; each method reads a part and returns its program."""

    text: str
    at: int = 0
    depth: int = 0
    literal: str = ""

    def whole(self) -> NamePattern:
        program = self._branches()
        if self.at < len(self.text):
            raise BadPattern(self.at, "this ) closes nothing; write \\) for the character")
        return NamePattern(program, self.literal)

    def _next(self) -> str:
        return self.text[self.at : self.at + 1]

    def _takes(self, text: str) -> bool:
        is_there = self.text.startswith(text, self.at)
        self.at += len(text) if is_there else 0
        return is_there

    def _branches(self) -> Program:
        begin, found = self.at, self._branch()
        while self._takes("|"):
            if self.depth == 0:
                self.literal = ""
            other = self._branch(has_others=True)
            found = (Fork((1, len(found) + 2)), *found, Fork((len(other) + 1,)), *other)
            _check_length(len(found), begin)
        return found

    def _branch(self, has_others: bool = False) -> Program:
        found: Program = ()
        said = ""  # characters that follow each other, of which each must be there
        while self._next() not in ("", "|", ")"):
            begin, said_before = self.at, said
            atom, character = self._atom()
            repeated = self._repeated(atom, begin)
            _check_length(len(found) + len(repeated), begin)
            found += repeated
            said = said_before + character if character and repeated is atom else ""
            if self.depth == 0 and not has_others and len(said) > len(self.literal):
                self.literal = said
        return found

    def _atom(self) -> tuple[Program, str]:
        """An atom, and the case-folded text that it is; empty: it is not one text."""
        character = self._next()
        if character in "*+?{":
            raise BadPattern(self.at, f"nothing to repeat; write \\{character} for the character")
        self.at += 1
        match character:
            case ".":
                return (_EVERY,), ""
            case "^" | "$":
                return (Edge(character == "$"),), ""
            case "[":
                return (self._set(),), ""
            case "(":
                return self._group(), ""
            case "\\":
                return self._escaped()
        return _characters(character)

    def _escaped(self) -> tuple[Program, str]:
        character = self._next()
        if character in _SHORTHANDS:
            self.at += 1
            return (OneOf(_SHORTHANDS[character]),), ""
        return _characters(self._punctuation())

    def _punctuation(self) -> str:
        """The character behind a backslash."""
        character = self._next()
        if not character or character.isalnum():
            said = "a backslash must have a punctuation mark behind it, or d, w or s"
            raise BadPattern(self.at - 1, said)
        self.at += 1
        return character

    def _group(self) -> Program:
        begin = self.at - 1
        if self._next() == "?":
            raise BadPattern(self.at, "(? is not supported")
        self.depth += 1
        if self.depth > _MAX_DEPTH:
            raise BadPattern(begin, f"more than {_MAX_DEPTH} parentheses within each other")
        found = self._branches()
        if not self._takes(")"):
            raise BadPattern(begin, "this ( is not closed; write \\( for the character")
        self.depth -= 1
        return found

    def _set(self) -> OneOf:
        begin = self.at - 1
        ranges: list[tuple[str, str]] = []
        is_negated = self._takes("^")
        first = self.at
        while self._next() and (self._next() != "]" or self.at == first):
            ranges += self._range()
        if not self._takes("]"):
            raise BadPattern(begin, "this [ is not closed; write \\[ for the character")
        return OneOf(tuple(ranges), is_negated)

    def _range(self) -> tuple[tuple[str, str], ...]:
        begin = self.at
        if self._next() == "\\" and self.text[begin + 1 : begin + 2] in tuple(_SHORTHANDS):
            self.at += 2
            return _SHORTHANDS[self.text[begin + 1]]
        low = self._member()
        if self._next() != "-" or self.text[self.at + 1 : self.at + 2] in ("", "]"):
            folded = low.casefold()
            if len(folded) > 1:
                raise BadPattern(begin, f"{low} is {folded} here; write it outside of brackets")
            return ((folded, folded),)
        self.at += 1
        high = self._member()
        if high < low:
            raise BadPattern(begin, f"{low}-{high} is an empty range")
        return ((low, high),)

    def _member(self) -> str:
        """A character in brackets."""
        if self.text.startswith(("[:", "[.", "[="), self.at):
            raise BadPattern(self.at, "[:, [. and [= are not supported in brackets")
        character = self._next()
        self.at += 1
        return self._punctuation() if character == "\\" else character

    def _repeated(self, atom: Program, begin: int) -> Program:
        """The atom, or its repetition if one is asked for."""
        repeat = self._next()
        if repeat in ("", "{"):
            return self._counted(atom, begin) if repeat else atom
        if repeat not in "*+?":
            return atom
        self.at += 1
        match repeat:
            case "*":
                found = _star(atom)
            case "+":
                found = (*atom, Fork((-len(atom), 1)))
            case _:
                found = _optional(atom)
        return self._repeated_once(found)

    def _counted(self, atom: Program, begin: int) -> Program:
        end = self.text.find("}", self.at)
        least, comma, most = self.text[self.at + 1 : end].partition(",") if end > 0 else ("",) * 3
        bounds = [least, most or least]
        if not all(text.isascii() and text.isdigit() and len(text) <= 3 for text in bounds):
            raise BadPattern(self.at, "must be {n}, {n,} or {n,m}; write \\{ for the character")
        low, high = map(int, bounds)
        if not low <= high <= MAX_REPEAT:
            raise BadPattern(self.at, f"must be ascending numbers of at most {MAX_REPEAT}")
        _check_length(high * len(atom), begin)
        self.at = end + 1
        rest = _star(atom) if comma and not most else _optional(atom) * (high - low)
        return self._repeated_once(atom * low + rest)

    def _repeated_once(self, found: Program) -> Program:
        if self._next() in tuple("*+?{"):
            raise BadPattern(self.at, "a repetition cannot be repeated; put it in parentheses")
        return found


def _check_length(length: int, begin: int) -> None:
    if length > MAX_PROGRAM:
        raise BadPattern(begin, f"the pattern stands for more than {MAX_PROGRAM:,} characters")


def _characters(character: str) -> tuple[Program, str]:
    """A character, whose case-folded form may be several."""
    folded = character.casefold()
    return tuple(OneOf(((one, one),)) for one in folded), folded


def _star(atom: Program) -> Program:
    return (Fork((1, len(atom) + 2)), *atom, Fork((-len(atom) - 1,)))


def _optional(atom: Program) -> Program:
    return (Fork((1, len(atom) + 1)), *atom)
