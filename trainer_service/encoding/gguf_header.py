"""Metadata of a GGUF file, read without its weights and without the packages gguf and torch.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md, versions 2 and 3, little-endian.
"""

from __future__ import annotations

import mmap
import struct
from dataclasses import dataclass
from pathlib import Path

from mentorgrad.errors import InvalidInput
from trainer_service.encoding.weight_files import UNSUITABLE

_MAGIC = b"GGUF"
_VERSIONS = (2, 3)
_STRING, _ARRAY = 8, 9
# Type in the file → format of `struct`.
_NUMBERS = {
    0: "<B",
    1: "<b",
    2: "<H",
    3: "<h",
    4: "<I",
    5: "<i",
    6: "<f",
    7: "<?",
    10: "<Q",
    11: "<q",
    12: "<d",
}

Value = str | int | float | bool


@dataclass(frozen=True)
class GgufHeader:
    """What a GGUF file says of its model."""

    values: dict[str, Value]
    """Metadata by key; of an array, its length."""
    tensors: frozenset[str]
    """Names of the tensors."""

    @property
    def architecture(self) -> str:
        """Name of the architecture in llama.cpp, for example ``llama``."""
        return str(self.values.get("general.architecture", ""))

    @property
    def parts(self) -> int:
        """Number of files that the model is split into."""
        return self._number("split.count") or 1

    @property
    def context_tokens(self) -> int:
        """Maximum tokens of an input; 0: not stated."""
        return self._number(f"{self.architecture}.context_length")

    @property
    def width(self) -> int:
        """Length of a word vector; 0: not stated."""
        return self._number(f"{self.architecture}.embedding_length")

    @property
    def sliding_window(self) -> int:
        """Tokens that a layer with a sliding window attends to; 0: there is none."""
        return self._number(f"{self.architecture}.attention.sliding_window")

    @property
    def scales_positions(self) -> bool:
        """Whether the rotary positions are scaled, as in Llama 3.1 or by YaRN."""
        kind = self.values.get(f"{self.architecture}.rope.scaling.type", "none")
        return kind != "none" or "rope_freqs.weight" in self.tensors

    @property
    def tokenizer(self) -> str:
        """Kind of the tokenizer, for example ``gpt2``; empty: the file has none."""
        return str(self.values.get("tokenizer.ggml.model", ""))

    def _number(self, key: str) -> int:
        value = self.values.get(key, 0)
        return 0 if isinstance(value, str) else int(value)


def read_gguf_header(file: Path) -> GgufHeader:
    """Reads the metadata of a GGUF file.

    Raises:
        InvalidInput: It is no GGUF file, it is damaged, or it cannot be read.
    """
    try:
        with (
            file.open("rb") as stream,
            mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content,
        ):
            return _HeaderReader(content).header()
    except (OSError, ValueError, struct.error) as error:  # ValueError: no GGUF, or empty
        raise InvalidInput(
            f"{file.name} is not a GGUF file that can be read", reason=UNSUITABLE
        ) from error


class _HeaderReader:
    def __init__(self, content: mmap.mmap) -> None:
        self._content = content
        self._at = 0

    def header(self) -> GgufHeader:
        if self._bytes(4) != _MAGIC or self._number("<I") not in _VERSIONS:
            raise ValueError("not a GGUF file of a known version")
        tensors, pairs = self._number("<Q"), self._number("<Q")
        values: dict[str, Value] = {}
        for _ in range(int(pairs)):
            key = self._string()
            values[key] = self._value(int(self._number("<I")))
        return GgufHeader(values, frozenset(self._tensor() for _ in range(int(tensors))))

    def _tensor(self) -> str:
        name = self._string()
        dimensions = int(self._number("<I"))
        self._skip(8 * dimensions + 4 + 8)  # the sizes, the type, the place in the file
        return name

    def _value(self, kind: int) -> Value:
        if kind == _STRING:
            return self._string()
        if kind == _ARRAY:
            return self._array()
        if kind not in _NUMBERS:
            raise ValueError(f"unknown type {kind}")
        return self._number(_NUMBERS[kind])

    def _array(self) -> int:
        """Skips an array; returns its length."""
        kind, length = int(self._number("<I")), int(self._number("<Q"))
        if kind == _STRING:
            for _ in range(length):
                self._skip(int(self._number("<Q")))
        elif kind in _NUMBERS:
            self._skip(length * struct.calcsize(_NUMBERS[kind]))
        else:
            raise ValueError(f"array of type {kind}")
        return length

    def _string(self) -> str:
        return self._bytes(int(self._number("<Q"))).decode("utf-8", errors="replace")

    def _number(self, form: str) -> int | float | bool:
        value: int | float | bool
        (value,) = struct.unpack_from(form, self._content, self._at)
        self._at += struct.calcsize(form)
        return value

    def _bytes(self, length: int) -> bytes:
        begin = self._at
        self._skip(length)
        return self._content[begin : self._at]

    def _skip(self, length: int) -> None:
        self._at += length
        if self._at > len(self._content):
            raise ValueError("the file ends early")
