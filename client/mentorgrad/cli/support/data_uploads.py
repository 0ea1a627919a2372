"""Uploads the data files that a spec names on this machine."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from mentorgrad.cli.support.output import note
from mentorgrad.client import Client
from mentorgrad.domain.spec import RunSpec
from mentorgrad.errors import InvalidInput
from mentorgrad.paths import expanded
from mentorgrad.uploads import PREFIX


def with_uploads(client: Client, spec: RunSpec) -> RunSpec:
    """The spec with its data files uploaded, and named by their digests.

    Raises:
        InvalidInput: The task has no data files, or one cannot be read.
    """
    data = spec.task.data
    if data is None:
        raise InvalidInput.field("--upload", "the task has no data files; set task.data")
    names: dict[str, str] = {}
    for field in ("train", "selection", "test"):
        name = getattr(data, field)
        if name and not name.startswith(PREFIX):
            path = expanded(Path(name), "file")
            try:
                names[field] = client.upload_data(path)
            except OSError as error:
                why = (error.strerror or str(error)).lower()
                raise InvalidInput(f"{name} cannot be read: {why}") from None
            note(f"uploaded {name}")
    return replace(spec, task=replace(spec.task, data=replace(data, **names)))
