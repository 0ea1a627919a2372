"""Rows as padded token ids on the device, in batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from trainer_service.encoding.encoders import TextEncoder
from trainer_service.encoding.transfer import on_device
from trainer_service.objectives.length_batches import similar_batches
from trainer_service.tasks.data import Row

MOST_DIFFERENTIATED = 4_096
"""Maximum tokens per pass with gradients, which keep activations in memory."""


def most_tokens(device: torch.device) -> int:
    """Maximum tokens (over candidates and rows) per forward pass without gradients: on a CPU, as
    many as keep a layer's activations near its caches, which makes the pass a third quicker."""
    return 16_384 if device.type == "cuda" else 2_048


@dataclass(frozen=True)
class TokenBatch:
    """A batch of tokenised rows."""

    ids: Tensor
    """int64 [rows, tokens], special tokens included, padded on the right."""
    mask: Tensor
    """int64 [rows, tokens]: 1 for a token, 0 for padding."""
    segments: Tensor | None
    """int64 [rows, tokens]: token types (0 first text, 1 second text); None for models without
    token types."""


def _tokenised(
    rows: Sequence[Row], encoder: TextEncoder, max_length: int
) -> tuple[list[list[int]], list[list[int]] | None]:
    """Token ids and token types of rows, each by itself: one without a second text is no pair,
    whatever the others are."""
    ids: list[list[int]] = [[] for _ in rows]
    segments: list[list[int]] = [[] for _ in rows]
    has_types = True
    for paired in (False, True):
        chosen = [index for index, row in enumerate(rows) if bool(row.pair) is paired]
        pairs = [rows[index].pair for index in chosen] if paired else None
        texts = [rows[index].text for index in chosen]
        found, types = encoder.input_rows(texts, pairs, max_length)
        for index, row in zip(chosen, found, strict=True):
            ids[index] = row
        has_types = has_types and (types is not None or not chosen)
        for index, row in zip(chosen, types or (), strict=False):
            segments[index] = row
    return ids, segments if has_types else None


class TokenRows:
    """The tokenised rows of one split.

    Args:
        rows: The rows.
        encoder: Supplies the tokenizer and the device.
        max_length: Maximum input length in tokens; longer texts are truncated.
    """

    def __init__(self, rows: Sequence[Row], encoder: TextEncoder, max_length: int) -> None:
        ids, segments = _tokenised(rows, encoder, max_length)
        sizes = [len(row) for row in ids]
        self._longest = max(sizes, default=0)
        self._ids = self._padded(ids, encoder.tokens.pad_id, encoder.device)
        self._segments = self._padded(segments, 0, encoder.device) if segments else None
        self._sizes = torch.tensor(sizes, device=encoder.device)
        self.first_ids = {row[0] for row in ids}
        """The inputs' first token ids."""
        self._positions = torch.arange(self._longest, device=encoder.device)
        self._lengths = sizes

    def __len__(self) -> int:
        return len(self._sizes)

    def _padded(self, rows: Sequence[list[int]], fill: int, device: torch.device) -> Tensor:
        padded = [row + [fill] * (self._longest - len(row)) for row in rows]
        return torch.tensor(padded, dtype=torch.int32, device=device)

    def longest(self, rows: Tensor) -> int:
        """Tokens of the longest of these rows."""
        return max(self.sizes(rows))

    def sizes(self, rows: Tensor) -> list[int]:
        """Tokens of each row, of indices [n]; of [n, m], those of the longest of each m rows."""
        groups = rows.unsqueeze(-1).flatten(1).tolist()
        return [max(self._lengths[row] for row in group) for group in groups]

    def take(self, rows: Tensor) -> TokenBatch:
        """Batch of the rows with these indices, int64 [batch], in that order."""
        longest, rows = self.longest(rows), on_device(rows, self._sizes.device)
        mask = self._positions[:longest] < self._sizes[rows].unsqueeze(-1)
        return TokenBatch(
            ids=self._ids[rows, :longest].long(),
            mask=mask.long(),
            segments=None if self._segments is None else self._segments[rows, :longest].long(),
        )

    def batches(self, rows: Tensor, most_tokens: int, beside: int) -> Iterator[tuple[Tensor, int]]:
        """Divides rows into batches of similar length, which depend on the rows alone.

        Args:
            rows: Row indices, int64 [n], or [n, m] for m rows that belong together.
            most_tokens: Maximum tokens per batch, padding included.
            beside: Tokens that the caller adds to each row.

        Yields:
            int64 positions in `rows`, and the number of tokens of the longest of these rows.
        """
        sizes = self.sizes(rows)
        together = rows.shape[1] if rows.ndim > 1 else 1
        for chosen in similar_batches(sizes, most_tokens // together, beside):
            yield torch.tensor(chosen, device=rows.device), sizes[chosen[-1]]
