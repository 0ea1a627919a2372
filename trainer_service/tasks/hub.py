"""Loads tasks from local copies of Hugging Face data sets (``hf:`` names).

`hub_layout` finds the files of each split and the columns; `files` reads the files, with its
limits. Rows without a text or image or without a label (public test splits have -1) are left out.
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
from mentorgrad.tables.malformed import MalformedError
from mentorgrad.tables.values import MAX_TEXT_CHARACTERS, choices_text
from trainer_service.tasks.data import Row, Source
from trainer_service.tasks.files import MAX_ROWS
from trainer_service.tasks.hub_layout import Layout
from trainer_service.tasks.images import EncodedImage, image_in
from trainer_service.tasks.sampling import hold_out

_VALIDATION = ("validation", "dev", "val", "valid", "validation_matched")
"""Names of the validation split, most common first."""

_PLACE = re.compile(r"\{([^{}]+)\}")
"""Placeholder of a column in a template."""


def load_hub(task: Task, roots: Sequence[Path], path: str) -> Source:
    """Loads a task from a local copy of a Hugging Face data set.

    Args:
        task: Its name starts with ``hf:``.
        roots: Folders to search before the Hugging Face cache.
        path: Path of the task field in the request, for violations.

    Raises:
        InvalidInput: The data set is not on this machine, or its columns or splits do not fit.
        Unsupported: The package ``datasets`` is not installed.
    """
    try:
        return read_source(task, Layout.of(resolve(task.name, roots)), path)
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


def read_source(task: Task, layout: Layout, path: str) -> Source:
    """Reads the rows of a task from files whose layout is known.

    Args:
        task: `hub` says which columns and splits are read.
        layout: Files and columns.
        path: Path of the task field in the request, for violations.

    Raises:
        InvalidInput: Columns or splits do not fit; names the field.
        MalformedError: A file does not.
    """
    return _splits(task, _Mapping.of(task, layout, path), layout, path)


# -- columns ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Mapping:
    """How the columns of a data set map to a row's text, pair and label."""

    text: str
    """Text column, or a template with column names in braces."""
    pair: str
    """Pair column; empty: none."""
    choices: tuple[str, ...]
    """Columns of the choices, which make the pair; empty: none."""
    is_template: bool
    """Whether `text` is a template."""
    is_image: bool
    """Whether `text` is a column of images."""
    label: str
    """Label column."""
    words: tuple[str, ...]
    """Label words in class order; empty: taken from the label column."""
    known: Mapping[str, int]
    """Maps the strings that the label column may hold to class indices."""

    @classmethod
    def of(cls, task: Task, layout: Layout, path: str) -> _Mapping:
        wanted = task.hub or HubData()
        label = wanted.label_field or _label_column(layout, path)
        text, pair = _text_columns(wanted, layout, label, path)
        columns = {
            "text_field": (text,),
            "pair_field": (pair,),
            "choice_fields": wanted.choice_fields,
            "label_field": (label,),
            "template": _PLACE.findall(wanted.template),
        }
        for field, named in columns.items():
            for column in named:
                if column and column not in layout.columns:
                    raise _no_column(f"{path}.hub.{field}", column, layout)
        names = layout.names.get(label, ())
        if names and task.labels and len(task.labels) != len(names):
            raise InvalidInput.field(
                f"{path}.labels", f"{task.name} has {len(names)} classes, not {len(task.labels)}"
            )
        words = task.labels or tuple(name.replace("_", " ") for name in names)
        if words != names and sorted(words) == sorted(names):
            order = f"must be in the order of the classes: {', '.join(names)}"
            raise InvalidInput.field(f"{path}.labels", order)
        words = words or wanted.choice_fields
        known = {word.replace(" ", "_"): index for index, word in enumerate(words)}
        known |= {word: index for index, word in enumerate(words)}
        known |= {name: index for index, name in enumerate(names)}
        return cls(
            text=wanted.template or text,
            pair=pair,
            choices=wanted.choice_fields,
            is_template=bool(wanted.template),
            is_image=text in layout.images,
            label=label,
            words=words,
            known=known,
        )

    @property
    def needed(self) -> tuple[str, ...]:
        """Columns to read."""
        texts = _PLACE.findall(self.text) if self.is_template else [self.text]
        return tuple(dict.fromkeys(filter(None, [*texts, self.pair, *self.choices, self.label])))

    def texts(self, record: Mapping[str, Any], where: str) -> tuple[str | EncodedImage, str]:
        """Text and pair of a record, or its image; an empty string if missing."""
        if self.is_image:
            image = record.get(self.text)
            return image_in(image, where, lambda _: None) if image is not None else "", ""
        pair = _stripped(record.get(self.pair)) if self.pair else ""
        if self.choices:
            pair = choices_text(_stripped(record.get(name)) for name in self.choices)
        if not self.is_template:
            return _stripped(record.get(self.text)), pair
        return _PLACE.sub(lambda place: _stripped(record.get(place[1])), self.text).strip(), pair


def _stripped(value: Any) -> str:
    return "" if value is None else str(value).strip()


