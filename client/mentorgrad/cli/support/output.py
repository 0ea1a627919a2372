"""Output of the commands: tables on a terminal, plain lines in a pipe, JSON with --json."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from mentorgrad.outside_text import one_line, shown
from mentorgrad.standard_streams import json_text


class Output:
    """Output of a command.

    Args:
        as_json: Whether the command prints JSON; all text then goes to standard error.
    """

    def __init__(self, as_json: bool = False) -> None:
        self.as_json = as_json
        self.console = Console(file=sys.stderr if as_json else sys.stdout, highlight=False)

    @property
    def is_terminal(self) -> bool:
        """Whether the text output is a terminal."""
        return self.console.is_terminal

    def json(self, value: Any) -> None:
        """Prints one JSON value, which may contain dataclasses, on one line of standard output."""
        from mentorgrad.serialization import to_dict

        print(json_text(value, to_dict), flush=True)

    def result(self, value: Any, text: str) -> None:
        """Prints the result: as one JSON value, or as text."""
        if self.as_json:
            self.json(value)
        else:
            self.line(text)

    def line(self, text: str = "", style: str = "") -> None:
        """Prints one line of text, without control characters of texts from outside."""
        text = shown(text)
        if self.is_terminal:
            self.console.print(Text(text, style=style), soft_wrap=True)
        else:  # without rich, which would replace tabs by spaces
            print(text, file=self.console.file, flush=True)

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """Prints a table: with rules on a terminal, tab-separated in a pipe."""
        rows = [[_cell(text) for text in row] for row in rows]
        if not self.is_terminal:
            for row in [columns, *rows]:
                self.line("\t".join(row))
            return
        table = Table(header_style="bold")
        for number, column in enumerate(columns):
            table.add_column(column, overflow="fold", no_wrap=number == 0)
        for row in rows:
            table.add_row(*map(Text, row))
        self.console.print(table)

    def page(
        self,
        found: Any,
        things: str,
        columns: Mapping[str, Callable[[Any], str]],
    ) -> None:
        """Prints a page of results, as JSON or as a table.

        Args:
            found: The page.
            things: Name of its field with the items.
            columns: Maps each heading to the function that formats its cells.
        """
        if self.as_json:
            self.json(found)
            return
        if items := getattr(found, things):
            rows = [[text(item) for text in columns.values()] for item in items]
            self.table(tuple(columns), rows)
        else:
            note(f"no {things}")
        if found.next_page_token:
            note(f"next page: --page {found.next_page_token}")

    def pairs(self, pairs: Iterable[tuple[str, str]]) -> None:
        """Prints named values, one per line."""
        listed = list(pairs)
        width = max((len(name) for name, _ in listed), default=0)
        for name, value in ((name, _cell(value)) for name, value in listed):
            self.line(f"{name:<{width}}  {value}" if self.is_terminal else f"{name}\t{value}")


def _cell(text: str) -> str:
    """A text without the tabs that would separate columns."""
    return shown(text).replace("\t", " ")


def note(text: str) -> None:
    """Prints one line on standard error."""
    print(shown(text), file=sys.stderr, flush=True)


def number(value: float | None, digits: int = 4) -> str:
    """Formats a number; a dash for None."""
    return "–" if value is None else f"{value:.{digits}f}"


def moment(value: datetime | None) -> str:
    """Formats a time in the local time zone, to the second."""
    return "–" if value is None else value.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def seconds(value: timedelta) -> str:
    """Formats a duration in seconds."""
    return f"{value.total_seconds():.1f}"


def counted(count: int, thing: str) -> str:
    """``1 restart``, ``2 restarts``."""
    return f"{count} {thing}" + ("" if count == 1 else "s")


def shorten(text: str, limit: int = 60) -> str:
    """Puts the text on one line and truncates it to `limit` characters."""
    flat = one_line(text)
    return flat if len(flat) <= limit else flat[: limit - 1] + "…"
