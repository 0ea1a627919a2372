"""Chooses the columns of a table; what fits twice is asked for by name."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from mentorgrad.tables.malformed import MalformedError

TEXT_NAMES = ("text", "sentence", "message", "content", "body", "review", "comment", "utterance")
"""Names that a column of texts usually has."""
LABEL_NAMES = ("label", "labels", "class", "category", "target", "intent", "sentiment", "topic")
"""Names that a column of labels usually has."""
_INDEX_NAMES = ("", "id", "idx", "index", "unnamed: 0", "__index_level_0__")


@dataclass(frozen=True)
class TableColumns:
    """Columns of a labelled table."""

    text: str
    """Column of the text."""
    label: str
    """Column of the label."""
    pair: str = ""
    """Column of a second text; empty: none."""
    group: str = ""
    """Column of what must not be parted between splits; empty: none."""

    @property
    def needed(self) -> tuple[str, ...]:
        """The columns to read, each once."""
        names = (self.text, self.pair, self.label, self.group)
        return tuple(dict.fromkeys(name for name in names if name))


def choose_columns(
    found: Sequence[str],
    *,
    text: str = "",
    pair: str = "",
    label: str = "",
    group: str = "",
    classes: Collection[str] = (),
) -> TableColumns:
    """Chooses the columns that are not named: by their usual names, or the only one left.

    Args:
        found: All columns of the table.
        text: Column of the text; empty: chosen.
        pair: Column of a second text; empty: none.
        label: Column of the label; empty: chosen.
        group: Column of groups; empty: none.
        classes: Columns that are known to hold class labels.

    Raises:
        MalformedError: A column is missing, or several fit or none does.
    """
    for flag, name in (("text", text), ("pair", pair), ("label", label), ("group", group)):
        if name and name not in found:
            raise MalformedError(
                f"there is no column {name!r} ({said_columns(found, name)}); see --{flag}"
            )
    taken = {text, pair, label, group}
    free = [name for name in found if name not in taken and _plain(name) not in _INDEX_NAMES]
    label_fits = [name for name in free if name in classes] or _named(free, LABEL_NAMES)
    text_fits = [name for name in _named(free, TEXT_NAMES) if name not in label_fits]
    if not label and not label_fits and len(left := _without(free, text_fits)) == 1:
        label_fits = left if text or len(text_fits) == 1 else []
    if not text and not text_fits and len(left := _without(free, label_fits)) == 1:
        text_fits = left if label or len(label_fits) == 1 else []
    columns = TableColumns(
        text or _only(text_fits, found, "text"),
        label or _only(label_fits, found, "label"),
        pair,
        group,
    )
    if columns.text == columns.label or columns.pair in (columns.text, columns.label):
        raise MalformedError(
            f"--text {columns.text}, --label {columns.label} and --pair {columns.pair} must be "
            "different columns"
        )
    return columns


def _plain(name: str) -> str:
    return name.strip().casefold()


def _named(found: Sequence[str], usual: Sequence[str]) -> list[str]:
    return [name for name in found if _plain(name) in usual]


def _without(found: Sequence[str], others: Sequence[str]) -> list[str]:
    return [name for name in found if name not in others]


def _only(fits: Sequence[str], found: Sequence[str], role: str) -> str:
    if len(fits) == 1:
        return fits[0]
    if fits:
        shown = " and ".join(repr(name) for name in fits)
        raise MalformedError(f"the columns {shown} fit the {role}; name one with --{role}")
    raise MalformedError(
        f"no column is known to hold the {role} ({said_columns(found)}); name it with --{role}"
    )


def said_columns(found: Sequence[str], wanted: str = "") -> str:
    """What to say where a column is missing: the one that is meant, or the first of those there.

    Args:
        found: Names of the columns.
        wanted: The name that was looked for; empty: none.
    """
    near = get_close_matches(wanted.casefold(), [name.casefold() for name in found], 1)
    meant = next((name for name in found if near and name.casefold() == near[0]), "")
    shown = ", ".join(repr(name[:40]) for name in found[:12]) or "none"
    more = ", ..." if len(found) > 12 else ""
    return f"did you mean {meant!r}?" if meant else f"the columns are {shown}{more}"
