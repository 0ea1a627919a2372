"""Seeded few-shot sampling of disjoint train, selection and test splits.

Rows are ranked by a hash of the seed and the text, so the sample depends neither on the order of
rows in a file nor on a library's random number generator.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence

from mentorgrad.errors import InternalError, InvalidInput
from trainer_service.tasks.data import Row, Source, TaskData


def draw(
    source: Source,
    *,
    shots: int,
    selection_rows: int,
    seed: int,
    test_rows: int = 0,
    path: str = "spec.task",
) -> TaskData:
    """Samples the rows of one run.

    Every text occurs in one split only: texts of *test* are dropped from selection and train, and
    texts of *selection* from train. Of equal texts within a split (`Row.identity`) the first is
    kept.

    Train takes `shots` rows per class, or all rows of a class that has fewer (0: all rows).
    Selection takes up to `selection_rows` rows per class from its file. Without a selection file it
    takes rows that train leaves: `selection_rows` per class, or half of the remaining rows if that
    is fewer (at least one). Without a file and with `shots` 0, selection takes its rows first and
    train takes the rest.

    Args:
        source: The task as read from its files.
        shots: Train rows per class; 0: all.
        selection_rows: Maximum selection rows per class.
        seed: Seed of the sampling.
        test_rows: Maximum test rows per class, the same ones for every seed; 0: all. The others are
            not used.
        path: Path of the task field in the request, for violations.

    Raises:
        InvalidInput: A class has no rows in train or selection.
    """
    test = _unique(source.test, ())
    kept_selection = _unique(source.selection or (), test)
    pool = _unique(source.train, [*test, *kept_selection])
    given = len(source.test) + len(source.selection or ()) + len(source.train)
    dropped = given - len(test) - len(kept_selection) - len(pool)

    classes = len(source.labels)
    if source.selection is not None:
        selection = _draw_each(kept_selection, classes, lambda _: selection_rows, seed, "selection")
        train = _draw_each(pool, classes, lambda _: shots or len(pool), seed, "train")
    else:
        train = _draw_each(pool, classes, lambda _: shots, seed, "train")
        selection = _draw_each(
            _unique(pool, train),
            classes,
            lambda remaining: min(selection_rows, max(1, remaining // 2)),
            seed,
            "selection",
        )
        train = train or _unique(pool, selection)
    if test_rows:
        test = _draw_each(test, classes, lambda _: test_rows, 0, "test")
    _require_every_class(train, source, f"{path}.{source.field_of('train')}", "train")
    field, remedy = f"{path}.{source.field_of('selection')}", ""
    if source.selection is None:
        field, remedy = f"{path}.shots", "; lower `shots` or set a selection file"
    _require_every_class(selection, source, field, "selection", remedy)
    _assert_apart(train, selection, test)
    drawn = 0 if source.selection is not None else len(selection)
    return TaskData(
        name=source.name,
        description=source.description,
        labels=source.labels,
        train=tuple(train),
        selection=tuple(selection),
        test=tuple(test),
        dropped=dropped,
        unused_train=len(pool) - len(train) - drawn,
        unused_selection=len(kept_selection) - len(selection) + drawn,
        untuned_prompt=source.untuned_prompt,
    )


def hold_out(rows: Sequence[Row], classes: int) -> tuple[tuple[Row, ...], tuple[Row, ...]]:
    """Splits rows into train and test: a fifth of each class, the same for every run seed."""
    test = _draw_each(rows, classes, lambda count: count // 5, 0, "hold out")
    return tuple(_unique(rows, test)), tuple(test)


def _unique(rows: Iterable[Row], taken: Iterable[Row]) -> list[Row]:
    """Rows whose text is not in `taken`, without duplicates."""
    seen = {row.identity for row in taken}
    kept = []
    for row in rows:
        if row.identity not in seen:
            seen.add(row.identity)
            kept.append(row)
    return kept


def _draw_each(
    rows: Sequence[Row], classes: int, count: Callable[[int], int], seed: int, split: str
) -> list[Row]:
    """Samples rows per class, in the order of `rows`; `count` maps class size to sample size."""

    def rank(row: Row) -> bytes:
        text = f"{seed}\x1f{split}\x1f{row.identity}"
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()

    chosen: set[str] = set()
    for label in range(classes):
        members = sorted((row for row in rows if row.label == label), key=rank)
        chosen.update(row.identity for row in members[: count(len(members))])
    return [row for row in rows if row.identity in chosen]


def _require_every_class(
    rows: Sequence[Row], source: Source, field: str, split: str, remedy: str = ""
) -> None:
    present = {row.label for row in rows}
    for label, word in enumerate(source.labels):
        if label not in present:
            raise InvalidInput.field(
                field,
                f"class {word!r} has no rows for {split} (texts that another split contains are "
                f"dropped){remedy}",
                reason="TOO_FEW_ROWS",
            )


def _assert_apart(*splits: Sequence[Row]) -> None:
    """Checks that no text occurs in two splits."""
    identities = [row.identity for rows in splits for row in rows]
    if len(set(identities)) != len(identities):
        raise InternalError("a text occurs in two splits")
