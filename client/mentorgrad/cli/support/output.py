"""What the commands print: tables on a terminal, plain lines in a pipe, JSON when asked."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text


class Output:
    """Where a command's answer goes: standard output, or standard error for what is not asked for.

    Args:
        as_json: Whether the answer is JSON; everything else then goes to standard error.
    """

    def __init__(self, as_json: bool = False) -> None:
        self.as_json = as_json
        self.console = Console(file=sys.stderr if as_json else sys.stdout, highlight=False)

    @property
    def is_terminal(self) -> bool:
        """Whether a person is looking."""
        return self.console.is_terminal

    def json(self, value: Any) -> None:
        """One JSON value on one line of standard output."""
        print(json.dumps(value, ensure_ascii=False), flush=True)

    def line(self, text: str = "", style: str = "") -> None:
        """One line for people."""
        if self.is_terminal:
            self.console.print(Text(text, style=style), soft_wrap=True)
        else:  # untouched: rich would turn tabs into blanks
            print(text, file=self.console.file, flush=True)

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[str]], title: str = "") -> None:
        """A table: ruled on a terminal, separated by tabs in a pipe."""
        if not self.is_terminal:
            for row in [columns, *rows]:
                self.line("\t".join(row))
            return
        table = Table(title=title or None, title_justify="left", header_style="bold")
        for number, column in enumerate(columns):
            table.add_column(column, overflow="fold", no_wrap=number == 0)
        for row in rows:
            table.add_row(*[Text(cell) for cell in row])
        self.console.print(table)

    def pairs(self, pairs: Iterable[tuple[str, str]]) -> None:
        """Named values, one a line."""
        listed = list(pairs)
        width = max((len(name) for name, _ in listed), default=0)
        for name, value in listed:
            self.line(f"{name:<{width}}  {value}" if self.is_terminal else f"{name}\t{value}")


def note(text: str) -> None:
    """One line on standard error, beside the answer."""
    print(text, file=sys.stderr, flush=True)


def number(value: float | None, digits: int = 4) -> str:
    """A figure, or a dash where there is none."""
    return "–" if value is None else f"{value:.{digits}f}"


def moment(value: datetime | None) -> str:
    """A time in the reader's zone, to the second."""
    return "–" if value is None else value.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def seconds(value: timedelta) -> str:
    """A duration in seconds."""
    return f"{value.total_seconds():.1f}"


def counted(count: int, thing: str) -> str:
    """``1 restart``, ``2 restarts``."""
    return f"{count} {thing}" + ("" if count == 1 else "s")


def shorten(text: str, limit: int = 60) -> str:
    """One line of at most `limit` characters."""
    flat = " ".join(text.split())
    return flat if len(flat) <= limit else flat[: limit - 1] + "…"
