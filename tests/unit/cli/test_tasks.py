"""`mentorgrad tasks check`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.support.own_tables import plain, put, write_table

Invoke = Callable[..., Any]


def test_check_says_in_six_lines_what_a_table_holds(invoke: Invoke, tmp_path: Path) -> None:
    path = write_table(tmp_path / "a.csv", [*plain(40, ("a", "b", "B", "b")), ("x", ""), ("", "a")])
    result = invoke("tasks", "check", str(path))
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "a.csv: UTF-8, comma as delimiter, text in column text, label in column label",
        "rows: 42 read, 40 used",
        "labels: 2 (a 10, b 30); B read as b",
        "dropped: 2 rows: 1 without a label (line 42); 1 without a text (line 43)",
        "longest text: 7 characters (line 12)",
        "split (seed 0): 24 train, 8 selection, 8 test",
    ]


def test_check_prints_json(invoke: Invoke, tmp_path: Path) -> None:
    path = put(tmp_path / "a.tsv", "text\tlabel\n" + "".join(f"t{n}\t{n % 2}\n" for n in range(12)))
    result = invoke("tasks", "check", str(path), "--json", "--seed", "7")
    report = json.loads(result.stdout)
    assert (report["rows"], report["used"], report["seed"]) == (12, 12, 7)
    assert report["labels"][0] == {"label": "0", "rows": 6, "spellings": [], "word": ""}
    assert (
        report["splits"] == {"train": 8, "selection": 2, "test": 2}
        or sum(report["splits"].values()) == 12
    )


def test_words_make_the_settings_of_a_task(invoke: Invoke, tmp_path: Path) -> None:
    path = write_table(tmp_path / "a.csv", plain(12, ("0", "1")))
    result = invoke("tasks", "check", str(path), "--words", "0=not good, bad,1.0=good")
    assert result.exit_code == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[2] == "labels: 2 (0 = not good, bad 6, 1 = good 6)"
    assert lines[6] == (
        'task settings: labels = ["not good, bad", "good"], label_values = ["0", "1"]'
    )
    for words in ("0", "0=a,0=b", "2=a"):
        assert invoke("tasks", "check", str(path), "--words", words).exit_code == 2


def test_every_choice_can_be_overridden(invoke: Invoke, tmp_path: Path) -> None:
    lines = [f"é {n};{n};b {n};g{n % 6};{n % 2}" for n in range(30)]
    text = "\n".join(["text;message;second;author;class", *lines])
    path = put(tmp_path / "a.csv", text.encode("cp1252"))
    test = put(tmp_path / "b.csv", "text;message;second;author;class\nnew;1;2;g9;1\n")
    flags = {
        "--text": "text",
        "--pair": "second",
        "--label": "class",
        "--group": "author",
        "--delimiter": "semicolon",
        "--encoding": "cp1252",
        "--quoting": "none",
        "--test": str(test),
        "--rare": "drop",
    }
    result = invoke("tasks", "check", str(path), *[part for pair in flags.items() for part in pair])
    assert result.exit_code == 0, result.stderr
    assert result.stdout.startswith(
        "a.csv: CP1252, semicolon as delimiter, text in column text, second text in second, label "
        "in column class, groups in author"
    )


def test_a_refusal_is_one_line_and_exit_code_2(invoke: Invoke, tmp_path: Path) -> None:
    path = put(tmp_path / "a.csv", "text,label\nx,1\ny,1,2\n")
    for arguments in ((str(path),), (str(tmp_path / "none.csv"),), (str(path), "--rare", "keep")):
        result = invoke("tasks", "check", *arguments)
        assert result.exit_code == 2
        assert len(result.stderr.splitlines()) == 1
        assert result.stdout == ""


def test_a_built_in_task_becomes_a_table_of_ones_own(invoke: Invoke, tmp_path: Path) -> None:
    for name in ("tickets.csv", "tickets.jsonl"):
        written = invoke("tasks", "export", "tickets", "-o", str(tmp_path / name))
        assert written.stdout == f"468 rows written to {tmp_path / name}\n", written.stderr
        checked = invoke("tasks", "check", str(tmp_path / name), "--json")
        report = json.loads(checked.stdout)
        assert (report["text"], report["label"], report["used"]) == ("message", "intent", 468)
        assert [one["rows"] for one in report["labels"]] == [78] * 6


def test_an_export_that_cannot_be_written_is_refused(invoke: Invoke, tmp_path: Path) -> None:
    for words, flags in (
        ("'nothing' is not a built-in task; known: tickets", ("nothing",)),
        ("--output: must end in .csv, .tsv, .jsonl, .parquet", ("tickets", "-o", "tickets.xlsx")),
    ):
        refused = invoke("tasks", "export", *flags)
        assert refused.exit_code == 2
        assert words in refused.stderr
    assert list(tmp_path.iterdir()) == []
