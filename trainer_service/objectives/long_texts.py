"""Texts that are longer than a model's room for them: the one place where they are shortened."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import structlog

from mentorgrad.domain.spec import LongTexts
from mentorgrad.errors import InvalidInput
from trainer_service.objectives.prompt_checks import LONG_TEXTS
from trainer_service.tasks.data import CutTexts, Row, Split, TaskData

if TYPE_CHECKING:
    from trainer_service.encoding.encoders import TextEncoder

log = structlog.get_logger(__name__)

_SPECIAL_TOKENS = 4
"""Special tokens that an encoder adds to an input, at most."""


@dataclass(frozen=True)
class TextRoom:
    """A model's room for the texts of a row."""

    how: LongTexts
    """What happens to longer ones."""
    most: int
    """Maximum tokens of a row, with all that `size` counts."""
    size: Callable[[Row], int]
    """Tokens of a row."""
    count: Callable[[str], int]
    """Tokens of a text."""
    shorten: Callable[[str, int], str] | None
    """(text, tokens) → a shorter text that lacks about so many tokens, as `how` says; None: the
    model's tokenizer truncates by itself."""

    def fitted(self, rows: Sequence[Row], split: Split) -> tuple[list[Row], list[int]]:
        """The rows with texts that fit, and the indices of those that are cut.

        Raises:
            InvalidInput: A text is too long, and that is an error (reason TEXT_TOO_LONG).
        """
        made: list[Row] = []
        cut: list[int] = []
        for index, row in enumerate(rows):
            size = self.size(row)
            if size > self.most:
                self._allow(index, split, size)
                row = self._shortened(row, size)
                cut.append(index)
            made.append(row)
        return made, cut

    def _allow(self, index: int, split: Split, size: int) -> None:
        if self.how is LongTexts.ERROR:
            raise InvalidInput.field(
                "spec.task",
                f"row {index + 1} of {split.value} takes {size} tokens, which leaves no room for "
                f"prompt and answer: at most {self.most} fit; set {LONG_TEXTS} to cut texts",
                reason="TEXT_TOO_LONG",
            )

    def _shortened(self, row: Row, size: int) -> Row:
        # The rest of a text may tokenise to more than it was part of.
        while self.shorten is not None and size > self.most:
            row = self._shortened_once(row, size - self.most, self.shorten)
            size = self.size(row)
        return row

    def _shortened_once(self, row: Row, excess: int, shorten: Callable[[str, int], str]) -> Row:
        """A row whose longer text is shorter, by at most so many tokens: of a pair of long texts
        about the same is left."""
        first, second = self.count(row.text), self.count(row.pair)
        cut = min(excess, (excess + abs(first - second) + 1) // 2)
        if first >= second:
            return replace(row, text=shorten(row.text, cut))
        return replace(row, pair=shorten(row.pair, cut))


def encoder_room(encoder: TextEncoder, how: LongTexts, most: int, *, joined: bool) -> TextRoom:
    """An encoder's room for texts.

    Args:
        encoder: The encoder.
        how: What happens to longer texts.
        most: Maximum tokens of an input, special tokens included.
        joined: Whether the texts of a pair are encoded as one text.
    """
    tokens = encoder.tokens

    def size(row: Row) -> int:
        # No token is shorter than a byte, so most texts need not be tokenised once more.
        least = len(row.joined.encode()) + _SPECIAL_TOKENS
        if least <= most:
            return least
        return tokens.input_size(row.joined) if joined else tokens.input_size(row.text, row.pair)

    shorten = tokens.without_middle if how is LongTexts.HEAD_TAIL else None
    return TextRoom(how, most, size, lambda text: len(tokens.spans(text)), shorten)


def by_characters(how: LongTexts, count: Callable[[str], int]) -> Callable[[str, int], str]:
    """`TextRoom.shorten` for a tokenizer that does not tell where tokens begin: by the share of the
    characters.

    Args:
        how: Where the text is shortened.
        count: Tokens of a text.
    """

    def shorten(text: str, tokens: int) -> str:
        dropped = math.ceil(len(text) * tokens / max(count(text), 1))
        left = max(len(text) - max(dropped, 2), 0)
        if how is LongTexts.HEAD_TAIL and left > 1:
            begin, end = (left + 1) // 2, len(text) - left // 2
            return f"{text[:begin].rstrip()} {text[end:].lstrip()}"
        return text[:left].rstrip()

    return shorten


def fitted_task(task: TaskData, room: TextRoom) -> tuple[TaskData, CutTexts]:
    """A task whose texts fit, and those of them that are cut.

    Raises:
        InvalidInput: A text is too long, and that is an error.
    """
    found = {split: room.fitted(task.rows(split), split) for split in Split}
    cut = {split.value: rows for split, (_, rows) in found.items()}
    if any(cut.values()) and task.train:  # a predictor says it of each text
        counts = {split: len(rows) for split, rows in cut.items()}
        whole = sum(map(len, map(task.rows, Split)))
        log.warning("texts_cut", rows=whole, room=room.most, **counts)
    train, selection, test = (tuple(rows) for rows, _ in found.values())
    return replace(task, train=train, selection=selection, test=test), cut
