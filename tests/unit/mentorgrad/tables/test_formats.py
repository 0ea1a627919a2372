"""One table in several formats is one task."""

from __future__ import annotations

import tempfile
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mentorgrad.errors import InvalidInput
from mentorgrad.tables import Table, read_table, write_splits
from mentorgrad.tables.splitting import SPLITS
from tests.support.own_tables import plain, put, write_table

FORMATS = (".csv", ".tsv", ".jsonl", ".json", ".parquet", ".xlsx")


def content(table: Table) -> Any:
    """What a run sees of a table."""
    splits = [[(row.text, row.pair, row.label) for row in table.rows(name)] for name in SPLITS]
    return table.labels, splits


def test_every_format_of_one_table_gives_the_same_task(tmp_path: Path) -> None:
    rows = plain(12, ("2", "10", "-1"))
    tables = [read_table(write_table(tmp_path / f"rows{kind}", rows)) for kind in FORMATS]
    assert tables[0].labels == ("-1", "2", "10")
    assert all(content(table) == content(tables[0]) for table in tables)
    written = [write_splits(table, tmp_path / str(n)) for n, table in enumerate(tables)]
    digests = {tuple(one.sha256 for one in splits) for splits in written}
    assert len(digests) == 1


# What a cell of CSV can hold and every format gives back: no lone carriage returns, which csv
# normalises at the end of a cell, and nothing that outer space alone makes a text.
_TEXTS = st.text(
    st.characters(codec="utf-8", exclude_characters="\x00\r", exclude_categories=["Cs"]),
    min_size=1,
    max_size=12,
).filter(lambda text: bool(text.strip()))
_LABELS = st.one_of(
    st.sampled_from(["NA", "None", "null", "nan", "Yes", "yes ", "no", "1", "1.0", "2", "", " "]),
    st.integers(-3, 10**20),
    st.floats(-10, 10).map(lambda value: round(value, 3)),
    st.none(),
    _TEXTS,
)


@settings(max_examples=20)
@given(st.lists(st.tuples(_TEXTS, _LABELS), min_size=4, max_size=14))
def test_a_csv_a_jsonl_and_a_parquet_file_of_one_table_give_the_same_task(
    rows: list[tuple[str, Any]],
) -> None:
    def outcome(folder: Path, kind: str) -> Any:
        cells: list[tuple[str, Any]] = rows
        if kind != ".jsonl":  # a parquet column has one type
            cells = [(text, None if label is None else str(label)) for text, label in rows]
        path = write_table(folder / f"rows{kind}", cells)
        try:
            table = read_table(path, "text", label="label", rare="merge", quoting="doubled")
        except InvalidInput as error:
            return error.message.partition(": column")[2]
        return content(table), table.report.rows, [one.rows for one in table.report.dropped]

    with tempfile.TemporaryDirectory() as folder:
        found = [outcome(Path(folder), kind) for kind in (".csv", ".jsonl", ".parquet")]
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([1, 2], pyarrow.int8()),
        ([1.0, 2.0], pyarrow.float64()),
        ([Decimal("1.00"), Decimal("2.00")], pyarrow.decimal128(5, 2)),
        (["1", "2.0"], pyarrow.dictionary(pyarrow.int8(), pyarrow.string())),
    ],
)
def test_numbers_of_any_type_are_one_label(tmp_path: Path, values: list[Any], kind: Any) -> None:
    labels = pyarrow.array(values * 6, kind)
    table = pyarrow.table({"text": [f"text {n}" for n in range(12)], "label": labels})
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
    assert read_table(tmp_path / "a.parquet").labels == ("1", "2")


def test_truth_values_are_the_words_true_and_false(tmp_path: Path) -> None:
    for kind in (".jsonl", ".parquet", ".csv"):
        path = write_table(tmp_path / f"a{kind}", plain(12, (True, False)))
        assert read_table(path).labels == ("false", "true")


# -- text files -----------------------------------------------------------------------------------


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "cp1252"])
def test_delimiter_and_encoding_are_found(tmp_path: Path, delimiter: str, encoding: str) -> None:
    lines = [f'"text {n}, café; ""so"""{delimiter}{n % 2}' for n in range(12)]
    text = "\r\n".join([f"message{delimiter}intent", *lines])
    table = read_table(put(tmp_path / "a.csv", text.encode(encoding)))
    assert table.report.delimiter == delimiter
    assert (table.columns.text, table.columns.label) == ("message", "intent")
    assert {row.text[-9:] for row in table.rows("train")} == {'afé; "so"'}
    assert table.report.encoding.replace("-sig", "") in (encoding, "utf-8")
    assert bool(table.report.remarks) == (encoding in ("utf-16-le", "cp1252"))


