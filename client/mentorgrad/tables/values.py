"""Texts and labels as their cells hold them: equal in every format of one table."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, time
from decimal import Decimal
from typing import Any
from unicodedata import normalize

from mentorgrad.tables.malformed import MalformedError
from mentorgrad.tables.records import RowPlace

MAX_TEXT_CHARACTERS = 100_000
"""Maximum length of a text, in characters."""
MAX_LABELS = 1000
"""Maximum number of different labels."""
MAX_LABEL_CHARACTERS = 200
"""Maximum length of a label, in characters."""

LabelKey = Decimal | str
"""What two cells share that hold one label: a number, or a word without case."""

_NUMBER = re.compile(r"[+-]?(?:0|[1-9][0-9]{0,999})(?:\.[0-9]{1,999})?(?:[eE][+-]?[0-9]{1,3})?")
_TRUTH = ("true", "false")


_SPACES = "".join(filter(str.isspace, map(chr, range(0x3001))))
_OUTER = f"{_SPACES}\u200b\u2060\ufeff"
"""What is off at both ends: white space, and what nobody sees, such as a byte order mark that a
program has left inside a file."""


def _folded(text: str) -> str:
    """The text without case, its accents written in one of the two ways that Unicode has."""
    folded = text.casefold()
    return folded if folded.isascii() else normalize("NFC", folded)


def text_identity(text: str, pair: str = "") -> str:
    """Case-folded text with normalised white space and accents; equal for duplicate rows."""
    return "\x1f".join(" ".join(_folded(part).split()) for part in (text, pair))


def choices_text(choices: Iterable[str]) -> str:
    """Choices as the second text of a row: one per line, with normalised white space."""
    return "\n".join(" ".join(choice.split()) for choice in choices)


def cell_text(value: Any, column: str, where: RowPlace) -> str:
    """The text of a cell without outer space; empty if the cell is.

    Raises:
        MalformedError: The cell holds no text, or one that is too long.
    """
    text = _written(value, column, where).strip(_OUTER)
    if len(text) > MAX_TEXT_CHARACTERS:
        raise MalformedError(
            f"{where}, column {column!r}: the text has {len(text)} characters; at most "
            f"{MAX_TEXT_CHARACTERS} are read: shorten it or leave the row out"
        )
    return text


def _written(value: Any, column: str, where: RowPlace) -> str:
    """A cell as a CSV file would hold it."""
    if isinstance(value, str):
        return value
    if value is None or (isinstance(value, (float, Decimal)) and math.isnan(value)):
        return ""
    if isinstance(value, bool):
        return _TRUTH[not value]
    if isinstance(value, (int, float, Decimal, date, time)):
        return str(value)
    raise MalformedError(
        f"{where}, column {column!r}: holds {_kind(value)}; it must hold a text or a number"
    )


def _kind(value: Any) -> str:
    names = ((dict, "an object"), (list, "a list"), (bytes, "bytes"))
    return next((name for kind, name in names if isinstance(value, kind)), type(value).__name__)


def label_key(word: str) -> LabelKey:
    """What a label shares with its other spellings."""
    word = word.strip(_OUTER)
    return Decimal(word) if _NUMBER.fullmatch(word) else _folded(word)


@dataclass
class LabelColumn:
    """The different labels of a column, numbered as they come.

    ``1``, ``1.0`` and ``"1"`` are one label, as are words that differ only in case, in outer space,
    or in how Unicode writes their accents.
    """

    name: str
    """The column."""
    keys: dict[LabelKey, int] = field(default_factory=dict)
    """Label → its number."""
    spellings: list[Counter[str]] = field(default_factory=list)
    """How often each label is written in which way."""
    first: list[RowPlace] = field(default_factory=list)
    """Where each label stands first."""

    def number_of(self, value: Any, where: RowPlace) -> int | None:
        """The number of the label in a cell; None if the cell is empty.

        Raises:
            MalformedError: The cell holds no label, the column too many, or 1 beside true.
        """
        word = _written(value, self.name, where).strip(_OUTER)
        if not word:
            return None
        if len(word) > MAX_LABEL_CHARACTERS:
            raise MalformedError(
                f"{where}, column {self.name!r}: a label may have at most {MAX_LABEL_CHARACTERS} "
                f"characters, not {len(word)}; name the column of the labels with --label"
            )
        key = label_key(word)
        number = self.keys.get(key)
        if number is None:
            number = self._add(key, where)
        self.spellings[number][word] += 1
        return number

    def _add(self, key: LabelKey, where: RowPlace) -> int:
        if len(self.keys) == MAX_LABELS:
            raise MalformedError(
                f"{where}, column {self.name!r}: the column has over {MAX_LABELS} different "
                "labels, as a column of texts would; name the column of the labels with --label"
            )
        others: Sequence[LabelKey] = ()
        if key in _TRUTH:
            others = (Decimal(0), Decimal(1))
        elif key in (Decimal(0), Decimal(1)):
            others = _TRUTH
        for other in others:
            if other in self.keys:
                raise MalformedError(
                    f"{where}, column {self.name!r}: the label {key} stands beside the label "
                    f"{other} ({self.first[self.keys[other]]}); write both kinds in one way"
                )
        self.first.append(where)
        self.spellings.append(Counter())
        return self.keys.setdefault(key, len(self.keys))

    def words(self) -> list[str]:
        """How each label is written: numbers in one way, words as most often."""
        return [spelled(key, counts) for key, counts in zip(self.keys, self.spellings, strict=True)]

    def order(self) -> list[int]:
        """The numbers of the labels in order: by value, then words by code point."""
        keys, words = list(self.keys), self.words()

        def rank(number: int) -> tuple[bool, Decimal, str]:
            key = keys[number]
            is_word = isinstance(key, str)
            return is_word, Decimal(0) if isinstance(key, str) else key, words[number]

        return sorted(range(len(keys)), key=rank)


class LabelValues:
    """The labels that a column may hold, in class order.

    Args:
        values: Each label in one of its spellings.
        name: What the values are called in errors.

    Raises:
        MalformedError: A value is empty or too long, two are one label, or 1 stands beside true.
    """

    def __init__(self, values: Sequence[str], name: str = "label_values") -> None:
        column = LabelColumn(name)
        for index, value in enumerate(values):
            number = column.number_of(value, RowPlace("value", index + 1))
            if number is None:
                raise MalformedError(f"value {index + 1} is empty")
            if number < index:
                raise MalformedError(
                    f"value {index + 1}, {value!r}, is the same label as value {number + 1}, "
                    f"{values[number]!r}"
                )
        self._index = column.keys

    def index_of(self, value: Any, column: str, where: RowPlace) -> int | None:
        """Class index of the label in a cell; None if it holds none of the labels.

        Raises:
            MalformedError: The cell holds neither a text nor a number.
        """
        return self._index.get(label_key(_written(value, column, where)))


def spelled(key: LabelKey, counts: Counter[str]) -> str:
    """How a label is written: a number in one way, a word as most often."""
    if isinstance(key, Decimal):
        if key == 0:
            return "0"
        if -7 < key.adjusted() < 21:
            plain = f"{key:f}"
            return plain.rstrip("0").rstrip(".") if "." in plain else plain
    elif key in _TRUTH:
        return key
    return min(counts, key=lambda word: (-counts[word], word))
