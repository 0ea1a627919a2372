"""Splits, files and columns of a local Hugging Face data set.

The package ``datasets`` reads the card, the configurations and the split names. Nothing is
downloaded and no code of the data set runs. Data files outside the data set's folder are rejected,
and so is what could make that package leave it: URLs in the card, and a card of its own.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mentorgrad.dataset_refs import IMAGE_SUFFIXES, LocalDataSet
from mentorgrad.errors import Unsupported
from mentorgrad.installed import pip_line
from mentorgrad.model_refs import first_line
from mentorgrad.named_tasks import IMAGE, NamedTask, has_images, split_files
from mentorgrad.tables.arrow import class_names
from mentorgrad.tables.malformed import MalformedError
from mentorgrad.tables.records import FileRecord, RowPlace, TableForm, column_names, records
from trainer_service.tasks.files import MAX_FILE_BYTES
from trainer_service.tasks.images import EncodedImage
from trainer_service.tasks.opening import pinned

_TEXT_TYPES = ("string", "large_string")
_OTHER_CARD = ".huggingface.yaml"
"""What the package ``datasets`` reads after the card, and believes more."""
_LABEL = "label"
"""Column of the labels of a data set of image files; with `IMAGE` as ``datasets`` calls them."""


@dataclass(frozen=True)
class Layout:
    """Files of each split, and the columns of a data set."""

    inside: Path
    """Folder that all files must lie in once links are resolved; resolved itself."""
    files: Mapping[str, tuple[Path, ...]]
    """Maps a split to its files."""
    columns: tuple[str, ...]
    """All columns, in file order."""
    texts: tuple[str, ...]
    """String columns."""
    images: tuple[str, ...]
    """Columns of images."""
    names: Mapping[str, tuple[str, ...]]
    """Maps a class label column to its class names in order."""

    @classmethod
    def of(cls, found: LocalDataSet) -> Layout:
        """Reads the layout.

        Raises:
            MalformedError: The data set has no data files, or refers to files outside its folder.
            Unsupported: The package ``datasets`` is not installed.
        """
        datasets = _library()
        _require_plain_card(found.folder)
        try:
            files, features = _read(datasets, found)
        except (MalformedError, Unsupported):
            raise
        except Exception as error:  # an untrusted card or schema can raise anything
            said = first_line(error).replace(str(found.folder), found.folder.name)
            raise MalformedError(said) from None
        class_label = datasets.ClassLabel
        return cls(
            inside=_owned_folder(found.folder),
            files=files,
            columns=tuple(features),
            texts=tuple(n for n, f in features.items() if getattr(f, "dtype", "") in _TEXT_TYPES),
            images=tuple(n for n, f in features.items() if isinstance(f, datasets.Image)),
            names={n: tuple(f.names) for n, f in features.items() if isinstance(f, class_label)},
        )

    def records(self, file: Path, columns: Sequence[str]) -> Iterator[FileRecord]:
        """The records of a file; an image file is one record, whose label is its folder's name."""
        if file.suffix.lower() not in IMAGE_SUFFIXES:
            with _opened(file, self.inside) as path:
                yield from records(path, columns)
            return
        label = file.parent.name
        image = EncodedImage.of(_resolved(file, self.inside), f"{label}/{file.name}")
        yield RowPlace("image", 1), {IMAGE: image, _LABEL: label}

    @classmethod
    def of_folder(cls, folder: Path, task: NamedTask) -> Layout:
        """Reads the layout of a task's folder with a file, or images, per split, without
        ``datasets``.

        Raises:
            MalformedError: A file cannot be read, or is a link that leaves the folder.
        """
        files = {
            split: tuple(_data_file(str(path), folder) for path in paths)
            for split, paths in split_files(folder).items()
        }
        inside = folder.resolve()
        every = [path for paths in files.values() for path in paths]
        columns: tuple[str, ...]
        if has_images(every):
            columns, classes = (IMAGE, _LABEL), _class_folders(every)
        else:
            with _opened(every[0], inside) as path:
                columns = tuple(column_names(path, TableForm()))
                is_parquet = task.has_images and every[0].suffix == ".parquet"
                classes = class_names(path).get(task.label, ()) if is_parquet else ()
        names = task.folders if task.labels else classes
        return cls(
            inside=inside,
            files=files,
            columns=columns,
            texts=(),
            images=(IMAGE,) if task.has_images else (),
            names={task.label: names} if names else {},
        )


