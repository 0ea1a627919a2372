"""Splits by seed, what is left out of them, and their files."""

from __future__ import annotations

import hashlib
import json
import random
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mentorgrad.domain.spec import DataFiles, Task
from mentorgrad.errors import InvalidInput
from mentorgrad.tables import (
    SplitSizes,
    TableColumns,
    read_table,
    report_lines,
    write_splits,
)
from mentorgrad.tables.splitting import SPLITS, sizes_of
from tests.support.own_tables import plain, put, write_table
from trainer_service.tasks.load import load_task


def test_classes_keep_their_shares_and_the_order_of_rows_does_not_matter(tmp_path: Path) -> None:
    rows = plain(100, ("a", "a", "a", "b"))
    table = read_table(write_table(tmp_path / "a.csv", rows), seed=3)
    counts = {name: Counter(row.label for row in table.rows(name)) for name in SPLITS}
    assert counts == {
        "train": {0: 45, 1: 15},
        "selection": {0: 15, 1: 5},
        "test": {0: 15, 1: 5},
    }
    random.Random(0).shuffle(rows)
    again = read_table(write_table(tmp_path / "b.csv", rows), seed=3)
    other = read_table(write_table(tmp_path / "c.csv", rows), seed=4)
    texts = [{row.text for row in one.rows("test")} for one in (table, again, other)]
    assert texts[0] == texts[1] != texts[2]


def test_selection_is_capped_and_train_takes_the_rest(tmp_path: Path) -> None:
    table = read_table(write_table(tmp_path / "a.csv", plain(100)), selection_rows=6)
    sizes = table.report.splits
    assert (sizes.train, sizes.selection, sizes.test) == (74, 6, 20)


def test_a_sample_keeps_shares_and_is_part_of_a_larger_one(tmp_path: Path) -> None:
    table = read_table(write_table(tmp_path / "a.csv", plain(100, ("a", "a", "a", "b"))))
    small, large = (table.sample(SplitSizes(most, 8, 20)) for most in (10, 30))
    assert small.report.splits == SplitSizes(9, 8, 20)
    assert Counter(row.label for row in small.rows("train")) == {0: 7, 1: 2}
    assert Counter(row.label for row in small.rows("selection")) == {0: 6, 1: 2}
    whole, part, less = ([row.text for row in one.rows("train")] for one in (table, large, small))
    assert set(less) < set(part) < set(whole)
    assert [text for text in whole if text in less] == less
    assert list(small.rows("test")) == list(table.rows("test"))
    assert table.sample(table.report.splits) is table
    tiny = table.sample(SplitSizes(1, 1, 1)).report.splits
    assert tiny == SplitSizes(2, 2, 2)  # a row of each class


@given(st.integers(3, 10**6), st.integers(1, 10**4), st.booleans())
def test_sizes_are_positive_and_add_up(count: int, most: int, with_test: bool) -> None:
    sizes = sizes_of(count, 2 * count, most, with_test)
    assert sum(sizes) == count
    assert all(size > 0 for size in sizes[: 2 + with_test])


def test_the_same_text_is_never_on_two_sides_and_conflicts_are_told(tmp_path: Path) -> None:
    rows = [*plain(12), ("Text  0", "no"), ("text 1", "no"), ("TEXT 1", "no"), ("text 2", "yes")]
    report = read_table(write_table(tmp_path / "a.csv", rows)).report
    dropped = {one.reason: one.at for one in report.dropped}
    # Of "text 1" the more frequent label is kept, of "text 2" the first.
    assert dropped == {"repeat a text": (14, 16), "repeat a text with another label": (3, 17)}
    assert report.conflicts == 2
    assert report.conflict_examples[0].at == (3, 15, 16)
    assert report.conflict_examples[0].labels == ("no", "yes")
    assert "2 texts have several labels" in report_lines(report)[3]


def test_a_text_is_the_same_in_both_ways_to_write_its_accents(tmp_path: Path) -> None:
    rows = [*plain(12), ("caf\u00e9", "no"), ("Cafe\u0301", "no"), ("\ufeff", "no")]
    report = read_table(write_table(tmp_path / "a.csv", rows)).report
    dropped = {one.reason: one.at for one in report.dropped}
    assert dropped == {"repeat a text": (15,), "without a text": (16,)}


