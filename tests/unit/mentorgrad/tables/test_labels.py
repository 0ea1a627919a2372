"""Labels, and the columns that are chosen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mentorgrad.errors import InvalidInput
from mentorgrad.tables import read_table
from mentorgrad.tables.malformed import MalformedError
from mentorgrad.tables.records import RowPlace
from mentorgrad.tables.values import LabelValues
from tests.support.own_tables import plain, put, write_table


def labelled(path: Path, *labels: Any) -> Path:
    return write_table(path, plain(12 * len(labels), labels))


@pytest.mark.parametrize(
    ("labels", "order"),
    [
        (["10", "9", "-2", "1.5"], ("-2", "1.5", "9", "10")),
        ([1, 1.0, "1", "2.50"], ("1", "2.5")),
        (["b", "B", "B", "a "], ("B", "a")),
        (["é", "z", "Z", "a"], ("Z", "a", "é")),
        (["NA", "None", "null", "nan"], ("NA", "None", "nan", "null")),
        (["2", "b", "10", "a"], ("2", "10", "a", "b")),
        (["01", "1"], ("1", "01")),
        ([0.0, "-0", 1e3, "1000"], ("0", "1000")),
        (["caf\u00e9", "cafe\u0301", "caf\u00e9", "tea"], ("caf\u00e9", "tea")),
        (["\ufeffyes", "yes\u200b \u2060", "yes", "\ufeff1"], ("1", "yes")),
    ],
)
def test_labels_in_order(tmp_path: Path, labels: list[Any], order: tuple[str, ...]) -> None:
    assert read_table(labelled(tmp_path / "a.jsonl", *labels)).labels == order


def test_merged_spellings_are_told(tmp_path: Path) -> None:
    table = read_table(labelled(tmp_path / "a.csv", "Spam", " spam", "Spam", "ham"))
    ham, spam = sorted(table.report.labels, key=lambda one: one.label.lower())
    assert (spam.label, spam.rows, spam.spellings) == ("Spam", 36, ("spam",))
    assert (ham.label, ham.rows, ham.spellings) == ("ham", 12, ())


@pytest.mark.parametrize("labels", [(1, True), ("0", "false"), ("TRUE", "1.0"), ("true", 0)])
def test_numbers_beside_truth_values_are_refused(tmp_path: Path, labels: tuple[Any, Any]) -> None:
    with pytest.raises(InvalidInput, match=r"a\.jsonl: line 2, column 'label': .*\(line 1\)"):
        read_table(labelled(tmp_path / "a.jsonl", *labels))


def test_rows_without_a_label_or_a_text_are_dropped_and_told(tmp_path: Path) -> None:
    rows = [*plain(12), ("x", ""), ("y", None), ("z", "  "), ("  ", "no"), ("", "yes")]
    report = read_table(write_table(tmp_path / "a.jsonl", rows)).report
    assert (report.rows, report.used) == (17, 12)
    dropped = {one.reason: one.at for one in report.dropped}
    assert dropped == {"without a label": (13, 14, 15), "without a text": (16, 17)}


@pytest.mark.parametrize(
    ("header", "says"),
    [
        ("text,message,label", "'text' and 'message' fit the text; name one with --text"),
        ("text,label,class", "'label' and 'class' fit the label; name one with --label"),
        ("a,b,label", r"no column is known to hold the text .*'a', 'b', 'label'.*--text"),
        ("text,id,other,more", "no column is known to hold the label"),
        ("text,label,label", "line 1: column 'label' is there 2 times|'label' and 'label' fit"),
    ],
)
def test_columns_that_cannot_be_told_are_asked_for(tmp_path: Path, header: str, says: str) -> None:
    path = put(tmp_path / "a.csv", f"{header}\n{header}\n")
    with pytest.raises(InvalidInput, match=says):
        read_table(path)


def test_the_only_column_left_is_chosen(tmp_path: Path) -> None:
    body = "".join(f"{n},{n % 2},words {n}\n" for n in range(12))
    path = put(tmp_path / "a.csv", "id,mood,Text\n" + body)
    columns = read_table(path).columns
    assert (columns.text, columns.label) == ("Text", "mood")
    with pytest.raises(InvalidInput, match=r"no column 'text' \(did you mean 'Text'"):
        read_table(path, "text")
    with pytest.raises(InvalidInput, match="must be different columns"):
        read_table(path, "Text", label="Text")


def test_pairs_are_read(tmp_path: Path) -> None:
    body = "".join(f"a {n},b {n // 2},{n % 2}\n" for n in range(12))
    table = read_table(put(tmp_path / "a.csv", "one,two,label\n" + body), "one", "two")
    assert {row.pair[:2] for row in table.rows("train")} == {"b "}


def test_label_values_are_found_in_every_spelling() -> None:
    values = LabelValues(("1", "2.5", "Yes"))
    cells = (1, 1.0, " 1.00", "2.50", "yES ", True, 3, "", None)
    found = [values.index_of(cell, "label", RowPlace("row", 1)) for cell in cells]
    assert found == [0, 0, 0, 1, 2, None, None, None, None]


@pytest.mark.parametrize(
    ("values", "says"),
    [
        (("1", "1.0"), r"value 2, '1\.0', is the same label as value 1, '1'"),
        (("a", "A "), "is the same label"),
        (("a", " "), "value 2 is empty"),
        (("0", "true"), "the label true stands beside the label 0"),
    ],
)
def test_label_values_are_different_labels(values: tuple[str, ...], says: str) -> None:
    with pytest.raises(MalformedError, match=says):
        LabelValues(values)


def test_words_stand_beside_the_labels(tmp_path: Path) -> None:
    path = labelled(tmp_path / "a.csv", "10", "9.0")
    table = read_table(path, words={"9": "good", "10.0": "bad"})
    assert (table.labels, table.words) == (("9", "10"), ("good", "bad"))
    assert [one.word for one in table.report.labels] == ["good", "bad"]
    assert read_table(path).words == ("9", "10")
    for words, says in (
        ({"1": "x"}, "no label '1'; its labels are: 9, 10"),
        ({"9": "x", "10": "x"}, "'x' is the word of two labels"),
        ({"9": " "}, "a word is empty"),
    ):
        with pytest.raises(InvalidInput, match=says):
            read_table(path, words=words)
