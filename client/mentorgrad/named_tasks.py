"""Tasks that a spec names: what their files and columns are, as data.

`named_tasks.toml` has the published ones. A folder with a ``task.json`` is a task, too. Both are
read from a folder of files, one or more per split; a published one also from a local copy of its
data set of the Hugging Face hub.
"""

from __future__ import annotations

import functools
import json
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any

from mentorgrad.dataset_refs import SUFFIXES
from mentorgrad.domain.spec import Criterion, HubData
from mentorgrad.errors import InvalidInput
from mentorgrad.schema import bounded
from mentorgrad.serialization import from_dict

CARD = "task.json"
"""File of a folder that says what its task is."""

_STEMS = {
    "train": ("train",),
    "validation": ("validation", "dev", "val"),
    "test": ("test_labelled", "test"),
}
"""Split → how its files are called, the first that exists."""


@dataclass(frozen=True)
class NamedTask:
    """A task that can be named."""

    name: str = ""
    """What a spec calls it."""
    description: str = bounded("", required=True, max_length=500)
    """How its rows are classified, in one line."""
    labels: tuple[str, ...] = bounded((), required=True, max_length=1000)
    """Label words, in the order of the label indices."""
    source: str = ""
    """Data set of the hub, ``hf:org/name[/config]``; empty: none."""
    text: str = "text"
    """Column of the text."""
    pair: str = ""
    """Column of the second text; empty: none."""
    choices: tuple[str, ...] = ()
    """Columns of the choices, one per label; empty: none."""
    template: str = ""
    """Makes the text of several columns: ``{text}`` is that of the text, any other its own; empty:
    the text alone."""
    label: str = "label"
    """Column of the label: an index, or a label word."""
    metric: Criterion = Criterion.ACCURACY
    """What it is reported by."""

    def columns(self, known: Collection[str] = ()) -> HubData:
        """The columns of its rows.

        Args:
            known: Columns of a file, which may have ``text``, ``text_pair`` and ``label`` instead
                of the data set's; none: those of the data set.
        """

        def column(name: str, usual: str) -> str:
            return usual if name and name not in known and usual in known else name

        text = column(self.text, "text")
        return HubData(
            text_field="" if self.template else text,
            pair_field=column(self.pair, "text_pair"),
            template=self.template.replace("{text}", f"{{{text}}}"),
            label_field=column(self.label, "label"),
            choice_fields=self.choices,
        )


@functools.cache
def published_tasks() -> Mapping[str, NamedTask]:
    """The published tasks, by name."""
    text = (resources.files("mentorgrad") / "named_tasks.toml").read_text(encoding="utf-8")
    return {
        name: from_dict(NamedTask, {"name": name, **fields}, name)
        for name, fields in tomllib.loads(text).items()
    }


def task_of_folder(name: str, folder: Path) -> NamedTask | None:
    """The task of a folder: a published one, or what ``task.json`` says; None for neither.

    The label words of ``task.json`` are those of the rows' indices, whatever a published task says.

    Raises:
        InvalidInput: ``task.json`` cannot be read, or does not fit the published task.
    """
    known, path = published_tasks().get(name), folder / CARD
    if not (path.is_file() and path.resolve().is_relative_to(folder.resolve())):
        return known
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
        words = tuple(str(word).replace("_", " ") for word in card.get("labels", ()))
    except (OSError, ValueError, AttributeError, TypeError):
        raise InvalidInput(f"{CARD} is no JSON object with the label words as a list") from None
    if known is None:
        return _described(name, card, words)
    if words and len(words) != len(known.labels):
        raise InvalidInput(f"{CARD} has {len(words)} labels; {name} has {len(known.labels)}")
    same = {word.casefold() for word in words} == set(known.labels)
    return replace(known, labels=words) if same else known


def _described(name: str, card: Mapping[str, Any], words: tuple[str, ...]) -> NamedTask:
    """A task that its card alone describes."""
    fields = {key: card[key] for key in ("description", "choices", "template") if card.get(key)}
    pair = "text_pair" if card.get("pair") is True and not card.get("choices") else ""
    try:
        return from_dict(NamedTask, {**fields, "name": name, "labels": words, "pair": pair})
    except InvalidInput as error:
        what = "; ".join(f"{found.field} {found.description}" for found in error.violations)
        raise InvalidInput(f"{CARD}: {what}") from None


def split_files(folder: Path) -> dict[str, tuple[Path, ...]]:
    """The files of each split of a folder: ``train.jsonl`` and the like, or parts of one."""
    found = {}
    for split, stems in _STEMS.items():
        for stem in stems:
            files = [folder / f"{stem}{suffix}" for suffix in SUFFIXES]
            files = [path for path in files if path.is_file()][:1]
            parts = f"{stem}-*-of-*.parquet"
            files = files or sorted(folder.glob(parts)) or sorted((folder / "data").glob(parts))
            if files:
                found[split] = tuple(files)
                break
    return found
