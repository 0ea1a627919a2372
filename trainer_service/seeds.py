"""Named random streams, all derived from the spec's seed.

No generator keeps state during a run: every draw uses a stream that is named by its purpose
(``batches``, epoch 3; ``probe``, stage 1). So the arms of an experiment share split, initial prompt
and batch order, and a resumed run draws the same numbers as an uninterrupted one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor

from trainer_service.tasks.data import Row


def derive(seed: int, *names: str | int) -> int:
    """The seed of a named stream: 63 bits of SHA-256 over the run's seed and the stream's name."""
    text = "/".join(str(part) for part in (seed, *names))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(seed: int, *names: str | int) -> torch.Generator:
    """A CPU generator at the beginning of a named stream."""
    return torch.Generator(device="cpu").manual_seed(derive(seed, *names))


def balanced_rows(rows: Sequence[Row], count: int, seed: int, *stream: str | int) -> list[int]:
    """Indices of `count` rows drawn from a named stream, balanced over the classes: one row per
    class in turn, with the classes in random order."""
    source = generator(seed, *stream)
    waiting: dict[int, list[int]] = {}
    for index in torch.randperm(len(rows), generator=source).tolist():
        waiting.setdefault(rows[index].label, []).append(index)
    chosen: list[int] = []
    while len(chosen) < min(count, len(rows)):
        for indices in waiting.values():
            if indices and len(chosen) < count:
                chosen.append(indices.pop())
    return chosen


WINDOW = 32
"""Maximum batches among which rows are grouped by length."""

_WINDOWS = 4
"""Minimum windows of an epoch. With fewer, the same rows would meet in every epoch."""


class BatchOrder:
    """The train rows of each step: shuffled epochs, concatenated and cut into batches.

    With `lengths`, the rows of so many consecutive batches, a window, are sorted by length and
    divided into these batches again, which then follow in random order. A row is in any batch of an
    epoch with equal probability, so a step's expected gradient remains that of all rows; but the
    rows of one batch are alike in length. Batches that span two epochs stay as they are drawn, and
    so do all if there are fewer than eight in an epoch.

    Args:
        seed: The run's seed.
        stream: Name of the random stream; the trajectory and each race have their own.
        rows: Number of train rows.
        batch_size: Rows per step; values above `rows` count as `rows`.
        lengths: Tokens of each row; empty: rows of any length make a batch.
    """

    def __init__(
        self,
        seed: int,
        stream: tuple[str | int, ...],
        rows: int,
        batch_size: int,
        lengths: Sequence[int] = (),
    ) -> None:
        self._seed = seed
        self._stream = stream
        self._rows = rows
        self._batch = min(batch_size, rows)
        self._lengths = torch.tensor(lengths)
        self._epochs: dict[int, Tensor] = {}

    def rows(self, step: int) -> Tensor:
        """The train row indices of a step (numbered from 0), int64 [batch], on the host."""
        start = step * self._batch
        epoch, offset = divmod(start, self._rows)
        head = self._epoch(epoch)[offset : offset + self._batch]
        missing = self._batch - head.shape[0]
        return head if missing == 0 else torch.cat([head, self._epoch(epoch + 1)[:missing]])

    def _epoch(self, epoch: int) -> Tensor:
        if epoch not in self._epochs:
            source = generator(self._seed, *self._stream, epoch)
            order = torch.randperm(self._rows, generator=source)
            if len(self._lengths):
                order = self._grouped(order, -epoch * self._rows % self._batch, source)
            self._epochs = {
                known: rows for known, rows in self._epochs.items() if known == epoch - 1
            } | {epoch: order}
        return self._epochs[epoch]

    def _grouped(self, order: Tensor, head: int, source: torch.Generator) -> Tensor:
        """Groups an epoch's rows by length; the first `head` belong to a batch of the epoch
        before."""
        whole = (len(order) - head) // self._batch
        window = min(WINDOW, whole // _WINDOWS)
        if window < 2:
            return order
        end = head + whole * self._batch
        grouped = [order[:head]]
        for part in torch.split(order[head:end], window * self._batch):
            batches = part[self._lengths[part].argsort(stable=True)].view(-1, self._batch)
            grouped.append(batches[torch.randperm(len(batches), generator=source)].flatten())
        return torch.cat([*grouped, order[end:]])
