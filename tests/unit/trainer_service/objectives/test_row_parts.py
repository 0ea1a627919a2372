"""A step in parts: the same means, and what happens if memory is short."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from trainer_service.objectives.row_parts import RowParts

ROWS = torch.arange(10)
VALUES = torch.randn(10, 3, generator=torch.Generator().manual_seed(0))


class Short:
    """Means of `VALUES`; there is memory for so many rows."""

    def __init__(self, most: int, error: type[BaseException] = MemoryError) -> None:
        self.sizes: list[int] = []
        self._most, self._error = most, error

    def __call__(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        self.sizes.append(len(rows))
        if len(rows) > self._most:
            raise self._error("not enough memory: you tried to allocate 9 bytes")
        return VALUES[rows].mean(0), VALUES[rows, 0].mean()


@pytest.mark.parametrize(("count", "sizes"), [(1, [10]), (3, [4, 3, 3]), (99, [1] * 10)])
def test_parts_have_the_mean_of_the_whole(count: int, sizes: list[int]) -> None:
    compute = Short(10)
    means, first = RowParts(count).mean(ROWS, compute)
    assert compute.sizes == sizes
    assert max(sizes) == RowParts(count).at_once(10)
    torch.testing.assert_close(means, VALUES.mean(0))
    torch.testing.assert_close(first, VALUES[:, 0].mean())


@pytest.mark.parametrize("error", [MemoryError, RuntimeError])
def test_a_lack_of_memory_halves_the_parts_and_they_stay_so(error: type[BaseException]) -> None:
    parts, compute = RowParts(doubles=True), Short(3, error)
    for _ in range(2):
        means, _ = parts.mean(ROWS, compute)
        torch.testing.assert_close(means, VALUES.mean(0))
    assert compute.sizes == [10, 5, 3, 3, 2, 2, 3, 3, 2, 2]
    assert parts.count == 4


def test_what_one_row_lacks_and_other_errors_are_raised() -> None:
    with pytest.raises(MemoryError):
        RowParts(doubles=True).mean(ROWS, Short(0))
    with pytest.raises(MemoryError):
        RowParts(2).mean(ROWS, Short(4))
    with pytest.raises(KeyError):
        RowParts(doubles=True).mean(ROWS, Short(4, KeyError))
