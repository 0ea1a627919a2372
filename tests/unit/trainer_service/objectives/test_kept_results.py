"""What a worker keeps between its runs."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor

from trainer_service.objectives.kept_results import KeptResults


class Computed:
    """Makes tensors of so many bytes, and notes for which keys."""

    def __init__(self, known: KeptResults) -> None:
        self.known = known
        self.calls: list[str] = []

    def get(self, key: str, size: int = 40) -> Tensor:
        def compute() -> list[Tensor]:
            self.calls.append(key)
            return [torch.full((size,), len(self.calls), dtype=torch.uint8)]

        (made,) = self.known.get(key, compute)
        return made


def test_what_was_used_least_recently_goes_first() -> None:
    asked = Computed(KeptResults(100))
    first = asked.get("a")
    asked.get("b")
    assert asked.get("a") is first
    asked.get("c")  # instead of b
    assert asked.known.bytes == 80
    assert asked.get("a") is first
    assert asked.calls == ["a", "b", "c"]
    asked.get("b")
    assert asked.calls == ["a", "b", "c", "b"]
    asked.known.limit(40)
    assert asked.known.bytes == 40
    asked.get("b")
    assert len(asked.calls) == 4
    asked.known.limit(39)
    assert asked.known.bytes == 0


@pytest.mark.parametrize("most", [0, 39])
def test_what_does_not_fit_is_returned_and_not_kept(most: int) -> None:
    asked = Computed(KeptResults(most))
    assert asked.get("a").numel() == asked.get("a").numel() == 40
    assert asked.calls == ["a", "a"]
    assert asked.known.bytes == 0


def test_what_could_not_be_computed_is_asked_for_again() -> None:
    asked = Computed(KeptResults(100))
    with pytest.raises(ZeroDivisionError):
        asked.known.get("a", lambda: [torch.ones(1 // 0)])
    assert asked.get("a").numel() == 40


def test_threads_share_what_is_kept() -> None:
    asked = Computed(KeptResults(200))
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda n: (n % 7, asked.get(str(n % 7), n % 7)), range(700)))
    assert all(made.numel() == size for size, made in found)
    assert asked.known.bytes == sum(range(7))
    assert set(asked.calls) == set("0123456")
