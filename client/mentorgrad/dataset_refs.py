"""Local copies of Hugging Face data sets.

A reference has the form ``hf:org/name[/config][@revision]``; older data sets have no ``org``
(``hf:super_glue/rte``). It is looked up first in the data roots, as ``ROOT/org/name`` or in a copy
of the hub's cache, and then in the hub's local cache. Only `pull` (``mentorgrad tasks pull``)
downloads.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from mentorgrad.errors import InvalidInput, NotFound, Unavailable
from mentorgrad.model_refs import UNREACHABLE, first_line, hub_library, is_plain

REASON = "TASK_NOT_FOUND"
"""Error reason for references that cannot be resolved."""

SUFFIXES = (".parquet", ".csv", ".tsv", ".jsonl", ".json")
"""Suffixes of the data files that are read; loading scripts are never executed."""

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff")
"""Suffixes of the image files that are read."""

_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]*"
_REFERENCE = re.compile(rf"hf:({_NAME})(?:/({_NAME}))?(?:/({_NAME}))?(?:@([A-Za-z0-9._/-]+))?")
_CARD = "README.md"


@dataclass(frozen=True)
class DataSetReference:
    """One possible interpretation of an ``hf:`` reference."""

    repo: str
    """Repository, ``org/name``, or ``name`` for older data sets."""
    config: str | None
    """Configuration; None: the only or the default one."""
    revision: str | None
    """Branch, tag or commit; None: the default branch."""


@dataclass(frozen=True)
class LocalDataSet:
    """A data set on the local disk."""

    folder: Path
    """Folder with the data set card and the data files."""
    config: str | None
    """Configuration; None: the only or the default one."""


def readings(reference: str) -> tuple[DataSetReference, ...]:
    """Returns the possible interpretations of a reference, the most likely first.

    ``hf:a/b`` is data set ``b`` of organisation ``a``, or configuration ``b`` of data set ``a``.

    Raises:
        InvalidInput: The reference is malformed.
    """
    match = _REFERENCE.fullmatch(reference)
    if match is None or not is_plain(match[4] or ""):
        raise InvalidInput(
            f"{reference!r} does not have the form hf:org/name[/config][@revision]", reason=REASON
        )
    first, second, third, revision = match.groups()
    if second is None:
        return (DataSetReference(first, None, revision),)
    full = DataSetReference(f"{first}/{second}", third, revision)
    if third is not None:
        return (full,)
    return (full, DataSetReference(first, second, revision))


def resolve(reference: str, roots: Iterable[Path | str] = ()) -> LocalDataSet:
    """Finds a data set on the local disk, without network access.

    Args:
        reference: ``hf:org/name[/config][@revision]``.
        roots: Folders that are searched before the hub's cache.

    Raises:
        InvalidInput: The reference is malformed.
        NotFound: The data set is not on this machine.
        Unsupported: The data set is in no root, and huggingface-hub is not installed.
    """
    read = readings(reference)
    places = [Path(root).expanduser().resolve() for root in roots]
    found = [
        LocalDataSet(folder, reading.config)
        for place in places
        for reading in read
        if (folder := _checkout(place, reading)) is not None
    ]
    # A configuration's folder inside a data set looks like a data set without a card.
    found.sort(key=lambda item: not (item.folder / _CARD).is_file())
    if found:
        return found[0]
    for cache in (*places, None):
        for reading in read:
            folder = _cached(reading, cache)
            if folder is not None:
                return LocalDataSet(folder, reading.config)
    raise NotFound(
        f"{reference} is not on this machine; run on it: mentorgrad tasks pull {reference}",
        reason=REASON,
    )


def pull(reference: str) -> LocalDataSet:
    """Downloads a data set's card and data files to the hub's local cache.

    Raises:
        InvalidInput: The reference is malformed.
        NotFound: The hub has no such data set, or the data set has no files in a supported format.
        Unavailable: The hub cannot be reached.
        Unsupported: huggingface-hub is not installed.
    """
    hub = hub_library()
    for reading in readings(reference):
        try:
            folder = Path(
                hub.snapshot_download(
                    reading.repo,
                    repo_type="dataset",
                    revision=reading.revision,
                    allow_patterns=[_CARD, *(f"*{suffix}" for suffix in SUFFIXES)],
                )
            )
        except hub.errors.RepositoryNotFoundError:
            continue
        except hub.errors.RevisionNotFoundError as error:
            raise NotFound(
                f"{reading.repo} has no revision {reading.revision}", reason=REASON
            ) from error
        except hub.errors.HfHubHTTPError as error:
            raise Unavailable(f"the hub rejected {reference}: {first_line(error)}") from error
        except UNREACHABLE as error:
            raise Unavailable(
                f"cannot reach the hub to get {reference}: {first_line(error)}"
            ) from error
        if not any(path.suffix in SUFFIXES for path in folder.rglob("*")):
            raise NotFound(
                f"{reading.repo} has no Parquet, CSV or JSON files; try the hub's own conversion: "
                f"{reference.partition('@')[0]}@refs/convert/parquet",
                reason=REASON,
            )
        return LocalDataSet(folder, reading.config)
    raise NotFound(f"the hub has no data set {reference}", reason=REASON)


def _checkout(root: Path, reading: DataSetReference) -> Path | None:
    """A data set's folder under a root; a reference with a revision never matches one."""
    folder = (root / reading.repo).resolve()
    try:
        is_there = reading.revision is None and folder.is_relative_to(root) and folder.is_dir()
    except OSError:  # the name is too long
        return None
    return folder if is_there else None


def _cached(reading: DataSetReference, cache: Path | None) -> Path | None:
    try:
        return Path(
            hub_library().snapshot_download(
                reading.repo,
                repo_type="dataset",
                revision=reading.revision,
                cache_dir=cache,
                local_files_only=True,
            )
        )
    except (OSError, ValueError):  # LocalEntryNotFoundError is both
        return None
