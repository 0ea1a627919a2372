"""Output of the commands: tables on a terminal, plain lines in a pipe, JSON with --json."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mentorgrad.cli.support.short_ids import shortened
from mentorgrad.errors import InvalidInput
from mentorgrad.outside_text import one_line, shown
from mentorgrad.standard_streams import json_text

_USUAL_WIDTH = 80
"""Columns of a terminal that says it has none, as some do that are not drawn yet."""
_WIDEST = 24
"""Characters of a cell on a terminal, if the columns are not named."""


class Output:
    """Output of a command.

    Args:
        as_json: Whether the command prints JSON; all text then goes to standard error.
    """

    def __init__(self, as_json: bool = False) -> None:
        self.as_json = as_json
        self.console = Console(file=sys.stderr if as_json else sys.stdout, highlight=False)
        if not self.console.width:
            self.console.width = _USUAL_WIDTH

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
        columns, *rows = [[_cell(text) for text in row] for row in [columns, *rows]]
        if not self.is_terminal:
            for row in [columns, *rows]:
                self.line("\t".join(row))
            return
        table = Table(header_style="bold")
        for number, column in enumerate(columns):
            # A heading may be a label of somebody's data: as a string, rich would read its markup.
            table.add_column(Text(column), overflow="fold", no_wrap=number == 0)
        for row in rows:
            table.add_row(*map(Text, row))
        self.console.print(table)

    def page(
        self,
        found: Any,
        things: str,
        columns: Mapping[str, Callable[[Any], str]],
        wanted: str = "",
        spare: Sequence[str] = (),
        called: str = "",
    ) -> None:
        """Prints a page of results, as JSON or as a table.

        On a terminal, ids are shortened, and so are long cells unless `wanted` names the columns.

        Args:
            found: The page.
            things: Name of its field with the items.
            columns: Maps each heading to the function that formats its cells; the first are ids.
            wanted: Columns to print, as `--columns` takes them; empty: all, or on a terminal as
                many as fit.
            spare: Columns that are left out if a terminal is too narrow, the first one first.
            called: What the items are called if there are none; empty: `things`.

        Raises:
            InvalidInput: `wanted` names an unknown column.
        """
        shown = _chosen(columns, wanted)
        if self.as_json:
            self.json(found)
            return
        if items := getattr(found, things):
            cells = {name: [_cell(text(item)) for item in items] for name, text in shown.items()}
            if self.is_terminal:
                cells = _fitting(cells, next(iter(columns)), self.console.width, wanted, spare)
            self.table(tuple(cells), zip(*cells.values(), strict=True))
        else:
            note(f"no {called or things}")
        if found.next_page_token:
            note(f"next page: --page {found.next_page_token}")

    def pairs(self, pairs: Iterable[tuple[str, str]]) -> None:
        """Prints named values, one per line."""
        listed = list(pairs)
        width = max((len(name) for name, _ in listed), default=0)
        for name, value in ((name, _cell(value)) for name, value in listed):
            self.line(f"{name:<{width}}  {value}" if self.is_terminal else f"{name}\t{value}")


def _chosen(
    columns: Mapping[str, Callable[[Any], str]], wanted: str
) -> Mapping[str, Callable[[Any], str]]:
    """The columns that `--columns` names, in its order; all without it."""
    by_flag = {name.replace(" ", "_"): name for name in columns}
    names = [name.strip().replace(" ", "_") for name in wanted.split(",") if name.strip()]
    for name in names:
        if name not in by_flag:
            known = ", ".join(by_flag)
            raise InvalidInput.field("--columns", f"must be of: {known}; not {name!r}")
    return {by_flag[name]: columns[by_flag[name]] for name in names} or columns


def _fitting(
    cells: Mapping[str, list[str]], ids: str, width: int, wanted: str, spare: Sequence[str]
) -> dict[str, list[str]]:
    """The columns that fit a terminal of `width` characters, with short ids and short cells."""
    kept = dict(cells)
    if ids in kept:
        short = shortened(kept[ids])
        kept[ids] = [short[whole] for whole in kept[ids]]
    if wanted:
        return kept
    kept = {name: [shorten(text, _WIDEST) for text in column] for name, column in kept.items()}
    for name in spare:
        widest = [max(map(cell_len, (heading, *column))) for heading, column in kept.items()]
        if sum(widest) + 3 * len(widest) + 1 <= width:
            break
        del kept[name]
    return kept


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
    """Formats a time in the local time zone, to the second; in UTC if `TZ` names no zone that can
    be, or the time is at an end of the calendar."""
    if value is None:
        return "–"
    with contextlib.suppress(ValueError, OverflowError):
        value = value.astimezone()
    return value.strftime("%Y-%m-%d %H:%M:%S")


def seconds(value: timedelta) -> str:
    """Formats a duration in seconds."""
    return f"{value.total_seconds():.1f}"


def counted(count: int, thing: str) -> str:
    """``1 restart``, ``2 restarts``."""
    return f"{count} {thing}" + ("" if count == 1 else "s")


def name_values(values: Mapping[str, str], separator: str = ", ") -> str:
    """``NAME=VALUE`` of each entry, by name: the wire keeps no order of a mapping."""
    return separator.join(f"{name}={values[name]}" for name in sorted(values))


def mebibytes(size: int) -> str:
    """A limit in bytes as ``64 MiB``; ``-`` for one that is not known."""
    return f"{size / (1 << 20):g} MiB" if size else "-"


def stored(size: int) -> str:
    """A number of bytes as ``512 B``, ``1.5 MiB`` or ``12.0 GiB``."""
    if size < 1 << 10:
        return f"{size} B"
    for unit, bits in (("KiB", 10), ("MiB", 20)):
        if size < 1 << (bits + 10):
            return f"{size / (1 << bits):.1f} {unit}"
    return f"{size / (1 << 30):.1f} GiB"


def shorten(text: str, limit: int = 60) -> str:
    """Puts the text on one line and truncates it to `limit` characters."""
    flat = one_line(text)
    return flat if len(flat) <= limit else flat[: limit - 1] + "…"
