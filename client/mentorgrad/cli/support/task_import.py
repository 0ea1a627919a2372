"""Copies a task's files to the folder that ``task = NAME`` reads, in one layout."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mentorgrad.cli.support.image_import import ImageSource, SourceImage, image_source
from mentorgrad.dataset_refs import IMAGE_SUFFIXES
from mentorgrad.domain.spec import HubData
from mentorgrad.errors import InvalidInput
from mentorgrad.named_tasks import CARD, NamedTask, published_tasks, split_files, task_of_folder
from mentorgrad.schema import NAME_PATTERN
from mentorgrad.tables.malformed import MalformedError
from mentorgrad.tables.records import RowPlace, TableForm, column_names, records
from mentorgrad.tables.values import cell_text

_PLACE = re.compile(r"\{([^{}]+)\}")


@dataclass(frozen=True)
class ImportedSplit:
    """A file that was written."""

    split: str
    """``train``, ``validation`` or ``test``."""
    rows: int
    """Its rows."""
    left_out: int
    """Rows without a label, as those of public test files, or with an empty text."""
    sha256: str
    """SHA-256 of the file; of images, over the class index and the SHA-256 of each."""


def import_task(
    name: str, source: Path, root: Path, per_class: int = 0
) -> tuple[Path, list[ImportedSplit]]:
    """Writes ``ROOT/NAME/task.json`` and a JSONL file per split, or a folder of images per split
    and class.

    Args:
        name: Name of the task.
        source: A folder with a file per split, or a single file, from which runs hold test rows
            out; or a folder of images, see `image_source`.
        root: Where to; created if it does not exist.
        per_class: Maximum images per split and class; 0: all.

    Returns:
        The new folder, and its splits.

    Raises:
        InvalidInput: There is no such source, it does not fit the task, or the folder exists.
    """
    if re.fullmatch(NAME_PATTERN, name) is None:
        raise InvalidInput(f"{name!r} is no name of a task: letters, digits, '.', '_' and '-'")
    source, folder = source.expanduser(), root / name
    if folder.exists():
        raise InvalidInput(f"{folder} exists already; remove it first")
    task = task_of_folder(name, source if source.is_dir() else source.parent)
    of_images = task is not None and task.has_images
    files = {} if of_images else _text_files(source)
    if task is None:
        published = ", ".join(published_tasks())
        raise InvalidInput(
            f"{name} is no published task ({published}), and {source} has no {CARD} with its "
            '"description" and "labels"'
        )
    images = image_source(task, source) if of_images else ImageSource(task.labels, {})
    task = replace(task, labels=images.labels)
    root.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(dir=root, prefix=f".{name}."))
    try:
        written = [_write(task, split, paths, aside) for split, paths in files.items()]
        for split, found in images.splits.items():
            written.append(_write_images(task, split, found, aside, per_class))
        (aside / CARD).write_text(_card(task), encoding="utf-8")
        aside.chmod(0o755)
        aside.rename(folder)
    except MalformedError as error:
        raise InvalidInput(f"{name}: {error}") from None
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return folder, written


def _text_files(source: Path) -> dict[str, tuple[Path, ...]]:
    single: dict[str, tuple[Path, ...]] = {"train": (source,)} if source.is_file() else {}
    files = split_files(source) if source.is_dir() else single
    if "train" not in files:
        raise InvalidInput(
            f"{source}: there is no file, or no folder with a file such as train.csv"
        )
    return files


def _write_images(
    task: NamedTask, split: str, images: Iterable[SourceImage], folder: Path, per_class: int
) -> ImportedSplit:
    """Puts the images into a folder per class, called by the class index."""
    digest, counts, hidden = hashlib.sha256(), Counter[int](), 0
    for label, name, content in images:
        if label is None:
            hidden += 1
        elif not per_class or counts[label] < per_class:
            counts[label] += 1
            of_class = folder / split / f"{label:04}"
            of_class.mkdir(parents=True, exist_ok=True)
            digest.update(f"{label} {_put(content, of_class / name)}\n".encode())
    without = [word for index, word in enumerate(task.labels) if not counts[index]]
    if without and split == "train":
        raise MalformedError(f"the class {without[0]!r} has no images in train")
    return ImportedSplit(split, counts.total(), hidden, digest.hexdigest())


def _put(content: Path | bytes, path: Path) -> str:
    """Writes an image, or links to its file where the file system can; returns its SHA-256."""
    if path.suffix.lower() not in IMAGE_SUFFIXES:
        raise MalformedError(
            f"{path.name!r} is no image; its name must end in " + ", ".join(IMAGE_SUFFIXES)
        )
    if path.exists():
        raise MalformedError(f"two images of a class are called {path.name!r}")
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        try:
            os.link(content.resolve(), path)
        except OSError:  # another file system, or one without links
            shutil.copyfile(content, path)
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write(task: NamedTask, split: str, paths: tuple[Path, ...], folder: Path) -> ImportedSplit:
    rows = list(_rows(task, paths))
    kept = [row for row in rows if row["label"] is not None and "" not in row.values()]
    if not kept and split == "train":
        raise MalformedError(f"{paths[0].name} has no rows with a text and a label")
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in kept).encode()
    if kept:
        (folder / f"{split}.jsonl").write_bytes(lines)
    left_out = len(rows) - len(kept)
    return ImportedSplit(split, len(kept), left_out, hashlib.sha256(lines).hexdigest())


def _rows(task: NamedTask, paths: tuple[Path, ...]) -> Iterator[dict[str, Any]]:
    for path in paths:
        try:
            known = column_names(path, TableForm())
            columns = task.columns(known)
            names = _names(task, columns)
            needed = (*names, columns.label_field)
            if missing := [column for column in needed if column not in known]:
                raise MalformedError(
                    f"column {missing[0]!r} does not exist; the columns are: {', '.join(known)}"
                )
            for where, record in records(path, needed):
                row: dict[str, Any] = {
                    new: cell_text(record.get(column), column, where)
                    for column, new in names.items()
                }
                yield row | {"label": _label(task, record.get(columns.label_field), where)}
        except MalformedError as error:
            raise MalformedError(f"{path.name}: {error}") from None


def _names(task: NamedTask, columns: HubData) -> dict[str, str]:
    """Column of the file → column that is written: the text and the second text have one name each
    in every task, all others keep theirs."""
    placed = zip(_PLACE.findall(columns.template), _PLACE.findall(task.template), strict=True)
    names = dict(placed) or {columns.text_field: "text"}
    names |= {column: column for column in columns.choice_fields}
    return names | ({columns.pair_field: "text_pair"} if columns.pair_field else {})


def _label(task: NamedTask, value: Any, where: RowPlace) -> int | None:
    """The index of a label; None for a hidden one."""
    if value is None or str(value).strip() in ("", "-1"):
        return None
    word = str(value).strip().casefold().replace("_", " ")
    words = [label.casefold() for label in task.labels]
    if word in words:
        return words.index(word)
    truth = {"false": "0", "true": "1"} if len(words) == 2 else {}
    word = truth.get(word, word)
    if word.isascii() and word.isdecimal() and int(word) < len(words):
        return int(word)
    raise MalformedError(
        f"{where}: {str(value)[:80]!r} is no label of {task.name}: an index from 0 to "
        f"{len(words) - 1}, or one of: {', '.join(task.labels)}"
    )


def _card(task: NamedTask) -> str:
    card = {
        "name": task.name,
        "description": task.description,
        "labels": list(task.labels),
        "pair": bool(task.pair),
        "choices": list(task.choices),
        "template": task.template,
    }
    return json.dumps(card, indent=2, ensure_ascii=False) + "\n"


def imported_tasks(root: Path | None) -> list[NamedTask]:
    """The tasks that were imported, without those that are published; none without the folder."""
    found = []
    for path in sorted(root.glob(f"*/{CARD}")) if root is not None else ():
        task = task_of_folder(path.parent.name, path.parent)
        if task is not None and task.name not in published_tasks():
            found.append(replace(task, source=str(path.parent)))
    return found
