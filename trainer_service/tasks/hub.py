"""Tasks from data sets in the hub's layout, as they lie on this machine.

`hub_layout` says which files belong to which split and what the columns mean; the files themselves
are read under the limits of `files`.

Rows without a label (public test splits have -1) or without a text are left out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mentorgrad.dataset_refs import REASON, resolve
from mentorgrad.domain.spec import HubData, Task
from mentorgrad.errors import InvalidInput, MentorgradError, Unsupported
from trainer_service.tasks.data import Row, Source
from trainer_service.tasks.files import (
    MAX_ROWS,
    MAX_TEXT_CHARACTERS,
    MalformedError,
    records,
)
from trainer_service.tasks.hub_layout import Layout
from trainer_service.tasks.sampling import hold_out

_VALIDATION = ("validation", "dev", "val", "valid", "validation_matched")
"""What data sets call their second split, the usual name first."""

_PLACE = re.compile(r"\{([^{}]+)\}")
"""A column in a template."""


def load_hub(task: Task, roots: Sequence[Path], path: str) -> Source:
    """A task over a data set of the hub.

    Args:
        task: With an ``hf:`` name.
        roots: Folders that are looked in before the hub's cache.
        path: Where the task stands in the request.

    Raises:
        InvalidInput: The data set is not here, or its columns and splits do not make a task.
        Unsupported: The library ``datasets`` is not installed.
    """
    try:
        layout = Layout.of(resolve(task.name, roots))
        mapping = _Mapping.of(task, layout, path)
        return _splits(task, mapping, layout, path)
    except MalformedError as error:
        raise InvalidInput.field(
            f"{path}.name", f"{task.name}: {error}", reason="DATA_MALFORMED"
        ) from None
    except (InvalidInput, Unsupported) as error:
        if isinstance(error, Unsupported) or error.violations:
            raise
        raise InvalidInput.field(f"{path}.name", error.message, reason=error.reason) from None
    except MentorgradError as error:
        raise InvalidInput.field(f"{path}.name", error.message, reason=REASON) from None


# -- columns ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Mapping:
    """Which columns make a row."""

    text: str
    """Column, or a template in which columns stand between braces."""
    pair: str
    """Column; empty: none."""
    is_template: bool
    """Whether `text` is a template."""
    label: str
    """Column."""
    words: tuple[str, ...]
    """Label words; empty: as they occur."""
    known: Mapping[str, int]
    """What a label column may hold → index."""

    @classmethod
    def of(cls, task: Task, layout: Layout, path: str) -> _Mapping:
        wanted = task.hub or HubData()
        label = wanted.label_field or _label_column(layout, path)
        text, pair = _text_columns(wanted, layout, label, path)
        for field, column in (("text_field", text), ("pair_field", pair), ("label_field", label)):
            if column and column not in layout.columns:
                raise _no_column(f"{path}.hub.{field}", column, layout)
        for column in _PLACE.findall(wanted.template):
            if column not in layout.columns:
                raise _no_column(f"{path}.hub.template", column, layout)
        names = layout.names.get(label, ())
        if names and task.labels and len(task.labels) != len(names):
            raise InvalidInput.field(
                f"{path}.labels", f"{task.name} has {len(names)} classes, not {len(task.labels)}"
            )
        words = task.labels or tuple(name.replace("_", " ") for name in names)
        known = {word: index for index, word in enumerate(words)}
        known |= {name: index for index, name in enumerate(names)}
        return cls(wanted.template or text, pair, bool(wanted.template), label, words, known)

    @property
    def needed(self) -> tuple[str, ...]:
        """Columns to read."""
        texts = _PLACE.findall(self.text) if self.is_template else [self.text, self.pair]
        return tuple(dict.fromkeys([*filter(None, texts), self.label]))

    def texts(self, record: Mapping[str, Any]) -> tuple[str, str]:
        """Text and pair of a record; empty where there is none."""
        if not self.is_template:
            pair = record.get(self.pair) if self.pair else None
            return _stripped(record.get(self.text)), _stripped(pair)
        return _PLACE.sub(lambda place: _stripped(record.get(place[1])), self.text).strip(), ""


def _stripped(value: Any) -> str:
    return "" if value is None else str(value).strip()


def _no_column(field: str, column: str, layout: Layout) -> InvalidInput:
    known = ", ".join(layout.columns)
    return InvalidInput.field(
        field, f"there is no column {column!r}; there are: {known}", reason="DATA_MALFORMED"
    )


def _label_column(layout: Layout, path: str) -> str:
    if len(layout.names) == 1:
        return next(iter(layout.names))
    if "label" in layout.columns:
        return "label"
    raise InvalidInput.field(
        f"{path}.hub.label_field",
        f"cannot be told; the columns are: {', '.join(layout.columns)}",
        reason="DATA_MALFORMED",
    )


def _text_columns(wanted: HubData, layout: Layout, label: str, path: str) -> tuple[str, str]:
    if wanted.template:
        return "", ""
    if wanted.text_field:
        return wanted.text_field, wanted.pair_field
    found = [name for name in layout.texts if name not in (label, wanted.pair_field)]
    if len(found) == 1:
        return found[0], wanted.pair_field
    if len(found) == 2 and not wanted.pair_field:
        return found[0], found[1]
    raise InvalidInput.field(
        f"{path}.hub.text_field",
        f"cannot be told; the columns of texts are: {', '.join(found) or 'none'}",
        reason="DATA_MALFORMED",
    )


# -- splits -----------------------------------------------------------------------------------


def _splits(task: Task, mapping: _Mapping, layout: Layout, path: str) -> Source:
    """Rows for the three splits; see `HubData` for which are taken."""
    wanted = task.hub or HubData()
    train = _labelled(wanted.train or "train", mapping, layout, f"{path}.hub.train")
    if not mapping.words:
        mapping = _with_words_of(train, mapping, path)
    validation = next((name for name in _VALIDATION if name in layout.files), "")

    test_split = wanted.test
    test = [] if test_split else _read("test", mapping, layout)
    if not test:
        test_split = test_split or (validation if validation != wanted.selection else "")
        test = _labelled(test_split, mapping, layout, f"{path}.hub.test") if test_split else []
    selection_split = wanted.selection or (validation if validation != test_split else "")
    selection = (
        _rows(_labelled(selection_split, mapping, layout, f"{path}.hub.selection"), mapping)
        if selection_split
        else None
    )
    rows, test_rows = _rows(train, mapping), _rows(test, mapping)
    if not test_rows:
        rows, test_rows = hold_out(rows, len(mapping.words))
    return Source(
        name=task.name,
        description=task.description or _description(task.name, mapping),
        labels=mapping.words,
        train=rows,
        selection=selection,
        test=test_rows,
    )


def _description(name: str, mapping: _Mapping) -> str:
    columns = " and ".join(column for column in mapping.needed if column != mapping.label)
    return f"{mapping.label} of {columns} in the data set {name.removeprefix('hf:')}"


_Labelled = tuple[str, str, Any]
"""Text, pair, and the label as it stands in the file."""


def _labelled(split: str, mapping: _Mapping, layout: Layout, field: str) -> list[_Labelled]:
    if split not in layout.files:
        raise InvalidInput.field(
            field,
            f"there is no split {split!r}; there are: {', '.join(layout.files)}",
            reason="DATA_MALFORMED",
        )
    found = _read(split, mapping, layout)
    if not found:
        raise InvalidInput.field(
            field, f"the split {split!r} has no row with text and label", reason="TOO_FEW_ROWS"
        )
    return found


def _read(split: str, mapping: _Mapping, layout: Layout) -> list[_Labelled]:
    """Rows with a text and a label."""
    found: list[_Labelled] = []
    for file in layout.files.get(split, ()):
        try:
            for where, record in records(file, mapping.needed):
                text, pair = mapping.texts(record)
                label = record.get(mapping.label)
                if not text or label is None or label == "" or _is_hidden(label):
                    continue
                if max(len(text), len(pair)) > MAX_TEXT_CHARACTERS:
                    raise MalformedError(f"{where}: has more than {MAX_TEXT_CHARACTERS} characters")
                found.append((text, pair, label))
                if len(found) > MAX_ROWS:
                    raise MalformedError(f"the split {split!r} has more than {MAX_ROWS} rows")
        except MalformedError as error:
            raise MalformedError(f"{file.name}: {error}") from None
    return found


def _is_hidden(label: Any) -> bool:
    return str(label).strip() == "-1"


def _with_words_of(rows: Sequence[_Labelled], mapping: _Mapping, path: str) -> _Mapping:
    """Label words as they occur, where the column holds words (or true and false)."""
    values = {label for *_, label in rows}
    if values <= {True, False} and all(isinstance(value, bool) for value in values):
        return replace(mapping, words=("false", "true"), known={})
    if all(isinstance(value, str) and not value.isdecimal() for value in values):
        words = tuple(sorted(value.strip() for value in values))
        return replace(mapping, words=words, known={w: i for i, w in enumerate(words)})
    raise InvalidInput.field(
        f"{path}.labels",
        f"the column {mapping.label!r} holds numbers without names; give the label words in their "
        "order",
    )


def _rows(rows: Sequence[_Labelled], mapping: _Mapping) -> tuple[Row, ...]:
    return tuple(Row(text, _index(label, mapping), pair) for text, pair, label in rows)


def _index(label: Any, mapping: _Mapping) -> int:
    if isinstance(label, str):
        word = label.strip()
        if word in mapping.known:
            return mapping.known[word]
        label = int(word) if word.isascii() and word.isdecimal() else -1
    if isinstance(label, (bool, int)) and 0 <= label < len(mapping.words):
        return int(label)
    raise MalformedError(
        f"column {mapping.label!r}: {str(label)[:80]!r} is neither a label word nor an index from "
        f"0 to {len(mapping.words) - 1}"
    )
