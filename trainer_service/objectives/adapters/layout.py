"""The flat layout: several named tensors in one, one behind the other. Imports no torch.

A run's parameter is one float32 tensor. Of an objective with tensors of several shapes it is
[1, N]: each tensor in row-major order, without gaps. ``model.json`` and the metadata of
``prompt.safetensors`` list name, shape and offset of each (``layout``).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

HEAD = "head"
"""Section of the linear classifier."""

HEAD_WEIGHT, HEAD_BIAS = f"{HEAD}.weight", f"{HEAD}.bias"


@dataclass(frozen=True)
class Part:
    """One named tensor."""

    name: str
    """Section and name of the tensor in it, joined by a dot."""
    shape: tuple[int, ...]
    """Its shape."""
    offset: int
    """Number of the parameter that it begins at."""

    @property
    def size(self) -> int:
        """Count of its numbers."""
        return math.prod(self.shape)

    @property
    def section(self) -> str:
        """What it belongs to: all of the name before the last dot."""
        return self.name.rpartition(".")[0]


class FlatLayout:
    """Where the tensors of a parameter are.

    Args:
        shapes: Shape by name; tensors of a section follow each other.
    """

    def __init__(self, shapes: Mapping[str, Sequence[int]]) -> None:
        parts, offset = [], 0
        for name, shape in shapes.items():
            parts.append(Part(name, tuple(shape), offset))
            offset += parts[-1].size
        self.parts = tuple(parts)
        """In order of their offsets."""
        self.shape = (1, offset)
        """Shape of the parameter."""

    @classmethod
    def of_document(cls, document: Iterable[Mapping[str, Any]]) -> FlatLayout:
        """The inverse of `document`."""
        return cls({part["name"]: part["shape"] for part in document})

    @property
    def document(self) -> list[dict[str, Any]]:
        """The layout as JSON has it: name, shape and offset of each tensor."""
        return [asdict(part) | {"shape": list(part.shape)} for part in self.parts]

    @property
    def sections(self) -> dict[str, tuple[Part, ...]]:
        """Sections, by name, in order."""
        return {
            name: tuple(parts) for name, parts in groupby(self.parts, lambda part: part.section)
        }

    def views(self, points: Tensor) -> dict[str, Tensor]:
        """Parameters [..., 1, N] → views of their tensors [..., *shape] by name."""
        lead = points.shape[:-2]
        return {
            part.name: points[..., 0, part.offset : part.offset + part.size].view(
                *lead, *part.shape
            )
            for part in self.parts
        }
