"""The rows of a step in parts: less memory for the same mean."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import structlog
import torch
from torch import Tensor

from trainer_service.encoding.memory import is_lack_of_memory

log = structlog.get_logger(__name__)


@dataclass
class RowParts:
    """How many parts a step's batch is divided into.

    What is computed of a batch has to be a mean over its rows, as losses and gradients are.
    """

    count: int = 1
    """Number of parts; a batch with fewer rows has one part per row."""
    doubles: bool = False
    """Whether a lack of memory doubles the number, and the parts are computed again."""

    def at_once(self, rows: int) -> int:
        """Maximum rows of a part, of so many rows."""
        return -(-rows // self.count)

    def mean(self, rows: Tensor, compute: Callable[[Tensor], tuple[Tensor, ...]]) -> list[Tensor]:
        """Means over rows, from the means over each part.

        Args:
            rows: int64 row indices.
            compute: Means over some of the rows; called for one part after the other.
        """
        while True:
            try:
                return self._mean(rows, compute)
            except (MemoryError, RuntimeError) as error:  # torch.OutOfMemoryError is one
                if not (self.doubles and self.count < len(rows) and is_lack_of_memory(error)):
                    raise
            # Here, and not above: the error holds the frames with their tensors.
            torch.cuda.empty_cache()  # nothing happens without CUDA
            self.count *= 2
            log.warning("step_divided", parts=self.count, rows_at_once=self.at_once(len(rows)))

    def _mean(self, rows: Tensor, compute: Callable[[Tensor], tuple[Tensor, ...]]) -> list[Tensor]:
        first, *others = torch.tensor_split(rows, min(self.count, max(len(rows), 1)))
        means = list(compute(first))
        if others:
            means = [mean * (len(first) / len(rows)) for mean in means]
        for part in others:
            for mean, of_part in zip(means, compute(part), strict=True):
                mean += of_part * (len(part) / len(rows))
        return means
