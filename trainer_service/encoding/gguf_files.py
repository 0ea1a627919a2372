"""Dequantised GGUF files as they are kept in the model cache, found without torch.

A folder ``<cache>/models/<sha256 of the GGUF file>-v1`` holds the weights as safetensors, the
configuration, the tokenizer, and the list of these files with their sizes, which is written last.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
from collections.abc import Callable
from pathlib import Path

from mentorgrad.errors import Unsupported
from mentorgrad.installed import pip_line
from trainer_service.encoding.model_files import read_json

_LIST = "dequantised.json"
_VERSION = "v1"
_CHUNK = 1 << 22
_DIGESTS: dict[tuple[Path, int, int], str] = {}
"""(file, size, time of change) → its digest."""


def kept_folder(file: Path, cache_dir: Path) -> Path:
    """Where the dequantised model of a GGUF file is kept, whether or not it is there yet."""
    return cache_dir.expanduser() / "models" / f"{file_digest(file)}-{_VERSION}"


def folder_so_far(path: Path, cache_dir: Path | None) -> Path | None:
    """The folder that a causal language model is loaded from, as far as it is known without torch.

    Args:
        path: Its folder, which is returned as it is, or a GGUF file.
        cache_dir: The cache folder.

    Returns:
        None for a GGUF file that no run has dequantised yet.
    """
    if not path.is_file():
        return path
    folder = kept_folder(path, cache_dir) if cache_dir is not None else None
    return folder if folder is not None and is_whole(folder) else None


def require_gguf_reader() -> None:
    """Checks that the packages are installed by which GGUF files are dequantised.

    Raises:
        Unsupported: One is missing.
    """
    if not all(importlib.util.find_spec(name) for name in ("gguf", "accelerate")):
        raise Unsupported(
            "GGUF files as tuned models require the packages gguf and accelerate; run: "
            f"{pip_line('trainer')}",
            reason="MISSING_EXTRA",
        )


def file_digest(file: Path, check: Callable[[], None] = lambda: None) -> str:
    """Hex SHA-256 of a file, remembered until its size or time of change is another.

    Args:
        file: The file.
        check: Called between its parts; may raise to abort.
    """
    status = file.stat()
    known = (file, status.st_size, status.st_mtime_ns)
    if known not in _DIGESTS:
        digest = hashlib.sha256()
        with file.open("rb") as stream:
            while chunk := stream.read(_CHUNK):
                check()
                digest.update(chunk)
        _DIGESTS[known] = digest.hexdigest()
    return _DIGESTS[known]


def write_list(folder: Path, source: Path) -> None:
    """Records that a folder is complete: its files with their sizes, and the GGUF file's digest."""
    files = {path.name: path.stat().st_size for path in sorted(folder.iterdir())}
    document = {"source": source.name, "sha256": file_digest(source), "files": files}
    (folder / _LIST).write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def is_whole(folder: Path) -> bool:
    """Whether every file that was written is there in its full size."""
    try:
        files = json.loads((folder / _LIST).read_bytes())["files"]
        return all((folder / name).stat().st_size == size for name, size in files.items())
    except (OSError, ValueError, TypeError, LookupError, AttributeError):
        return False


def source_digest(folder: Path) -> str | None:
    """Hex SHA-256 of the GGUF file that a folder was made from; None for any other model."""
    digest = read_json(folder, _LIST).get("sha256")
    return str(digest) if digest else None
