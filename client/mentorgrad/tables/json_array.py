"""Reads a JSON array item by item, so that memory holds one item and not the file."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TextIO

from mentorgrad.tables.malformed import MalformedError

MAX_ITEM = 4 * 1024 * 1024
"""Maximum length of an item in characters."""

_PIECE = 256 * 1024
"""Characters that are read at once; twice as many each time that an item needs more."""

_TORN = 16
"""Characters before the end of what was read at which an error may mean that more is to come."""

_BLANK = " \t\n\r"


def is_json_array(path: Path, encoding: str) -> bool:
    """Whether a JSON file begins with a bracket."""
    with _opened(path, encoding, "replace") as file:
        while text := file.read(_PIECE):
            if begun := text.lstrip():
                return begun.startswith("[")
    return False


def json_items(
    path: Path, encoding: str, pairs_hook: Callable[[list[tuple[str, Any]]], Any]
) -> Iterator[Any]:
    """Yields the items of the array that a file holds.

    Args:
        path: The file; `is_json_array`.
        encoding: Its encoding.
        pairs_hook: Makes an object of its names and values; see `json.JSONDecoder`.

    Raises:
        MalformedError: The file is not valid in its encoding, is no JSON array, or has an item that
            is too long.
    """
    with _opened(path, encoding, "strict") as file:
        yield from _Items(file, encoding, json.JSONDecoder(object_pairs_hook=pairs_hook)).read()


def json_problem(error: ValueError | RecursionError) -> str:
    """What the parser says about a text, in few words."""
    if isinstance(error, RecursionError):
        return "nested too deeply"
    # Other errors than the parser's: of numbers with thousands of digits, and of names.
    return str(getattr(error, "msg", str(error).partition(";")[0]))


def _opened(path: Path, encoding: str, errors: str) -> TextIO:
    known = "utf-8-sig" if encoding == "utf-8" else encoding
    return path.open(encoding=known, errors=errors, newline="")


class _Items:
    def __init__(self, file: TextIO, encoding: str, decoder: json.JSONDecoder) -> None:
        self._file = file
        self._encoding = encoding
        self._decoder = decoder
        self._text = ""
        """What was read and is not yet parsed, from `_at` on."""
        self._at = 0
        self._is_all = False
        """Whether the file was read to its end."""
        self._number = 0
        """Items so far."""

    def read(self) -> Iterator[Any]:
        mark = self._mark()  # the bracket
        self._at += 1
        if self._mark() == "]":
            mark = "]"
            self._at += 1
        while mark != "]":
            yield self._item()
            mark = self._mark()
            if mark not in (",", "]"):
                raise self._wrong("Expecting ',' delimiter")
            self._at += 1
        if self._mark():
            raise self._wrong("Extra data")

    def _mark(self) -> str:
        """The next character that is not blank; empty at the end of the file."""
        while True:
            while self._at < len(self._text):
                if (letter := self._text[self._at]) not in _BLANK:
                    return letter
                self._at += 1
            if self._is_all:
                return ""
            self._more(_PIECE)

    def _item(self) -> Any:
        self._number += 1
        self._mark()
        size = _PIECE
        while True:
            try:
                item, end = self._decoder.raw_decode(self._text, self._at)
            except json.JSONDecodeError as error:
                is_torn = error.pos > len(self._text) - _TORN or error.msg.startswith("Unterm")
                if self._is_all or not is_torn:
                    raise self._wrong(error.msg) from None
            except (ValueError, RecursionError) as error:
                raise self._wrong(json_problem(error)) from None
            else:
                if end < len(self._text) or self._is_all:  # else it may be half of a number
                    self._at = end
                    return item
            if len(self._text) - self._at > MAX_ITEM:
                raise MalformedError(
                    f"item {self._number}: has more than {MAX_ITEM} characters; is a bracket or a "
                    "quote not closed?"
                )
            self._more(size)
            size *= 2

    def _more(self, size: int) -> None:
        """Reads more, and forgets what is parsed."""
        try:
            read = self._file.read(size)
        except UnicodeError:
            name = "UTF-8" if self._encoding.startswith("utf-8") else self._encoding
            raise MalformedError(f"after item {self._number}: not valid {name}") from None
        self._is_all = not read
        self._text = self._text[self._at :] + read
        self._at = 0

    def _wrong(self, detail: str) -> MalformedError:
        return MalformedError(f"item {self._number}: not valid JSON ({detail})")
