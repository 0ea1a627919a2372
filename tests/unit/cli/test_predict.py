"""`mentorgrad predict` with a stand-in for the tuned classifier."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pytest
from pyarrow import parquet
from typer.testing import CliRunner, Result

from mentorgrad.cli.main import app
from mentorgrad.cli.support import predicted_rows
from mentorgrad.predictor import Predictor
from mentorgrad.tables import records
from tests.support.own_tables import write_table
from tests.support.told_predictor import Told

Invoke = Callable[..., Result]


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Told:
    return put(monkeypatch, Told())


def put(monkeypatch: pytest.MonkeyPatch, predictor: Told) -> Told:
    monkeypatch.setattr(Predictor, "load", lambda folder, **others: predictor)
    return predictor


def predict(*arguments: object, given: bytes = b"") -> Result:
    return CliRunner().invoke(app, ["predict", "result", *map(str, arguments)], input=given)


def written(folder: Path, name: str, content: str | bytes) -> Path:
    file = folder / name
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return file


def table(text: str, delimiter: str = ",") -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text), delimiter=delimiter))


def test_the_columns_of_the_input_come_first(told: Told, tmp_path: Path) -> None:
    content = '\ufefftext,id\n"good, really",1\n"two\nlines",2\n\n bad ,3\n'
    out = tmp_path / "out.csv"
    result = predict(written(tmp_path, "in.csv", content), "-o", out)
    assert result.exit_code == 0, result.stderr
    assert result.stdout == f"3 rows written to {out}\n"
    assert out.read_text() == (
        "text,id,label,p_bad,p_good\n"
        '"good, really",1,good,0.25,0.75\n'
        '"two\nlines",2,bad,0.75,0.25\n'
        " bad ,3,bad,0.75,0.25\n"
    )


def test_a_label_of_the_input_stays(told: Told, tmp_path: Path) -> None:
    file = written(tmp_path, "in.tsv", "text\tlabel\ngood\tbad\n")
    result = predict(file)
    assert table(result.stdout, ",") == [
        {"text": "good", "label": "bad", "predicted_label": "good", "p_bad": "0.25"}
        | {"p_good": "0.75"}
    ]


def test_values_of_json_lines_stay_what_they_are(told: Told, tmp_path: Path) -> None:
    rows = [{"text": "good", "n": 1, "more": {"a": [None]}}, {"text": "é", "other": True}]
    file = written(tmp_path, "in.jsonl", "\n".join(map(json.dumps, rows)))
    result = predict(file, "--json")
    added = [
        {"label": "good", "p_bad": 0.25, "p_good": 0.75},
        {"label": "bad", "p_bad": 0.75, "p_good": 0.25},
    ]
    found = [json.loads(line) for line in result.stdout.splitlines()]
    assert found == [row | more for row, more in zip(rows, added, strict=True)]
    out = tmp_path / "out.tsv"
    assert predict(file, "-o", out).exit_code == 0
    assert table(out.read_text(), "\t")[0]["more"] == '{"a": [null]}'


def test_keys_of_late_json_lines_are_columns_too(told: Told, tmp_path: Path) -> None:
    rows = [{"text": "bad"}] * 150 + [{"text": "good", "label": "mine", "more": 7}]
    file = written(tmp_path, "in.jsonl", "\n".join(map(json.dumps, rows)))
    result = predict(file, "--json")
    assert json.loads(result.stdout.splitlines()[-1]) == rows[-1] | {
        "predicted_label": "good",
        "p_bad": 0.25,
        "p_good": 0.75,
    }
    assert table(predict(file).stdout)[-1]["more"] == "7"


def test_label_values_are_given_and_compared(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    predictor = put(monkeypatch, Told())
    predictor.labels = predictor.label_values = ("0", "1")
    file = written(tmp_path, "in.csv", "text,known\ngood,1.0\nbad,0\ngood,2\nother,\n")
    out = tmp_path / "out.csv"
    result = predict(file, "--label", "known", "-o", out, "--json")
    found = [(row["label"], row["p_1"]) for row in table(out.read_text())]
    assert found == [("1", "0.75"), ("0", "0.25"), ("1", "0.75"), ("0", "0.25")]
    agreement = json.loads(result.stdout)["agreement"]
    assert (agreement["accuracy"], agreement["unknown_labels"]) == (1.0, 2)


@pytest.mark.parametrize("kind", [".tsv", ".jsonl", ".json", ".parquet", ".xlsx"])
def test_every_format_of_one_table_has_the_same_predictions(
    told: Told, tmp_path: Path, kind: str
) -> None:
    rows = [("good", 3), (7, None), ("", 1), (None, 2), ("bad", 4)]
    rows = [row for row in rows if kind != ".parquet" or row[0] != 7]  # a column has one type
    file = write_table(tmp_path / f"in{kind}", rows, ("text", "id"))
    result = predict(file, "--json")
    assert result.exit_code == 0, result.stderr
    found = [json.loads(line) for line in result.stdout.splitlines()]
    assert [row["label"] for row in found] == ["good"] + ["bad"] * (len(rows) - 3)
    assert str(found[-1]["id"]) == "4"
    assert result.stderr.count("column 'text' holds no text") == 2


def test_what_is_concluded_of_a_file_is_said(told: Told, tmp_path: Path) -> None:
    file = written(tmp_path, "in.csv", "id;text\n1;good, très\n".encode("cp1252"))
    result = predict(file)
    assert table(result.stdout)[0]["text"] == "good, très"
    assert "in.csv: read as Windows-1252, because line 2 is not UTF-8" in result.stderr
    shown = predict(file, "--encoding", "latin-1", "--delimiter", "semicolon")
    assert (shown.stdout, shown.stderr) == (result.stdout, "")


def test_parquet_keeps_the_types_of_its_columns(told: Told, tmp_path: Path) -> None:
    moment = datetime(2026, 1, 2, 3, 4)
    rows = {"text": ["good", None, "bad"], "at": [moment, None, None], "n": [1.5, 2.0, math.nan]}
    parquet.write_table(pyarrow.table(rows | {"tags": [["a"], [], None]}), tmp_path / "in.parquet")
    out = tmp_path / "out.parquet"
    assert predict(tmp_path / "in.parquet", "-o", out).exit_code == 0
    read = parquet.read_table(out)
    assert read.schema.names == ["text", "at", "n", "tags", "label", "p_bad", "p_good"]
    assert [str(kind) for kind in read.schema.types[1:4]] == [
        "timestamp[us]",
        "double",
        "list<element: string>",
    ]
    assert read["p_good"].to_pylist() == [0.75, 0.25]

    assert predict(tmp_path / "in.parquet", "-o", tmp_path / "again.csv").exit_code == 0
    cells = table((tmp_path / "again.csv").read_text())
    assert [cells[0]["at"], cells[1]["n"], cells[0]["tags"]] == [str(moment), "", '["a"]']
    line = json.loads(predict(tmp_path / "in.parquet", "--json").stdout.splitlines()[1])
    assert line["n"] is None
    assert predict(written(tmp_path, "in.csv", "text,n\ngood,1\n"), "-o", out).exit_code == 0
    assert parquet.read_table(out).to_pylist()[0] | {"p_bad": 0, "p_good": 0} == {
        "text": "good",
        "n": "1",
        "label": "good",
        "p_bad": 0,
        "p_good": 0,
    }


def test_lines_of_standard_input(told: Told) -> None:
    result = predict(given="good\r\n\nя\n".encode())
    assert [row["label"] for row in table(result.stdout)] == ["good", "bad"]
    assert [row["text"] for row in table(result.stdout)] == ["good", "я"]
    assert "left out: standard input: line 2: column 'text' holds no text" in result.stderr


def test_lines_of_standard_input_are_read_as_those_of_files(
    told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = predict(given=b"\xef\xbb\xbfgood\nb\xff\na\x00b\nbad\n")
    assert [row["text"] for row in table(result.stdout)] == ["good", "bad"]
    assert "standard input: line 2: not valid UTF-8" in result.stderr
    assert "standard input: line 3: column 'text' contains a NUL" in result.stderr
    monkeypatch.setattr(records, "MAX_LINE", 10)
    long = predict(given=b"good\n" + b"x" * 20)
    assert (long.exit_code, long.stdout) == (2, "")
    assert "standard input: line 2: has more than 10 bytes" in long.stderr


def test_rows_are_in_order_and_few_at_a_time(
    told: Told, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predicted_rows, "_ROWS", 4)
    texts = ["good" if index % 3 else "other" for index in range(10)]
    result = predict(written(tmp_path, "in.csv", "text\n" + "\n".join(texts)))
    assert [row["text"] for row in table(result.stdout)] == texts
    assert told.asked == [4, 4, 2]


BROKEN = (
    b'{"text": "good"}\n{"text": [7]}\n{"text": "good\n[1]\n{"other": "x"}\n'
    b'{"text": "too long"}\n{"text": "\xff"}\n{"text": "fine"}\n'
)
BROKEN_CSV = b'text,id\ngood,1\ngood\n"a"b,2\n\xff,3\ntoo long,4\ngood,5,6\nfine,7\n'


@pytest.mark.parametrize(
    ("name", "content", "named"),
    [
        (
            "in.jsonl",
            BROKEN,
            "2, column 'text': holds a list; it must|3: not valid JSON|4: must be a JSON object|"
            "5: column 'text' holds no text|6: takes 99 tokens|7: not valid UTF-8",
        ),
        (
            "in.csv",
            BROKEN_CSV,
            "3: has 1 cells, but the header has 2|4: ',' expected after '\"'|5: not valid UTF-8|"
            "6: takes 99 tokens|7: has 3 cells",
        ),
    ],
)
def test_a_row_that_cannot_be_read_is_named_and_left_out(
    told: Told, tmp_path: Path, name: str, content: bytes, named: str
) -> None:
    file, reasons = written(tmp_path, name, content), named.split("|")
    result = predict(file, "--encoding", "utf-8")
    assert result.exit_code == 0, result.stderr
    assert [row["text"] for row in table(result.stdout)] == ["good", "fine"]
    for reason in reasons:
        assert f"{name}: line {reason}" in result.stderr
    assert f"{len(reasons)} rows left out" in result.stderr
    out = tmp_path / "out.csv"
    strict = predict(file, "--encoding", "utf-8", "--strict", "-o", out)
    assert strict.exit_code == 2
    assert f"{name}: line {reasons[0]}" in strict.stderr
    assert not out.exists()


def test_a_row_whose_text_is_cut_is_named(told: Told, tmp_path: Path) -> None:
    file = written(tmp_path, "in.csv", "text\ngood\nwide\ntoo long\nwide good\n")
    result = predict(file)
    assert [row["label"] for row in table(result.stdout)] == ["good", "bad", "good"]
    named = [line.split(": ")[2] for line in result.stderr.splitlines() if line[:5] == "cut: "]
    assert named == ["line 3", "line 5"]
    assert result.stderr.endswith("1 row left out; 2 rows cut\n")
    out = tmp_path / "out.csv"
    assert "written to" in (shown := predict(file, "-o", out)).stdout
    assert shown.stdout.endswith("out.csv; 1 row left out; 2 rows cut\n")
    assert json.loads(predict(file, "-o", out, "--json").stdout)["cut"] == 2


def test_known_labels_are_compared(told: Told, tmp_path: Path) -> None:
    rows = ["good,good", "good,bad", "dull,bad", "dull,0", "fine,1", "good,other"]
    file = written(tmp_path, "in.csv", "text,truth\n" + "\n".join(rows))
    out = tmp_path / "out.csv"
    result = predict(file, "--label", "truth", "-o", out, "--json")
    facts = json.loads(result.stdout)
    assert (facts["rows"], facts["left_out"]) == (6, 0)
    agreement = facts["agreement"]
    assert agreement["confusion"] == [[2, 1], [1, 1]]
    assert agreement["accuracy"] == pytest.approx(3 / 5)
    assert agreement["macro_f1"] == pytest.approx((4 / 6 + 2 / 4) / 2)
    assert agreement["unknown_labels"] == 1
    shown = predict(file, "--label", "truth", "-o", out).stdout
    for line in (
        "rows with a known label\t5",
        "accuracy\t0.600",
        "macro F1\t0.583",
        "1 row with other labels",
        "label \\ predicted\tbad\tgood",
        "bad\t2\t1",
    ):
        assert line in shown.splitlines()


def test_known_labels_are_told_as_tables_tell_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    rows = ["good,GOOD ", "good,1.0", "dull,0"]
    file = written(tmp_path, "in.csv", "text,truth\n" + "\n".join(rows))
    put(monkeypatch, Told())
    assert "rows with a known label\t3" in predict(file, "--label", "truth").stderr
    numbers = put(monkeypatch, Told())
    numbers.labels = ("2", "1")
    assert "2 rows with other labels" in predict(file, "--label", "truth").stderr


def test_figures_are_apart_from_rows_on_standard_output(told: Told, tmp_path: Path) -> None:
    result = predict(written(tmp_path, "in.csv", "text,truth\ngood,good\n"), "--label", "truth")
    assert table(result.stdout)[0]["label"] == "good"
    assert "accuracy\t1.000" in result.stderr


@pytest.mark.parametrize(
    ("content", "arguments", "words"),
    [
        ("a,b\nx,y\n", [], "--text: no column fits; the columns are 'a', 'b'"),
        ("Text,b\nx,y\n", [], "--text: no column fits; did you mean 'Text'?"),
        ("message,b\nx,y\n", ["--text", "mesage"], "'mesage'; did you mean 'message'?"),
        (f"{'c,' * 500}c\n", [], "'c', 'c', ..."),
        ("a,b\nx,y\n", ["--text", "c"], "there is no column 'c'"),
        ("text\nx\n", ["--label", "c"], "--label: there is no column 'c'"),
        ("text\nx\n", ["--pair", "text"], "single texts"),
        ("text,text\nx,y\n", [], "line 1: column 'text' is there 2 times"),
        ("text,p_good\nx,y\n", [], "already has a column 'p_good'"),
        ("text\n", [], "there is no row that can be read"),
        ("text\n ,\n", [], "there is no row that can be read"),
        ("", [], "in.csv: is empty; it must have a header and at least one row"),
        ("text\nx\n", ["-o", "out.xlsx"], "must end in one of .csv, .tsv, .jsonl, .parquet"),
        ("text\nx\n", ["-o", "/nowhere/out.csv"], "--output: /nowhere/out.csv cannot be written"),
        ("text\nx\n", ["--quoting", "none at all"], "quoting must be one of: doubled, backsl"),
        ("text\nx\n", ["--delimiter", "::"], "delimiter must be one character"),
        ("text\nx\n", ["--tuned-model", "own"], "must be NAME=URL"),
    ],
)
def test_what_cannot_be_done_is_refused(
    told: Told, tmp_path: Path, content: str, arguments: list[str], words: str
) -> None:
    result = predict(written(tmp_path, "in.csv", content), *arguments)
    assert result.exit_code == 2
    assert words in result.stderr
    assert [line[:7] for line in result.stderr.splitlines() if "left out" not in line] == [
        "error: "
    ]
    assert not result.stdout


def test_a_file_that_is_not_there_or_of_another_kind(told: Told, tmp_path: Path) -> None:
    for name, words in (("none.csv", "there is no such file"), ("a.docx", "is no such file")):
        result = predict(tmp_path / name)
        assert result.exit_code != 0
        assert words in result.stderr
    (tmp_path / "folder.csv").mkdir()
    assert "is a folder" in predict(tmp_path / "folder.csv").stderr


@pytest.mark.parametrize(
    ("columns", "header", "arguments"),
    [
        ({"text_field": "message"}, "message,text", []),
        ({}, "note,text", []),
        ({}, "note", []),
        ({"text_field": "message"}, "message,note", ["--text", "note"]),
    ],
)
def test_the_text_column_is_found(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    columns: dict[str, str],
    header: str,
    arguments: list[str],
) -> None:
    put(monkeypatch, Told(**columns))
    wanted = {"message,text": "good,x", "note,text": "x,good", "note": "good"}
    cells = wanted.get(header, "x,good")
    result = predict(written(tmp_path, "in.csv", f"{header}\n{cells}\n"), *arguments)
    assert table(result.stdout)[0]["label"] == "good"


def test_pairs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    put(monkeypatch, Told(paired=True, text_field="a", pair_field="b"))
    result = predict(written(tmp_path, "in.csv", "a,b\nx,good\n"))
    assert table(result.stdout)[0]["label"] == "good"
    missing = predict(written(tmp_path, "in.csv", "a,c\nx,good\n"))
    assert "--pair: no column fits" in missing.stderr


def test_choices_are_the_lines_of_the_second_text(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    told = Told(paired=True, text_field="t", choice_fields="one\ntwo")
    given: list[Any] = []

    def predict_proba(texts: list[str], pairs: list[str]) -> Any:
        given.extend(pairs)
        return np.array([[0.0, 1.0]] * len(texts))

    monkeypatch.setattr(told, "predict_proba", predict_proba)
    put(monkeypatch, told)
    table_of = written(tmp_path, "in.csv", "t,one,two,other\nw,a  b,c,d\n")
    assert predict(table_of).exit_code == 0
    assert predict(table_of, "--choice", "two", "--choice", "other").exit_code == 0
    assert given == ["a b\nc", "c\nd"]
    put(monkeypatch, Told())
    assert "single texts" in predict(table_of, "--text", "t", "--choice", "two").stderr


def test_what_is_asked_for_reaches_the_predictor(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    given: dict[str, Any] = {}

    def load(folder: Path, **others: Any) -> Told:
        given.update(others, folder=folder)
        return Told()

    monkeypatch.setattr(Predictor, "load", load)
    arguments = ["--use", "words", "--model-root", "models", "--tuned-model", "own=http://a=b"]
    assert predict("-", *arguments, given=b"good").exit_code == 0
    assert (given["folder"], given["use"]) == (Path("result"), "words")
    assert given["model_roots"] == [Path("models")]
    assert given["tuned_models"] == {"own": "http://a=b"}
    assert given["device"] is None
