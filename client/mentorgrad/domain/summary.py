"""How records show themselves in notebooks and in rich: by their main figures, not every field."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from html import escape
from typing import TYPE_CHECKING, Any

from mentorgrad.outside_text import one_line

if TYPE_CHECKING:
    from pandas import DataFrame as DataFrame
else:  # the SDK imports pandas when a frame is made; hints of methods can be read without it
    DataFrame = Any


class Summarised:
    """Base of records with a short form; ``repr`` stays complete."""

    def _summary(self) -> Mapping[str, Any]:
        """Name → value of the main figures; to override."""
        return {}

    def __rich_repr__(self) -> Iterator[tuple[str, Any]]:
        yield from self._summary().items()

    def _repr_html_(self) -> str:
        """A table of the main figures, for notebooks."""
        return table(type(self).__name__, (), self._summary().items())


def table(title: str, columns: Iterable[str], rows: Iterable[Iterable[Any]]) -> str:
    """A table in HTML; all texts are escaped."""
    head = "".join(f"<th>{escape(column)}</th>" for column in columns)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(_cell(value))}</td>" for value in row) + "</tr>"
        for row in rows
    )
    top = f"<thead><tr>{head}</tr></thead>" if head else ""
    return f"<table><caption>{escape(title)}</caption>{top}<tbody>{body}</tbody></table>"


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, datetime):
        return value.isoformat(sep=" ", timespec="seconds")
    return one_line(str(value))
