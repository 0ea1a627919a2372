"""Uploads the data files that a spec names on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from mentorgrad.cli.support.output import note
from mentorgrad.client import Client
from mentorgrad.domain.experiment import ExperimentSpec
from mentorgrad.domain.spec import RunSpec
from mentorgrad.errors import InvalidInput
from mentorgrad.paths import expanded
from mentorgrad.serialization import from_dict, to_dict
from mentorgrad.uploads import PREFIX

S = TypeVar("S", RunSpec, ExperimentSpec)


def with_uploads(client: Client, spec: S) -> S:
    """The spec with the data files of its tasks uploaded, each once, and named by their digests.

    Raises:
        InvalidInput: No task has data files, or one cannot be read, or the trainer refuses it.
    """
    tree = to_dict(spec)
    upload = cache(lambda name: upload_file(client, expanded(Path(name), "file"), name))
    found = list(_data_files(tree))
    if not found:
        raise InvalidInput.field("--upload", "no task has data files; set task.data")
    for data in found:
        for field in ("train", "selection", "test"):
            name = data.get(field)
            if name and not name.startswith(PREFIX):
                data[field] = upload(name)
    return from_dict(type(spec), tree)


def upload_file(client: Client, path: Path, name: str) -> str:
    """Uploads one file, and says so.

    Args:
        client: Client of the trainer.
        path: The file.
        name: What it is called in messages.

    Returns:
        Its name in a spec.

    Raises:
        InvalidInput: It cannot be read, or the trainer refuses it; names the file.
    """
    try:
        made = client.upload_data(path)
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise InvalidInput(f"{name} cannot be read: {why}") from None
    except InvalidInput as error:
        raise InvalidInput(f"{name}: {error.message}", reason=error.reason) from None
    note(f"uploaded {name}")
    return made


def _data_files(tree: Any, key: str = "") -> Iterator[dict[str, Any]]:
    """The data files of all tasks in a spec: also of those that an experiment's variation names."""
    if isinstance(tree, list):
        for item in tree:
            yield from _data_files(item, key)
    elif isinstance(tree, dict):
        for name, member in tree.items():
            if name == "data" and key in ("task", "tasks") and isinstance(member, dict):
                yield member
            else:
                yield from _data_files(member, name)
