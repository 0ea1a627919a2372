"""Divides rows into batches of similar length. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence


def similar_batches(
    sizes: Sequence[int], most_tokens: int, beside: int = 0, most_rows: int | None = None
) -> Iterator[list[int]]:
    """Divides rows into batches of similar length, which depend on the sizes alone.

    Args:
        sizes: Tokens of each row.
        most_tokens: Maximum tokens per batch, padding included; a batch has at least one row.
        beside: Tokens that the caller adds to each row.
        most_rows: Maximum rows per batch; None: no maximum.

    Yields:
        Positions in `sizes`; the last of them is the longest row.
    """
    order = sorted(range(len(sizes)), key=lambda index: (sizes[index], index))
    begin = 0
    while begin < len(order):
        end = begin + 1
        limit = len(order) if most_rows is None else min(len(order), begin + most_rows)
        while end < limit and (end + 1 - begin) * (sizes[order[end]] + beside) <= most_tokens:
            end += 1
        yield order[begin:end]
        begin = end