def test_an_encoding_that_western_europe_does_not_use_is_asked_for(tmp_path: Path) -> None:
    lines = [f"привет {n};{n % 2}" for n in range(12)]
    path = put(tmp_path / "a.csv", "\n".join(["text;label", *lines]).encode("cp1251"))
    with pytest.raises(InvalidInput, match="line 2 is not UTF-8; name the encoding with --encod"):
        read_table(path)
    table = read_table(path, encoding="cp1251")
    assert next(table.rows("train")).text.startswith("привет")


def test_a_delimiter_that_is_one_of_two_is_asked_for(tmp_path: Path) -> None:
    path = put(tmp_path / "a.csv", "a;text,label;b\n" + "1;x,0;2\n" * 3)
    with pytest.raises(InvalidInput, match=r"comma and semicolon both fit; .*--delimiter"):
        read_table(path)
    body = "".join(f"text {n},{n % 2};b\n" for n in range(12))
    path = put(tmp_path / "b.csv", "text,label;b\n" + body)
    assert read_table(path, delimiter=",").columns.label == "label;b"


def test_a_named_column_decides_between_delimiters(tmp_path: Path) -> None:
    body = "".join(f"text {n};{n % 2},0\n" for n in range(12))
    path = put(tmp_path / "a.csv", "text;label,more\n" + body)
    assert read_table(path, label="label,more").report.delimiter == ";"


@pytest.mark.parametrize(
    ("quoting", "cell"),
    [("doubled", '"say ""{}"", so"'), ("backslash", r'"say \"{}\", so"'), ("none", 'say "{}" so')],
)
def test_quoting_is_found(tmp_path: Path, quoting: str, cell: str) -> None:
    body = "".join(f"{cell.format(n)},{n % 2}\n" for n in range(12))
    table = read_table(put(tmp_path / "a.csv", "text,label\n" + body))
    texts = {row.text.replace(",", "") for row in table.rows("train")}
    assert texts <= {f'say "{n}" so' for n in range(12)}
    assert bool(table.report.remarks) == (quoting == "backslash")


def test_an_open_quote_that_swallows_rows_is_asked_about(tmp_path: Path) -> None:
    rows = [f"text {n}\t{n % 2}" for n in range(12)]
    rows[3], rows[6] = '"text 3\t1', 'text 6"\t0'
    path = put(tmp_path / "a.tsv", "\n".join(["text\tlabel", *rows]))
    with pytest.raises(InvalidInput, match=r"has 9 rows if .* and 12 if .* --quoting doubled or"):
        read_table(path)
    assert read_table(path, quoting="none").report.rows == 12
    assert read_table(path, quoting="doubled").report.rows == 9
    rows[6] = "text 6\t0"
    table = read_table(put(path, "\n".join(["text\tlabel", *rows])))
    assert table.report.remarks == ("read with quotes as plain characters; --quoting overrides",)


# -- folders and workbooks ------------------------------------------------------------------------


def test_a_sheet_is_asked_for(tmp_path: Path) -> None:
    import openpyxl

    book = openpyxl.Workbook()
    book.active.title = "first"
    for title in ("second", "empty"):
        book.create_sheet(title)
    for sheet in (book["first"], book["second"]):
        sheet.append(["text", "label"])
        for row in plain(12, (1, 2.5)):
            sheet.append(row)
    book.save(tmp_path / "a.xlsx")
    with pytest.raises(InvalidInput, match="has the sheets first, second; name one with --sheet"):
        read_table(tmp_path / "a.xlsx")
    with pytest.raises(InvalidInput, match="no sheet 'third'"):
        read_table(tmp_path / "a.xlsx", sheet="third")
    table = read_table(tmp_path / "a.xlsx", sheet="second")
    assert table.labels == ("1", "2.5")
    assert table.report.longest_at == 12  # the row of the sheet that holds "text 10"


def test_a_saved_hugging_face_data_set_is_read_with_its_class_names(tmp_path: Path) -> None:
    import datasets

    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["neg", "pos"])}
    )
    rows = [{"text": f"text {n}", "label": n % 2} for n in range(12)] + [{"text": "x", "label": -1}]
    one = datasets.Dataset.from_list(rows, features=features)
    one.save_to_disk(tmp_path / "one")
    datasets.DatasetDict(train=one, test=one).save_to_disk(tmp_path / "two")
    table = read_table(tmp_path / "one")
    assert table.labels == ("neg", "pos")
    assert table.report.dropped[0].reason == "without a label"
    with pytest.raises(InvalidInput, match="has the splits: train, test; name one with --sheet"):
        read_table(tmp_path / "two")
    assert content(read_table(tmp_path / "two", sheet="train")) == content(table)


def test_a_data_set_as_on_the_hub_may_have_several_files(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    for n, rows in enumerate((plain(6), plain(12)[6:])):
        write_table(tmp_path / "data" / f"train-0000{n}-of-00002.parquet", rows)
    write_table(tmp_path / "data" / "test-00000-of-00001.parquet", plain(12))
    table = read_table(tmp_path, sheet="train")
    whole = read_table(write_table(tmp_path / "whole.parquet", plain(12)))
    assert content(table) == content(whole)
    assert table.report.unit == "row"