def _read(
    datasets: Any, found: LocalDataSet
) -> tuple[dict[str, tuple[Path, ...]], Mapping[str, Any]]:
    """Returns the files by split and the features by column."""
    with tempfile.TemporaryDirectory() as nothing_is_kept:
        builder = datasets.load_dataset_builder(
            str(found.folder), found.config, cache_dir=nothing_is_kept
        )
    inside = _owned_folder(found.folder)
    files = {
        str(split): tuple(_data_file(str(name), inside) for name in names)
        for split, names in (builder.config.data_files or {}).items()
    }
    if not any(files.values()):
        raise MalformedError("has no data files")
    every = [path for paths in files.values() for path in paths]
    if has_images(every):
        names = list(_class_folders(every))
        return files, {IMAGE: datasets.Image(), _LABEL: datasets.ClassLabel(names=names)}
    if builder.info.features:
        return files, builder.info.features
    with _opened(every[0], inside) as path:
        return files, _features(datasets, path)


def _library() -> Any:
    try:
        import datasets
    except ImportError as error:
        raise Unsupported(
            f"hf: tasks need datasets; run: {pip_line('trainer,hub')}",
            reason="MISSING_EXTRA",
        ) from error
    return datasets


def _require_plain_card(folder: Path) -> None:
    """Rejects a card (README.md) that refers to files outside the data set, and a second card."""
    if os.path.lexists(folder / _OTHER_CARD):
        raise MalformedError(f"has a file {_OTHER_CARD}, which is not read; remove it")
    card = folder / "README.md"
    if not card.is_file():
        return
    from huggingface_hub import DatasetCard

    try:
        data = DatasetCard.load(card).data  # as the package reads it
    except Exception:  # untrusted YAML can raise anything
        raise MalformedError("README.md: the YAML metadata cannot be read") from None
    for text in _texts_in(data.get("configs")):
        if "://" in text or "::" in text or text.startswith(("/", "~")) or ".." in text:
            raise MalformedError(f"README.md refers to files outside the data set: {text[:80]!r}")


def _texts_in(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _texts_in(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _texts_in(item)


def _owned_folder(folder: Path) -> Path:
    """Folder that symbolic links must stay in: the data set's own, or its root in the cache."""
    folder = folder.resolve()
    cached = folder.parent.name == "snapshots" and folder.parents[1].name.startswith("datasets--")
    return folder.parents[1] if cached else folder


def _resolved(path: Path, inside: Path) -> Path:
    found = path.resolve()
    if not found.is_relative_to(inside) or not found.is_file():
        raise MalformedError(f"{path.name} is outside the data set or not a regular file")
    return found


@contextlib.contextmanager
def _opened(file: Path, inside: Path) -> Iterator[Path]:
    """A data file, as `pinned` keeps it open."""
    try:
        with pinned(_resolved(file, inside), file.suffix) as path:
            yield path
    except OSError as error:
        raise MalformedError(f"{file.name} cannot be read ({error.strerror})") from None


def _data_file(name: str, inside: Path) -> Path:
    path = Path(name)
    if _resolved(path, inside).stat().st_size > MAX_FILE_BYTES:
        raise MalformedError(
            f"{path.name} has more than {MAX_FILE_BYTES} bytes; `mentorgrad tasks import` unpacks "
            "the images of a published task"
        )
    return path


def _class_folders(files: Sequence[Path]) -> tuple[str, ...]:
    """The names of the folders of image files, one per class.

    Raises:
        MalformedError: There are other files, or only one folder.
    """
    for file in files:
        if file.suffix.lower() not in IMAGE_SUFFIXES:
            raise MalformedError(
                f"holds {file.name} beside images; to read a table that names images, set task.data"
            )
    classes = tuple(sorted({file.parent.name for file in files}))
    if len(classes) < 2:
        raise MalformedError("has images of one class only; they lie in a folder per class")
    return classes


def _features(datasets: Any, file: Path) -> Mapping[str, Any]:
    """Features of a file: the parquet schema, or inferred from the first record."""
    if file.suffix == ".parquet":
        import pyarrow.parquet

        features: Mapping[str, Any] = datasets.Features.from_arrow_schema(
            pyarrow.parquet.read_schema(file)
        )
        return features
    _, record = next(records(file, ()), ("", {}))
    return {
        str(name): datasets.Value("string" if isinstance(value, str) else "int64")
        for name, value in record.items()
    }
