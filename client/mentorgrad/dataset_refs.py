"""Data sets of the Hugging Face hub by name, as they lie on this machine.

``hf:org/name[/config][@revision]`` names one; older ones have no ``org`` (``hf:super_glue/rte``).
A name is looked up in data roots first, as ``ROOT/org/name`` or as a copy of the hub's cache, and
then in the hub's local cache. Downloads are explicit: `pull`, which is ``mentorgrad tasks pull``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from mentorgrad.errors import InvalidInput, NotFound, Unavailable
from mentorgrad.model_refs import first_line, hub_library, is_plain

REASON = "TASK_NOT_FOUND"
"""Reason of every name that does not resolve."""

SUFFIXES = (".parquet", ".csv", ".tsv", ".jsonl", ".json")
"""Data files that are read; no code is ever run."""

_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]*"
_REFERENCE = re.compile(rf"hf:({_NAME})(?:/({_NAME}))?(?:/({_NAME}))?(?:@([A-Za-z0-9._/-]+))?")
_CARD = "README.md"


@dataclass(frozen=True)
class DataSetReference:
    """An ``hf:`` name, taken apart in one of the ways it can be read."""

    repo: str
    """``org/name``, or ``name`` for older ones."""
    config: str | None
    """Configuration; absent: the only or the default one."""
    revision: str | None
    """Branch, tag or commit; absent: the default branch."""


@dataclass(frozen=True)
class LocalDataSet:
    """A data set that is there."""

    folder: Path
    """Its card and files."""
    config: str | None
    """Configuration; absent: the only or the default one."""


def readings(reference: str) -> tuple[DataSetReference, ...]:
    """The ways a name can be read, the likelier first: ``hf:a/b`` is ``b`` of the organisation
    ``a``, or the configuration ``b`` of ``a``.

    Raises:
        InvalidInput: It is malformed.
    """
    match = _REFERENCE.fullmatch(reference)
    if match is None or not is_plain(match[4] or ""):
        raise InvalidInput(
            f"{reference!r} is not of the form hf:org/name[/config][@revision]", reason=REASON
        )
    first, second, third, revision = match.groups()
    if second is None:
        return (DataSetReference(first, None, revision),)
    full = DataSetReference(f"{first}/{second}", third, revision)
    if third is not None:
        return (full,)
    return (full, DataSetReference(first, second, revision))


def resolve(reference: str, roots: Iterable[Path | str] = ()) -> LocalDataSet:
    """The folder of a data set, without touching the network.

    Args:
        reference: ``hf:org/name[/config][@revision]``.
        roots: Folders that are looked in before the hub's cache.

    Raises:
        InvalidInput: The name is malformed.
        NotFound: The data set is not here.
        Unsupported: It is in no root, and huggingface-hub is not installed.
    """
    read = readings(reference)
    places = [Path(root).expanduser().resolve() for root in roots]
    found = [
        LocalDataSet(folder, reading.config)
        for place in places
        for reading in read
        if (folder := _checkout(place, reading)) is not None
    ]
    # A configuration's folder within a data set looks like a data set without a card.
    found.sort(key=lambda item: not (item.folder / _CARD).is_file())
    if found:
        return found[0]
    for cache in (*places, None):
        for reading in read:
            folder = _cached(reading, cache)
            if folder is not None:
                return LocalDataSet(folder, reading.config)
    raise NotFound(
        f"{reference} is not on this machine; run there: mentorgrad tasks pull {reference}",
        reason=REASON,
    )


def pull(reference: str) -> LocalDataSet:
    """Downloads a data set's card and data files to the hub's local cache.

    Raises:
        InvalidInput: The name is malformed.
        NotFound: The hub has no such data set, or it holds no files that are read.
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
            raise Unavailable(f"the hub refused {reference}: {first_line(error)}") from error
        except (OSError, hub.errors.LocalEntryNotFoundError) as error:
            raise Unavailable(
                f"the hub cannot be reached for {reference}: {first_line(error)}"
            ) from error
        if not any(path.suffix in SUFFIXES for path in folder.rglob("*")):
            raise NotFound(
                f"{reading.repo} has no parquet, CSV or JSON files; the hub's own conversion may: "
                f"{reference.partition('@')[0]}@refs/convert/parquet",
                reason=REASON,
            )
        return LocalDataSet(folder, reading.config)
    raise NotFound(f"the hub has no data set {reference}", reason=REASON)


def _checkout(root: Path, reading: DataSetReference) -> Path | None:
    """A plain folder under a root; of which revision it is cannot be told."""
    folder = (root / reading.repo).resolve()
    try:
        is_there = reading.revision is None and folder.is_relative_to(root) and folder.is_dir()
    except OSError:  # too long a name
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
