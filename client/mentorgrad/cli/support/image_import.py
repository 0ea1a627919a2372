"""The images of a task, as its publisher, CoOp or the Hugging Face hub arranges them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from mentorgrad.dataset_refs import IMAGE_SUFFIXES
from mentorgrad.errors import InvalidInput
from mentorgrad.model_refs import is_plain
from mentorgrad.named_tasks import IMAGE, NamedTask, has_images, split_files
from mentorgrad.tables.arrow import class_names
from mentorgrad.tables.malformed import MalformedError
from mentorgrad.tables.records import records

_CLASS_NAMES = "classnames.txt"
"""File with a line per class, its folder and its words, as CoOp has it for ImageNet."""

_VARIANTS = "variants.txt"
"""File with the class names of FGVC-Aircraft, beside lists of its splits."""

_SPLITS = {"train": "train", "val": "validation", "test": "test"}
"""Split of a list → split."""


class SourceImage(NamedTuple):
    """An image to import."""

    label: int | None
    """Class index; None: hidden."""
    name: str
    """File name, unique within its class."""
    content: Path | bytes
    """Its file, or its bytes."""


@dataclass(frozen=True)
class ImageSource:
    """The images of a task."""

    labels: tuple[str, ...]
    """Label words, in the order of the class indices."""
    splits: Mapping[str, Iterable[SourceImage]]
    """Split → its images. Reading them can raise MalformedError."""


def image_source(task: NamedTask, source: Path) -> ImageSource:
    """The images of a folder: of one folder per class, with or without a folder per split; those
    that CoOp's list of splits names (``split_zhou_*.json``), or FGVC-Aircraft's own; or parquet
    files of the hub.

    Raises:
        InvalidInput: The folder has none, they are not the task's, or a list cannot be read.
    """
    try:
        found = _found(task, source)
    except MalformedError as error:
        raise InvalidInput(f"{task.name}: {error}") from None
    expected = len(task.labels) or task.classes
    if expected and len(found.labels) != expected:
        raise InvalidInput(f"{source} has {len(found.labels)} classes; {task.name} has {expected}")
    listed = tuple(word.casefold() for word in found.labels)
    same = set(listed) == set(task.labels)  # in an order of the list's own, perhaps
    return ImageSource(listed if same else task.labels or found.labels, found.splits)


def _found(task: NamedTask, source: Path) -> ImageSource:
    if lists := [*sorted(source.glob("split_*.json")), *source.glob(_VARIANTS)]:
        return _of_list(lists[0])
    files = split_files(source)
    if "train" not in files:
        raise InvalidInput(
            f"{source} has no images of {task.name}: neither CLASS/*.jpg, nor train/CLASS/*.jpg "
            "and test/CLASS/*.jpg (or .png), nor a list of splits as CoOp's, split_zhou_*.json, "
            "beside them, nor the parquet files of a copy of the hub"
        )
    if has_images(files["train"]):
        return _of_folders(task, files, _class_words(source))
    return _of_tables(task, files)


# -- a folder per class -----------------------------------------------------------------------


def _of_folders(
    task: NamedTask, files: Mapping[str, Sequence[Path]], words: Mapping[str, str]
) -> ImageSource:
    names = {path.parent.name for paths in files.values() for path in paths}
    if unknown := sorted(names - words.keys()) if words else []:
        raise MalformedError(f"{_CLASS_NAMES} has no line for the folder {unknown[0]!r}")
    labels = task.labels
    folders = task.folders if names.intersection(task.folders) else labels
    if not labels:
        folders = tuple(name for name in words or sorted(names) if name in names)
        labels = tuple(words.get(name, name).replace("_", " ") for name in folders)
    known = {word.replace(" ", "_"): index for index, word in enumerate(labels)}
    known |= {name: index for index, name in enumerate(folders)}
    if unknown := sorted(names - known.keys()):
        raise MalformedError(f"the folder {unknown[0]!r} is that of no class")
    return ImageSource(
        tuple(labels),
        {
            split: [SourceImage(known[path.parent.name], path.name, path) for path in paths]
            for split, paths in files.items()
        },
    )


def _class_words(source: Path) -> dict[str, str]:
    """Folder → words, of a `_CLASS_NAMES` in a folder or beside it; empty without one."""
    for folder in (source, source.resolve().parent):
        if (path := folder / _CLASS_NAMES).is_file():
            try:
                lines = path.read_text(encoding="utf-8").splitlines()
            except (OSError, ValueError):
                raise MalformedError(f"{_CLASS_NAMES} is no text in UTF-8") from None
            pairs = (line.strip().partition(" ") for line in lines if line.strip())
            return {name: words.strip() or name for name, _, words in pairs}
    return {}


# -- lists of splits --------------------------------------------------------------------------


_Listed = tuple[str, int, str]
"""Path, class index and class name of an image."""


def _of_list(path: Path) -> ImageSource:
    read = _variants if path.name == _VARIANTS else _splits
    try:
        listed = {new: read(path, old) for old, new in _SPLITS.items()}
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        raise MalformedError(
            f"{path.name} is no list of splits: train, val and test, each a list of [path, class "
            "index, class name]"
        ) from None
    words = {label: word for rows in listed.values() for _, label, word in rows}
    if not listed["train"] or sorted(words) != list(range(len(words))):
        raise MalformedError(f"{path.name}: the class indices are not 0, 1, 2 and so on")
    labels = tuple(words[label].replace("_", " ") for label in sorted(words))
    base = _base_of(path.parent, listed["train"][0][0])
    return ImageSource(
        labels, {split: list(_listed(path.name, base, rows)) for split, rows in listed.items()}
    )


def _splits(path: Path, split: str) -> list[_Listed]:
    """A split of CoOp's list."""
    rows = json.loads(path.read_text(encoding="utf-8"))[split]
    return [(str(file), int(label), str(word)) for file, label, word in rows]


