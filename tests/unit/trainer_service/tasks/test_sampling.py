"""Few-shot sampling, and splits that never mix."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mentorgrad.errors import InvalidInput
from trainer_service.tasks.data import Row, Source, majority_share
from trainer_service.tasks.sampling import draw


def rows(count: int, prefix: str = "row", classes: int = 2) -> tuple[Row, ...]:
    return tuple(Row(f"{prefix} {n}", n % classes) for n in range(count))


def source(
    train: tuple[Row, ...],
    selection: tuple[Row, ...] | None = None,
    test: tuple[Row, ...] = (),
    classes: int = 2,
) -> Source:
    return Source("t", "d", tuple(f"label{n}" for n in range(classes)), train, selection, test)


@given(
    sizes=st.tuples(st.integers(8, 60), st.integers(4, 30), st.integers(0, 20)),
    shots=st.integers(1, 6),
    selection_rows=st.integers(1, 10),
    seed=st.integers(0, 5),
    own_file=st.booleans(),
    overlap=st.integers(0, 3),
)
def test_the_splits_never_share_a_text(
    sizes: tuple[int, int, int],
    shots: int,
    selection_rows: int,
    seed: int,
    own_file: bool,
    overlap: int,
) -> None:
    train = rows(sizes[0])
    # The same texts again, in another case and with other spaces.
    copies = tuple(Row(f"  ROW  {n} ", n % 2) for n in range(overlap))
    test = rows(sizes[2], "test") + copies
    selection = rows(sizes[1], "selection") + copies if own_file else None
    try:
        task = draw(
            source(train, selection, test), shots=shots, selection_rows=selection_rows, seed=seed
        )
    except InvalidInput as error:
        if error.reason != "TOO_FEW_ROWS":
            raise
        return
    identities = [
        row.identity for split in (task.train, task.selection, task.test) for row in split
    ]
    assert len(set(identities)) == len(identities)
    assert len(task.test) == len(test)
    assert set(Counter(row.label for row in task.train)) == {0, 1}
    assert max(Counter(row.label for row in task.train).values()) <= shots
    assert max(Counter(row.label for row in task.selection).values()) <= selection_rows
    assert task.dropped == overlap * (2 if own_file else 1)


def test_shots_and_selection_rows_are_a_class() -> None:
    task = draw(source(rows(400)), shots=16, selection_rows=64, seed=0)
    assert Counter(row.label for row in task.train) == {0: 16, 1: 16}
    assert Counter(row.label for row in task.selection) == {0: 64, 1: 64}


def test_selection_takes_half_of_what_remains_if_that_is_fewer() -> None:
    task = draw(source(rows(60)), shots=16, selection_rows=64, seed=0)
    assert Counter(row.label for row in task.selection) == {0: 7, 1: 7}


def test_no_shots_means_all() -> None:
    task = draw(source(rows(60), rows(10, "s")), shots=0, selection_rows=3, seed=0)
    assert len(task.train) == 60
    assert len(task.selection) == 6


def test_few_test_rows_are_the_same_for_every_seed_and_the_others_train_nothing() -> None:
    whole = source(rows(40), test=rows(40)[:20])
    few = [draw(whole, shots=3, selection_rows=3, seed=seed, test_rows=2) for seed in (0, 1)]
    assert few[0].test == few[1].test
    assert Counter(row.label for row in few[0].test) == {0: 2, 1: 2}
    assert not {row.text for row in (*few[0].train, *few[0].selection)} & {
        row.text for row in whole.test
    }


def test_the_seed_decides_and_the_order_of_a_file_does_not() -> None:
    pool = rows(100)

    def drawn(given: tuple[Row, ...], seed: int) -> set[Row]:
        return set(draw(source(given), shots=8, selection_rows=8, seed=seed).train)

    assert drawn(pool, 1) == drawn(pool[::-1], 1)
    assert drawn(pool, 1) != drawn(pool, 2)


def test_of_equal_texts_in_one_split_the_first_stays() -> None:
    train = (Row("same", 0), Row("Same ", 1), *rows(20))
    task = draw(source(train, rows(4, "s")), shots=0, selection_rows=2, seed=0)
    assert [row for row in task.train if row.identity.startswith("same")] == [Row("same", 0)]
    assert task.dropped == 1


def test_a_pair_is_one_text() -> None:
    train = (Row("a", 0, "b"), Row("a", 1, "c"))
    task = draw(source(train, rows(4, "s")), shots=0, selection_rows=2, seed=0)
    assert len(task.train) == 2


@pytest.mark.parametrize(
    ("given", "field"),
    [
        (source(tuple(Row(f"x{n}", 0) for n in range(9)), rows(4, "s")), "spec.task.data.train"),
        (source(rows(9), (Row("s", 1),)), "spec.task.data.selection"),
        (source(rows(8)), "spec.task.shots"),
        (source(rows(8), rows(8), ()), "spec.task.data.train"),
    ],
)
def test_a_class_without_rows_is_named(given: Source, field: str) -> None:
    with pytest.raises(InvalidInput, match=r"class 'label[01]' has no rows for") as caught:
        draw(given, shots=4, selection_rows=4, seed=0)
    assert caught.value.violations[0].field == field


def test_the_majority() -> None:
    assert majority_share([Row("a", 0), Row("b", 1), Row("c", 1)]) == pytest.approx(2 / 3)
    assert majority_share([]) is None
