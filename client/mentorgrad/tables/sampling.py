"""Leaves rows out of the splits of a table: a sample with the same shares of classes."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from mentorgrad.tables.deciding import TablePart
from mentorgrad.tables.splitting import SPLITS, hash64, ranks
from mentorgrad.tables.values import text_identity


def sampled(part: TablePart, most: Sequence[int], seed: int) -> TablePart:
    """A part whose splits have at most so many rows; reads its file.

    Rows are ranked as for the splits, so that a smaller sample is a part of a larger one.

    Args:
        part: The file and the side of each of its rows.
        most: Maximum rows of each split; each class keeps one row at least.
        seed: Seed of the ranks.

    Raises:
        MalformedError: The file has changed since it was read.
    """
    hashes, classes, places = array("Q"), array("H"), array("Q")
    for place, (side, row) in enumerate(zip(part.sides, part.reading.usable(), strict=False)):
        # A label that is new is of a file that has changed, which reading refuses.
        if side and (label := part.classes.get(row.label)) is not None:
            hashes.append(hash64(text_identity(row.text, row.pair)))
            classes.append(label)
            places.append(place)
    sides = np.frombuffer(part.sides, np.uint8).copy()
    at, labels = np.frombuffer(places, np.uint64), np.frombuffer(classes, np.uint16)
    order = np.argsort(ranks(hashes, seed), kind="stable")
    for side, limit in zip(range(1, len(SPLITS) + 1), most, strict=True):
        members = order[sides[at[order]] == side]
        if len(members) <= limit:
            continue
        for number, count in zip(*np.unique(labels[members], return_counts=True), strict=True):
            kept = max(1, limit * int(count) // len(members))
            sides[at[members[labels[members] == number][kept:]]] = 0
    return replace(part, sides=sides.tobytes())
