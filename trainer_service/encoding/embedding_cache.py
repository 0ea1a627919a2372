"""Frozen embeddings on disk, so that the same texts are encoded once.

A file holds the embeddings of one list of texts, and its name is a digest of everything that they
depend on: the texts in order, the model's digest, and the options of the encoder. Writers write
aside and rename, so several at once are safe and a reader never sees half a file.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor


class EmbeddingCache:
    """Embeddings by digest.

    Args:
        directory: Cache folder; made when first written to. None: nothing is kept.
    """

    def __init__(self, directory: Path | None) -> None:
        self._directory = directory and directory.expanduser() / "embeddings"

    def get(
        self,
        texts: Sequence[str],
        options: Mapping[str, str | int],
        compute: Callable[[Sequence[str]], Tensor],
    ) -> Tensor:
        """float32 [texts, width] on the CPU: read, or computed and kept.

        Args:
            texts: In order.
            options: Whatever else the embeddings depend on, the model's digest first of all.
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
    except (OSError, SafetensorError, KeyError):  # absent, or not what was written: encode again
        return None
    if embeddings.dim() != 2 or len(embeddings) != rows:
        return None
    return embeddings.clone()  # in a file it lies at odd addresses, where sums round differently


def _write(path: Path, embeddings: Tensor) -> None:
    """Writes aside and renames; a cache that cannot be written is only slower."""
    aside = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".part", delete=False) as file:
            aside = file.name
            file.write(save({"embeddings": embeddings}))
        os.replace(aside, path)
    except OSError:
        if aside is not None:
            Path(aside).unlink(missing_ok=True)
