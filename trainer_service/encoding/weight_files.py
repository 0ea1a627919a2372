"""The headers of a model's safetensors files. Imports no torch, and reads no weights."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mentorgrad.errors import InvalidInput, NotFound
from mentorgrad.model_refs import REASON

UNSUITABLE = "MODEL_UNSUITABLE"
"""Error reason: the model exists but cannot be used."""

_POINTER = b"version https://git-lfs"


def require_weights(folder: Path) -> None:
    """Checks that a folder has safetensors files, whole ones.

    Raises:
        NotFound: It has none.
        InvalidInput: One of them is damaged or cut off.
    """
    if not list(weight_headers(folder)):
        raise NotFound(
            f"{folder.name} has no safetensors weights; other formats are not loaded", reason=REASON
        )


def weight_headers(folder: Path) -> Iterator[Mapping[str, Mapping[str, Any]]]:
    """Dtype, shape and place of each tensor by its name, file by file.

    Raises:
        InvalidInput: A file is damaged or cut off.
    """
    for file in sorted(folder.glob("*.safetensors")):
        try:
            yield _header(file)
        except (KeyError, OSError, TypeError, ValueError, struct.error) as error:
            raise InvalidInput(
                f"{folder.name}/{file.name} is {_wrong(file)}", reason=UNSUITABLE
            ) from error


def _header(file: Path) -> dict[str, dict[str, Any]]:
    size = file.stat().st_size
    with file.open("rb") as stream:
        (length,) = struct.unpack("<Q", stream.read(8))
        if length > size:
            raise ValueError("the header is longer than the file")
        header: dict[str, dict[str, Any]] = json.loads(stream.read(length))
    header.pop("__metadata__", None)
    end = max((entry["data_offsets"][1] for entry in header.values()), default=0)
    if 8 + length + end != size:
        raise ValueError("the tensors do not fill the file")
    return header


def _wrong(file: Path) -> str:
    """What a file is that cannot be read, for people."""
    try:
        with file.open("rb") as stream:
            is_pointer = stream.read(len(_POINTER)) == _POINTER
    except OSError:
        is_pointer = False
    if is_pointer:
        return "a pointer of Git LFS, not the file itself; run: git lfs pull"
    return "damaged, or was not downloaded whole"