def _variants(path: Path, split: str) -> list[_Listed]:
    """A split of FGVC-Aircraft, as its publisher lists them."""
    words = path.read_text(encoding="utf-8").splitlines()
    lines = path.with_name(f"images_variant_{split}.txt").read_text(encoding="utf-8").splitlines()
    pairs = (line.strip().split(" ", 1) for line in lines if line.strip())
    return [(f"{number}.jpg", words.index(word), word) for number, word in pairs]


def _base_of(folder: Path, first: str) -> Path:
    """The folder that the paths are relative to: `folder`, or one in it."""
    for base in (folder, *sorted(path for path in folder.iterdir() if path.is_dir())):
        if (base / first).is_file():
            return base
    raise MalformedError(f"{first!r} is neither in {folder} nor in a folder in it")


def _listed(where: str, base: Path, rows: Iterable[_Listed]) -> Iterator[SourceImage]:
    for name, label, _ in rows:
        if not is_plain(name) or not (base / name).is_file():
            raise MalformedError(f"{where}: there is no image {name!r}")
        yield SourceImage(label, name.replace("/", "-"), base / name)


# -- parquet files ----------------------------------------------------------------------------


def _of_tables(task: NamedTask, files: Mapping[str, Sequence[Path]]) -> ImageSource:
    first = files["train"][0]
    names = class_names(first).get(task.label, ()) if first.suffix == ".parquet" else ()
    if not names:
        raise MalformedError(f"{first.name} has no images whose classes have names")
    labels = tuple(name.replace("_", " ") for name in names)
    return ImageSource(
        labels, {split: _in_tables(task, paths, len(labels)) for split, paths in files.items()}
    )


def _in_tables(task: NamedTask, paths: Iterable[Path], classes: int) -> Iterator[SourceImage]:
    for part, path in enumerate(paths):
        for where, record in records(path, (IMAGE, task.label)):
            image: Any = record.get(IMAGE)
            content = image.get("bytes") if isinstance(image, Mapping) else image
            label = record.get(task.label)
            if not isinstance(content, bytes) or not isinstance(label, int) or label >= classes:
                raise MalformedError(f"{path.name}: {where} holds no image and class index")
            suffix = Path(str(image.get("path"))).suffix.lower() if image is not content else ""
            name = f"{part:05}-{where.number:06}{suffix if suffix in IMAGE_SUFFIXES else '.png'}"
            yield SourceImage(label if label >= 0 else None, name, content)