def _no_column(field: str, column: str, layout: Layout) -> InvalidInput:
    known = ", ".join(layout.columns)
    return InvalidInput.field(
        field,
        f"column {column!r} does not exist; the columns are: {known}",
        reason="DATA_MALFORMED",
    )


def _label_column(layout: Layout, path: str) -> str:
    if len(layout.names) == 1:
        return next(iter(layout.names))
    if "label" in layout.columns:
        return "label"
    raise InvalidInput.field(
        f"{path}.hub.label_field",
        f"cannot be inferred, set it; the columns are: {', '.join(layout.columns)}",
        reason="DATA_MALFORMED",
    )


def _text_columns(wanted: HubData, layout: Layout, label: str, path: str) -> tuple[str, str]:
    if wanted.template or wanted.text_field:
        return "" if wanted.template else wanted.text_field, wanted.pair_field
    given = (label, wanted.pair_field, *wanted.choice_fields)
    found = [name for name in layout.texts if name not in given]
    if len(found) == 1:
        return found[0], wanted.pair_field
    if len(found) == 2 and not (wanted.pair_field or wanted.choice_fields):
        return found[0], found[1]
    if not found and len(layout.images) == 1:
        return layout.images[0], ""
    raise InvalidInput.field(
        f"{path}.hub.text_field",
        f"cannot be inferred, set it; the text columns are: {', '.join(found) or 'none'}",
        reason="DATA_MALFORMED",
    )


# -- splits -----------------------------------------------------------------------------------


def _splits(task: Task, mapping: _Mapping, layout: Layout, path: str) -> Source:
    """Reads the rows of the three splits, chosen as `HubData` documents."""
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
        field="hub",
    )


def _description(name: str, mapping: _Mapping) -> str:
    columns = " and ".join(column for column in mapping.needed if column != mapping.label)
    return f"{mapping.label} of {columns} in the data set {name.removeprefix('hf:')}"


_Labelled = tuple[str | EncodedImage, str, Any]
"""Text or image, pair, and the label value from the file."""


def _labelled(split: str, mapping: _Mapping, layout: Layout, field: str) -> list[_Labelled]:
    if split not in layout.files:
        raise InvalidInput.field(
            field,
            f"split {split!r} does not exist; the splits are: {', '.join(layout.files)}",
            reason="DATA_MALFORMED",
        )
    found = _read(split, mapping, layout)
    if not found:
        raise InvalidInput.field(
            field, f"split {split!r} has no row with a text and a label", reason="TOO_FEW_ROWS"
        )
    return found


def _read(split: str, mapping: _Mapping, layout: Layout) -> list[_Labelled]:
    """Reads the rows of a split that have a text and a label."""
    found: list[_Labelled] = []
    for file in layout.files.get(split, ()):
        try:
            for where, record in layout.records(file, mapping.needed):
                text, pair = mapping.texts(record, f"{where} of {file.name}")
                label = record.get(mapping.label)
                if not text or label is None or label == "" or _is_hidden(label):
                    continue
                if isinstance(text, str) and max(len(text), len(pair)) > MAX_TEXT_CHARACTERS:
                    raise MalformedError(f"{where}: text exceeds {MAX_TEXT_CHARACTERS} characters")
                found.append((text, pair, label))
                if len(found) > MAX_ROWS:
                    raise MalformedError(f"split {split!r} has more than {MAX_ROWS} rows")
        except MalformedError as error:
            raise MalformedError(f"{file.name}: {error}") from None
    return found


def _is_hidden(label: Any) -> bool:
    return str(label).strip() == "-1"


def _with_words_of(rows: Sequence[_Labelled], mapping: _Mapping, path: str) -> _Mapping:
    """Takes the label words from a label column of strings or booleans.

    Raises:
        InvalidInput: The column holds other values.
    """
    values = {label for *_, label in rows}
    if values <= {True, False} and all(isinstance(value, bool) for value in values):
        return replace(mapping, words=("false", "true"), known={})
    if all(isinstance(value, str) and not value.isdecimal() for value in values):
        words = tuple(sorted(value.strip() for value in values))
        return replace(mapping, words=words, known={w: i for i, w in enumerate(words)})
    raise InvalidInput.field(
        f"{path}.labels",
        f"column {mapping.label!r} holds numbers without class names; set the label words in class "
        "order",
    )


def _rows(rows: Sequence[_Labelled], mapping: _Mapping) -> tuple[Row, ...]:
    return tuple(Row.of(text, _index(label, mapping), pair) for text, pair, label in rows)


def _index(label: Any, mapping: _Mapping) -> int:
    index = label
    if isinstance(label, str):
        word = label.strip()
        if word in mapping.known:
            return mapping.known[word]
        index = int(word) if word.isascii() and word.isdecimal() else -1
    if isinstance(index, (bool, int)) and 0 <= index < len(mapping.words):
        return int(index)
    raise MalformedError(
        f"column {mapping.label!r}: {str(label)[:80]!r} is neither a label word nor a class index "
        f"from 0 to {len(mapping.words) - 1}"
    )
