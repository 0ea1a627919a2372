"""Splits the rows of a table by seed: every text on one side, classes in their natural shares.

Rows are ranked by a hash of the seed and the text, so that the splits depend neither on the order
of the rows nor on a library's random number generator.
"""

from __future__ import annotations

import hashlib
from array import array
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from mentorgrad.tables.malformed import MalformedError

TEST_SHARE = 0.2
"""Share of the test rows."""
SELECTION_SHARE = 0.2
"""Share of the selection rows, up to a maximum number of rows."""
SPLITS = ("train", "selection", "test")
"""Names of the splits; split `i` has side number ``i + 1``, rows that are left out have 0."""

_Numbers = npt.NDArray[np.uint64]
_Sides = npt.NDArray[np.uint8]


def hash64(text: str) -> int:
    """A hash of a text, from 0 to 2^64 - 1."""
    data = text.encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")


@dataclass
class ScannedRows:
    """What is kept of each usable row: 18 bytes, 26 with groups."""

    texts: array[int] = field(default_factory=lambda: array("Q"))
    """Hash of each text."""
    labels: array[int] = field(default_factory=lambda: array("H"))
    """Number of each label."""
    places: array[int] = field(default_factory=lambda: array("Q"))
    """Number of each line or row in its file."""
    groups: array[int] = field(default_factory=lambda: array("Q"))
    """Hash of each group; empty without groups."""


@dataclass(frozen=True)
class Repeats:
    """Rows whose text an earlier or a more frequent row has."""

    same_label: tuple[int, ...]
    """Indices of the rows with the label that is kept."""
    other_label: tuple[int, ...]
    """Indices of the rows with another label."""
    conflicts: tuple[tuple[int, ...], ...]
    """Indices of the rows of each text that has several labels."""


def find_repeats(rows: ScannedRows) -> Repeats:
    """Finds the rows to leave out so that each text is there once.

    Of a text with several labels the most frequent one is kept, of equally frequent ones the first.
    """
    texts = np.frombuffer(rows.texts, np.uint64)
    order = np.argsort(texts, kind="stable")
    ends = np.flatnonzero(texts[order][1:] != texts[order][:-1]) + 1
    bounds = np.concatenate([[0], ends, [len(texts)]]).astype(int)
    same: list[int] = []
    other: list[int] = []
    conflicts = []
    for index in np.flatnonzero(np.diff(bounds) > 1):
        members = order[bounds[index] : bounds[index + 1]].tolist()
        counts = Counter(rows.labels[member] for member in members)
        label = max(counts, key=lambda one: counts[one])  # of equals the first
        keep = next(member for member in members if rows.labels[member] == label)
        same += [one for one in members if one != keep and rows.labels[one] == label]
        other += [one for one in members if rows.labels[one] != label]
        if len(counts) > 1:
            conflicts.append(tuple(members))
    return Repeats(tuple(sorted(same)), tuple(sorted(other)), tuple(sorted(conflicts)))


def ranks(hashes: array[int], seed: int) -> _Numbers:
    """A random number for each hash: SplitMix64 of the hash and the seed."""
    mixed = np.frombuffer(hashes, np.uint64) + np.uint64(hash64(str(seed)))
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    return mixed ^ (mixed >> np.uint64(31))


def sizes_of(count: int, total: int, selection_rows: int, with_test: bool) -> tuple[int, int, int]:
    """Rows of a class in train, selection and test.

    Args:
        count: Rows of the class.
        total: Rows of all classes.
        selection_rows: Maximum selection rows of all classes.
        with_test: Whether test takes rows.
    """
    test = max(1, int(count * TEST_SHARE + 0.5)) if with_test else 0
    most = max(1, selection_rows * count // total)
    selection = min(most, max(1, int(count * SELECTION_SHARE + 0.5)))
    return count - selection - test, selection, test


def sides_of(
    rows: ScannedRows,
    kept: npt.NDArray[np.bool_],
    labels: npt.NDArray[np.uint16],
    *,
    words: Callable[[int], str],
    seed: int,
    selection_rows: int,
    with_test: bool,
) -> _Sides:
    """The side of each row.

    Args:
        rows: The rows.
        kept: Whether each row is used.
        labels: Label of each row.
        words: The word of a label, for errors.
        seed: Seed of the ranks.
        selection_rows: Maximum selection rows.
        with_test: Whether test takes rows of this table.

    Raises:
        MalformedError: Groups cannot be split so that every class is on every side.
    """
    sides = np.zeros(len(kept), np.uint8)
    found, counts = np.unique(labels[kept], return_counts=True)
    total = int(counts.sum())
    sizes = {
        int(label): sizes_of(int(count), total, selection_rows, with_test)
        for label, count in zip(found, counts, strict=True)
    }
    if len(rows.groups):
        _place_groups(sides, rows, kept, labels, sizes, seed)
    else:
        order = ranks(rows.texts, seed)
        for label, (_, selection, test) in sizes.items():
            members = np.flatnonzero(kept & (labels == label))
            members = members[np.argsort(order[members], kind="stable")]
            sides[members] = 1
            sides[members[:test]] = 3
            sides[members[test : test + selection]] = 2
    for label in sizes:
        for side, name in enumerate(SPLITS[: 3 if with_test else 2], start=1):
            if not np.any((labels == label) & (sides == side)):
                raise MalformedError(
                    f"label {words(label)!r} has no rows for {name} unless a group is parted; "
                    "leave out --group, or name a test file with --test"
                )
    return sides


def _place_groups(
    sides: _Sides,
    rows: ScannedRows,
    kept: npt.NDArray[np.bool_],
    labels: npt.NDArray[np.uint16],
    sizes: dict[int, tuple[int, int, int]],
    seed: int,
) -> None:
    """Puts each group, the largest first, where the classes of its rows are missing most."""
    members = np.flatnonzero(kept)
    groups = np.frombuffer(rows.groups, np.uint64)
    _, unit, counts = np.unique(groups[members], return_inverse=True, return_counts=True)
    rank = ranks(rows.groups, seed)
    starts = np.concatenate([[0], np.cumsum(counts)]).astype(int)
    by_unit = members[np.argsort(unit, kind="stable")]
    order = sorted(
        range(len(counts)), key=lambda one: (-counts[one], int(rank[by_unit[starts[one]]]))
    )
    places = {label: index for index, label in enumerate(sizes)}
    wanted = np.array(list(sizes.values()), float).T  # side x class
    wanted = np.maximum(wanted[wanted.sum(axis=1) > 0], 1)
    have = np.zeros_like(wanted)
    for one in order:
        inside = by_unit[starts[one] : starts[one + 1]]
        found, number = np.unique(labels[inside], return_counts=True)
        classes = [places[int(label)] for label in found]
        missing = (wanted[:, classes] - have[:, classes]) / wanted[:, classes] * number
        side = int(np.argmax(missing.sum(axis=1)))
        have[side, classes] += number
        sides[inside] = side + 1
