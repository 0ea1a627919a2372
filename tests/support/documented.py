"""The commands that README and the guides show, and whether their words exist.

A fence ``console`` holds commands behind a prompt (``$ `` or ``desk$ ``) and their output; in a
fence ``sh`` every line is a command. A fence that says ``illustration`` behind its language, where
a reader does not see it, holds commands that no test runs.
"""

from __future__ import annotations

import functools
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import typer

from mentorgrad.cli.main import app
from tests.support.deployment import ROOT

PAGES = ("README.md", *sorted(f"docs/{path.name}" for path in ROOT.glob("docs/*.md")))

_PROMPT = re.compile(r"[\w.-]*\$ +(?=\S)")
_PROGRAMS = "mentorgrad|make|pip install|docker|kubectl|python -m|python examples"
_COMMAND = re.compile(rf"\s*(?:[\w.-]*\$ |(?:{_PROGRAMS})[ /])")
"""How a line begins that a reader would take for a command."""


@dataclass(frozen=True)
class Fence:
    """One block of code."""

    page: str
    line: int
    language: str
    illustration: bool
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Command:
    """One command, which may be of several lines."""

    page: str
    line: int
    text: str
    illustration: bool

    @property
    def words(self) -> str:
        """The command on one line, without quotes and comments."""
        return " ".join(_split(self.text))

    def __str__(self) -> str:
        return f"{self.page}:{self.line}: {self.text}"


def fences(page: str, text: str | None = None) -> Iterator[Fence]:
    """The blocks of code of a page."""
    lines = iter(enumerate((text or (ROOT / page).read_text()).splitlines(), start=1))
    for number, line in lines:
        if not line.lstrip().startswith("```"):
            continue
        language, *marks = line.strip().removeprefix("```").split() or [""]
        inner = []
        for _, code in lines:
            if code.strip() == "```":
                break
            inner.append(code)
        yield Fence(page, number, language, "illustration" in marks, tuple(inner))


def commands(fence: Fence) -> list[Command]:
    """The commands of a fence."""
    return list(_read(fence)[0])


def stray(fence: Fence) -> list[str]:
    """Lines that look like commands, and stand where no test would find them."""
    if fence.illustration:
        return []
    return [line for line in _read(fence)[1] if _COMMAND.match(line)]


def _read(fence: Fence) -> tuple[list[Command], list[str]]:
    """Commands, and the lines that belong to none."""
    found, others = [], []
    lines = iter(enumerate(fence.lines, start=fence.line + 1))
    for number, line in lines:
        prompt = _PROMPT.match(line)
        if fence.language == "console" and prompt:
            text = line[prompt.end() :]
        elif fence.language == "sh" and line.strip() and not line.startswith("#"):
            text = line
        else:
            others.append(line)
            continue
        while _goes_on(text):
            text += "\n" + next(lines)[1]
        found.append(Command(fence.page, number, text, fence.illustration))
    return found, others


def _goes_on(text: str) -> bool:
    if text.endswith("\\"):
        return True
    try:
        _split(text)
    except ValueError:  # an open quotation
        return True
    return False


def _split(text: str) -> list[str]:
    return shlex.split(text.replace("\\\n", " "), comments=True)


def inline(page: str) -> list[str]:
    """What stands between backticks in a page's text and begins with the name of the command."""
    text = re.sub(r"^ *```.*?^ *```$", "", (ROOT / page).read_text(), flags=re.DOTALL | re.M)
    spans = (" ".join(span.split()) for span in re.findall(r"`([^`]+)`", text))
    return [span for span in spans if span.startswith("mentorgrad ")]


# -- do the words exist? --------------------------------------------------------------------------


def unknown(text: str, *, whole: bool = True) -> list[str]:
    """What `mentorgrad` would not understand of a line for the shell; nothing is called.

    Args:
        text: The line.
        whole: It is a whole command, so arguments that are missing count.
    """
    lexer = shlex.shlex(text.replace("\\\n", " "), posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    segments: list[list[str]] = [[]]
    for word in lexer:
        if set(word) <= set("();<>|&"):
            if word.startswith(">") and segments[-1][-1:] == ["2"]:
                segments[-1].pop()
            segments.append([])
        else:
            segments[-1].append(word)
    found = []
    for name, *words in filter(None, segments):
        if name == "mentorgrad":
            found += _unknown(_root(), words, whole)
    return found


@functools.cache
def _root() -> Any:
    """The command `mentorgrad`, which is made of hundreds of signatures."""
    return typer.main.get_command(app)


@functools.cache
def _inner(command: Any, word: str) -> Any:
    """A command of a group; those of services are looked for among all installed packages."""
    return command.get_command(command.context_class(command, info_name=command.name), word)


def _unknown(command: Any, words: list[str], whole: bool, parent: Any = None) -> list[str]:
    context = command.context_class(command, info_name=command.name, parent=parent)
    if hasattr(command, "get_command"):
        if not words or words[0] in _options(command, context):
            return []
        inner = _inner(command, words[0])
        if inner is None:
            return [f"there is no command {words[0]!r}"]
        return _unknown(inner, words[1:], whole, context)
    parser = command.make_parser(context)
    try:
        values, extra, _ = parser.parse_args(list(words))
    except typer.BadParameter.__base__ as error:  # type: ignore[misc] # a wrong use of any kind
        return [error.format_message()]
    found = [f"{word!r} is one argument too many" for word in extra]
    if whole and not {"--help"} & set(words):
        found += [
            f"{param.name} is missing"
            for param in command.get_params(context)
            if param.required and not values.get(param.name)
        ]
    return found


def _options(command: Any, context: Any) -> set[str]:
    return {name for param in command.get_params(context) for name in param.opts}
