"""Few-shot sampling by seed, and the rule that keeps the three splits apart.

A row is chosen by the hash of the seed and its text, so the choice depends neither on the order of
a file nor on a library's random numbers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence

from mentorgrad.errors import InternalError, InvalidInput
from trainer_service.tasks.data import Row, Source, TaskData


def draw(
    source: Source, *, shots: int, selection_rows: int, seed: int, path: str = "spec.task"
) -> TaskData:
    """The rows of one run.

    Every text stands in one split only: a text of *test* is dropped from the others, one of
    *selection* from *train*, and within a split the first of equal texts stays (`Row.identity`).
    Train takes `shots` rows of each class, or all it has if fewer (0: all). Selection takes up to
    `selection_rows` of each class from its file; without one, from what train's shots leave:
    `selection_rows`, or half of what remains if that is fewer. Without a file and with 0 shots,
    selection takes as many first, and train all the rest.

    Args:
        source: The task as its files hold it.
        shots: Train rows per class; 0: all.
        selection_rows: Maximum number of selection rows per class.
        seed: Decides which rows.
        path: Where the task stands in the request.

    Raises:
        InvalidInput: A class has no rows left in train or selection.
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
    files = f"{path}.hub" if source.name.startswith("hf:") else f"{path}.data"
    _require_every_class(train, source, f"{files}.train", "train")
    if source.selection is not None:
        _require_every_class(selection, source, f"{files}.selection", "selection")
    else:
        _require_every_class(
            selection, source, f"{path}.shots", "selection", "; lower `shots` or give a file"
        )
    _assert_apart(train, selection, test)
    return TaskData(
        name=source.name,
        description=source.description,
        labels=source.labels,
        train=tuple(train),
        selection=tuple(selection),
        test=tuple(test),
        dropped=dropped,
    )


def hold_out(rows: Sequence[Row], classes: int) -> tuple[tuple[Row, ...], tuple[Row, ...]]:
    """Train and a test split of a fifth of each class: the same rows for every seed."""
    test = _draw_each(rows, classes, lambda count: count // 5, 0, "hold out")
    return tuple(_unique(rows, test)), tuple(test)


def _unique(rows: Iterable[Row], taken: Iterable[Row]) -> list[Row]:
    """The rows whose text is not among `taken` and did not come before."""
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
    """`count` of the class's size, of each class, in the order of `rows`."""

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
                f"class {word!r} has no row left for {split} (texts of another split are "
                f"dropped){remedy}",
                reason="TOO_FEW_ROWS",
            )


def _assert_apart(*splits: Sequence[Row]) -> None:
    """A last look: no text in two splits."""
    identities = [row.identity for rows in splits for row in rows]
    if len(set(identities)) != len(identities):
        raise InternalError("a text stands in two splits")