@settings(max_examples=20)
@given(st.lists(st.integers(0, 9), min_size=40, max_size=60), st.integers(0, 3))
def test_a_group_is_on_one_side(
    tmp_path_factory: pytest.TempPathFactory, groups: list[int], seed: int
) -> None:
    body = "".join(f"text {n},{n % 2},g{group}\n" for n, group in enumerate(groups))
    path = put(tmp_path_factory.mktemp("groups") / "a.csv", "text,label,author\n" + body)
    try:
        table = read_table(path, group="author", seed=seed)
    except InvalidInput:
        return  # too few groups hold a label
    sides = [{groups[row.number - 2] for row in table.rows(name)} for name in SPLITS]
    assert not sides[0] & sides[1] | sides[0] & sides[2] | sides[1] & sides[2]
    assert all({row.label for row in table.rows(name)} == {0, 1} for name in SPLITS)


def test_a_test_file_of_ones_own_shares_no_text_with_the_table(tmp_path: Path) -> None:
    path = write_table(tmp_path / "a.csv", plain(20))
    test = write_table(tmp_path / "test.jsonl", [("TEXT 0", "NO"), ("new", "yes"), ("new", "yes")])
    table = read_table(path, test=test)
    sizes = table.report.splits
    assert (sizes.train, sizes.selection, sizes.test) == (15, 4, 2)
    assert [(row.text, row.label) for row in table.rows("test")] == [("TEXT 0", 0), ("new", 1)]
    assert table.report.dropped[0].reason == "have a text of the test file"
    assert table.report.remarks == ("1 rows of the test file are not used",)
    write_table(test, [("x", "maybe")])
    with pytest.raises(InvalidInput, match=r"test\.jsonl: line 1, column 'label': .*'maybe'"):
        read_table(path, test=test)


def test_rare_labels_are_refused_dropped_or_merged(tmp_path: Path) -> None:
    rows = [*plain(12), ("rare 1", "x"), ("rare 2", "x"), ("rare 3", "y")]
    path = write_table(tmp_path / "a.csv", rows)
    with pytest.raises(InvalidInput, match=r"'x', 'y' .*--rare drop.*--rare merge"):
        read_table(path)
    dropped = read_table(path, rare="drop")
    assert dropped.labels == ("no", "yes")
    assert dropped.report.dropped[0].at == (14, 15, 16)
    merged = read_table(path, rare="merge")
    assert merged.labels == ("no", "other", "yes")
    assert [one.rows for one in merged.report.labels] == [6, 3, 6]
    with pytest.raises(InvalidInput, match="'other' has fewer"):
        read_table(write_table(path, rows[:-1]), rare="merge")


def test_written_splits_are_what_a_task_reads(tmp_path: Path) -> None:
    path = write_table(tmp_path / "a.csv", plain(40, ("5", "10")))
    table = read_table(path, words={"5": "five", "10": "ten"})
    written = write_splits(table, tmp_path / "splits")
    assert [one.rows for one in written] == [24, 8, 8]
    for one in written:
        assert hashlib.sha256(one.path.read_bytes()).hexdigest() == one.sha256
    task = Task(
        "own",
        DataFiles("train.jsonl", "selection.jsonl", "test.jsonl"),
        "what it is about",
        table.words,
        shots=0,
        label_values=table.labels,
    )
    read = load_task(task, 0, [tmp_path / "splits"])
    for name in SPLITS:
        rows = [(row.text, row.label) for row in table.rows(name)]
        assert [(row.text, row.label) for row in getattr(read, name)] == rows
    assert read.dropped == 0
    named = write_splits(table, tmp_path / "named", TableColumns("message", "intent"))
    assert json.loads(named[0].path.read_text().splitlines()[0]).keys() == {"message", "intent"}


def test_a_table_that_changed_leaves_no_splits(tmp_path: Path) -> None:
    path = write_table(tmp_path / "a.csv", plain(40))
    table = read_table(path)
    with path.open("a") as file:
        file.write("more,yes\n")
    with pytest.raises(InvalidInput, match=r"a\.csv: changes while it is read"):
        write_splits(table, tmp_path / "splits")
    assert list((tmp_path / "splits").iterdir()) == []


def test_a_report_is_six_lines_without_control_characters(tmp_path: Path) -> None:
    rows = [{"text": f"text {n}", "la\x1b\nbel": f"\x1b[3{n % 2}m\n"} for n in range(12)]
    path = put(tmp_path / "a.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    lines = report_lines(read_table(path).report)
    assert len(lines) == 6
    assert all(line.isprintable() for line in lines)
