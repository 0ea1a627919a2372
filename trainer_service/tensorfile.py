"""Reproducible safetensors files: equal content gives equal bytes.

The library writes the metadata in hash map order, which differs between processes. This module
therefore rewrites the header with sorted keys.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping

import safetensors.torch
from torch import Tensor

from mentorgrad.errors import DataLoss


def save(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> bytes:
    """Tensors and metadata as the bytes of a safetensors file."""
    ready = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()}
    data: bytes = safetensors.torch.save(ready, metadata=dict(metadata))
    (length,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8 : 8 + length])
    text = json.dumps(header, sort_keys=True, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + data[8 + length :]


def load(data: bytes) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The inverse of `save`.

    Raises:
        DataLoss: The bytes are not safetensors.
    """
    try:
        # Copied: in the file the tensors are not aligned, and unaligned sums round differently.
        tensors = {name: t.clone() for name, t in safetensors.torch.load(data).items()}
        (length,) = struct.unpack_from("<Q", data)
        header = json.loads(data[8 : 8 + length])
    except Exception as error:  # the library raises classes of its own
        raise DataLoss(f"not a readable safetensors file: {error}") from None
    return tensors, dict(header.get("__metadata__", {}))
