"""On-disk cache of embeddings from frozen encoders.

A file holds the embeddings of one list of texts, or of images by their digests. Its name is a
digest of everything that they depend on: the texts in order, the model's digest and the encoder's
options. Writers write a temporary file and rename it, so concurrent writers are safe and readers
never see a partial file.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from mentorgrad.files import replacing


class EmbeddingCache:
    """Embeddings by digest, as safetensors files.

    Args:
        directory: Cache folder, created on the first write. None: no caching.
    """

    def __init__(self, directory: Path | None) -> None:
        self._directory = directory and directory.expanduser() / "embeddings"

    def get(
        self,
        texts: Sequence[str],
        options: Mapping[str, str | int],
        compute: Callable[[Sequence[str]], Tensor],
    ) -> Tensor:
        """Returns float32 [texts, width] on the CPU, read from the cache or computed and stored.

        Args:
            texts: In order.
            options: Everything else that the embeddings depend on, such as the model's digest.
            compute: Encodes the texts.
        """
        if not texts or self._directory is None:
            return compute(texts).cpu()
        path = self._directory / f"{_key(texts, options)}.safetensors"
        kept = _read(path, len(texts))
        if kept is not None:
            return kept
        embeddings = compute(texts).cpu().contiguous()
        _write(path, embeddings)
        return embeddings


def _key(texts: Sequence[str], options: Mapping[str, str | int]) -> str:
    document = json.dumps([dict(sorted(options.items())), list(texts)], ensure_ascii=True)
    return hashlib.sha256(document.encode()).hexdigest()


def _read(path: Path, rows: int) -> Tensor | None:
    try:
        embeddings: Tensor = load_file(path)["embeddings"]
    except (OSError, SafetensorError, KeyError):  # missing or corrupt: encode again
        return None
    if embeddings.dim() != 2 or len(embeddings) != rows:
        return None
    return embeddings.clone()  # file data can be unaligned, and unaligned sums round differently


def _write(path: Path, embeddings: Tensor) -> None:
    """Writes a temporary file and renames it; ignores I/O errors."""
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as file:
            file.write(save({"embeddings": embeddings}))
