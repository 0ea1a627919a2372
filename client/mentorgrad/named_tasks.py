"""Tasks that a spec names: what their files and columns are, as data.

`named_tasks.toml` has the published ones. A folder with a ``task.json`` is a task, too. Both are
read from a folder of files, one or more per split, or of images in a folder per class; a published
one also from a local copy of its data set of the Hugging Face hub.
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

from mentorgrad.dataset_refs import IMAGE_SUFFIXES, SUFFIXES
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

IMAGE = "image"
"""Column of the images, of a task that has images."""


@dataclass(frozen=True)
class NamedTask:
    """A task that can be named."""

    name: str = ""
    """What a spec calls it."""
    description: str = bounded("", required=True, max_length=500)
    """How its rows are classified, in one line."""
    labels: tuple[str, ...] = bounded((), max_length=1000)
    """Label words, in the order of the label indices; empty: the names of the classes' folders, or
    of the data set's classes."""
    classes: int = 0
    """Number of classes, if the label words come with the data; 0: that of `labels`."""
    folders: tuple[str, ...] = ()
    """How the publisher calls the classes' folders, in the order of `labels`; empty: as they."""
    source: str = ""
    """Data set of the hub, ``hf:org/name[/config]``; empty: none."""
    homepage: str = ""
    """Address of its publisher."""
    text: str = "text"
    """Column of the text, or `IMAGE`."""
    pair: str = ""
    """Column of the second text; empty: none."""
    choices: tuple[str, ...] = ()
    """Columns of the choices, one per label; empty: none."""
    template: str = ""
    """Makes the text of several columns: ``{text}`` is that of the text, any other its own; empty:
    the text alone."""
    label: str = "label"
    """Column of the label: an index, or a label word."""
    prompt: str = ""
    """What stands for a class without tuning, as published, with ``{label}`` for its word; empty:
    the word alone."""
    metric: Criterion = Criterion.ACCURACY
    """What it is reported by."""

    @property
    def has_images(self) -> bool:
        """Whether its rows are images."""
        return self.text == IMAGE

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
    Those that a published task leaves to its data are in the ``task.json`` of an import.

    Raises:
        InvalidInput: ``task.json`` cannot be read, or does not fit the published task.
    """
    known, read = published_tasks().get(name), _card(folder)
    if read is None:
        return known
    card, words = read
    if known is None:
        return _described(name, card, words, folder)
    if not known.labels:
        return replace(known, labels=words)
    if words and len(words) != len(known.labels):
        raise InvalidInput(f"{CARD} has {len(words)} labels; {name} has {len(known.labels)}")
    return replace(known, labels=words) if _are_same(words, known.labels) else known


def replaced_words(task: NamedTask, folder: Path) -> tuple[str, ...]:
    """The label words of ``task.json`` in a folder whose places a published task's own words take;
    empty if they are the same ones, or there are none.

    Raises:
        InvalidInput: ``task.json`` cannot be read.
    """
    read = _card(folder) if task.labels else None
    return () if read is None or _are_same(read[1], task.labels) else read[1]


def _are_same(words: Collection[str], others: Collection[str]) -> bool:
    return {word.casefold() for word in words} == {word.casefold() for word in others}


def _card(folder: Path) -> tuple[Mapping[str, Any], tuple[str, ...]] | None:
    """What ``task.json`` in a folder says, and its label words; None without the file."""
    path = folder / CARD
    if not (path.is_file() and path.resolve().is_relative_to(folder.resolve())):
        return None
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
        return card, tuple(str(word).replace("_", " ") for word in card.get("labels", ()))
    except (OSError, ValueError, AttributeError, TypeError):
        raise InvalidInput(f"{CARD} is no JSON object with the label words as a list") from None


def _described(
    name: str, card: Mapping[str, Any], words: tuple[str, ...], folder: Path
) -> NamedTask:
    """A task that its card alone describes."""
    fields = {key: card[key] for key in ("description", "choices", "template") if card.get(key)}
    if any(has_images(files) for files in split_files(folder).values()):
        fields["text"] = IMAGE
    elif not words:
        raise InvalidInput(f"{CARD}: labels must not be empty")
    pair = "text_pair" if card.get("pair") is True and not card.get("choices") else ""
    try:
        return from_dict(NamedTask, {**fields, "name": name, "labels": words, "pair": pair})
    except InvalidInput as error:
        what = "; ".join(f"{found.field} {found.description}" for found in error.violations)
        raise InvalidInput(f"{CARD}: {what}") from None


def split_files(folder: Path) -> dict[str, tuple[Path, ...]]:
    """The files of each split of a folder: ``train.jsonl`` and the like, or parts of one; or the
    images of ``train`` and the like, which hold one folder per class, as a folder without splits
    may."""
    found = {}
    for split, stems in _STEMS.items():
        for stem in stems:
            files = [folder / f"{stem}{suffix}" for suffix in SUFFIXES]
            files = [path for path in files if path.is_file()][:1]
            parts = f"{stem}-*-of-*.parquet"
            files = files or sorted(folder.glob(parts)) or sorted((folder / "data").glob(parts))
            files = files or _class_files(folder / stem)
            if files:
                found[split] = tuple(files)
                break
    if not found and (images := _class_files(folder)):
        found["train"] = tuple(images)
    return found


def has_images(files: Collection[Path]) -> bool:
    """Whether files are images."""
    return any(path.suffix.lower() in IMAGE_SUFFIXES for path in files)


def _class_files(folder: Path) -> list[Path]:
    """What the folders of a folder's classes hold, without hidden files; none without images."""
    files = [
        path
        for path in folder.glob("*/*")
        if not path.name.startswith(".") and not path.parent.name.startswith(".")
    ]
    return sorted(files) if has_images(files) else []
