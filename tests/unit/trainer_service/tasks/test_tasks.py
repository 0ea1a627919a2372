"""Built-in tasks, and rows from files."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from mentorgrad.domain.spec import DataFiles, Task
from mentorgrad.errors import InvalidInput
from mentorgrad.field_limits import violations
from mentorgrad.tables import arrow
from trainer_service.tasks import files
from trainer_service.tasks.builtin import builtin_names, load_builtin
from trainer_service.tasks.load import load_task
from trainer_service.tasks.opening import pinned

RECORDS = [{"text": f"text {word} {n}", "label": n % 2} for word in "abcd" for n in range(8)]


def write_jsonl(path: Path, records: list[dict[str, object]] | None = None) -> Path:
    lines = [json.dumps(record) for record in (RECORDS if records is None else records)]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def own(train: str, **fields: str) -> Task:
    return Task(
        name="mine",
        data=DataFiles(train=train, **fields),
        labels=("no", "yes"),
        description="what is said",
        shots=4,
    )


def test_choices_are_the_lines_of_the_second_text(tmp_path: Path) -> None:
    records = [
        {"text": f"text {n}", "one": f" the \n first {n}", "two": "b", "label": n % 2}
        for n in range(20)
    ]
    write_jsonl(tmp_path / "rows.jsonl", records)  # type: ignore[arg-type]
    task = own("rows.jsonl")
    assert task.data is not None
    data = replace(task.data, choice_fields=("one", "two"))
    row = load_task(replace(task, data=data), 0, [tmp_path]).train[0]
    assert row.choices == (f"the first {row.text.split()[1]}", "b")
    wrong = replace(task, labels=("a", "b", "c"), data=replace(data, pair_field="two"))
    assert [(v.field, v.description) for v in violations(wrong)] == [
        ("data.choice_fields", "cannot be combined with `pair_field`"),
        ("data.choice_fields", "must have one column per label word, 3 in all"),
    ]


def refusal(task: Task, root: Path | None) -> InvalidInput:
    with pytest.raises(InvalidInput) as caught:
        load_task(task, 0, [root] if root else [])
    return caught.value


# -- tickets ----------------------------------------------------------------------------------


def test_tickets_is_large_enough_and_no_two_rows_are_alike() -> None:
    source = load_builtin("tickets")
    assert len(source.labels) == 6
    assert source.description
    assert source.selection is not None
    for rows, least in ((source.train, 16), (source.selection, 20), (source.test, 20)):
        counts = Counter(row.label for row in rows)
        assert set(counts) == set(range(6))
        assert min(counts.values()) >= least
    every = [*source.train, *source.selection, *source.test]
    assert len({row.identity for row in every}) == len(every)
    bare = {"".join(filter(str.isalnum, row.text.casefold())) for row in every}
    assert len(bare) == len(every)


def test_no_ticket_gives_its_label_away_everywhere() -> None:
    """A classifier that looks for the label word must not do."""
    source = load_builtin("tickets")
    told = [source.labels[row.label] in row.text.lower() for row in source.test]
    assert sum(told) / len(told) < 0.25


def test_the_built_in_task_as_a_run_sees_it() -> None:
    task = load_task(Task(), 3, ())
    assert (len(task.train), len(task.selection), len(task.test)) == (96, 144, 180)
    assert task.dropped == 0
    assert len(task.digest) == 64
    assert load_task(Task(), 3, ()).digest == task.digest
    assert load_task(Task(), 4, ()).digest != task.digest


def test_label_words_and_description_can_be_replaced() -> None:
    words = ("a", "b", "c", "d", "e", "f")
    task = load_task(Task(labels=words, description="other"), 0, ())
    assert task.labels == words
    assert task.description == "other"
    assert refusal(Task(labels=("a", "b")), None).violations[0].field == "spec.task.labels"


def test_an_unknown_task_names_the_known_ones() -> None:
    error = refusal(Task(name="nothing"), None)
    assert error.reason == "TASK_NOT_FOUND"
    assert error.violations[0].field == "spec.task.name"
    assert all(name in error.message for name in builtin_names())


# -- files ------------------------------------------------------------------------------------


def test_the_three_formats_read_alike(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "rows.jsonl")
    lines = ["text,label", *(f'"{r["text"]}",{r["label"]}' for r in RECORDS)]
    (tmp_path / "rows.csv").write_text("\ufeff" + "\r\n".join(lines), encoding="utf-8")
    table = pyarrow.Table.from_pylist(RECORDS)
    pyarrow.parquet.write_table(table, tmp_path / "rows.parquet")
    read = [load_task(own(f"rows.{kind}"), 1, [tmp_path]) for kind in ("jsonl", "csv", "parquet")]
    assert read[0].train
    assert read[0] == read[1] == read[2]
    assert (len(read[0].train), len(read[0].selection)) == (8, 12)
    assert read[0].test == ()


def test_labels_may_be_words_or_indices_and_texts_may_come_in_pairs(tmp_path: Path) -> None:
    records: list[dict[str, object]] = [
        {"a": f"first {n}", "b": "second", "y": ["no", "yes", 0, 1, "0", "1"][n % 6]}
        for n in range(24)
    ]
    write_jsonl(tmp_path / "rows.jsonl", records)
    fields = {"text_field": "a", "pair_field": "b", "label_field": "y"}
    task = load_task(own("rows.jsonl", **fields), 0, [tmp_path])
    for row in [*task.train, *task.selection]:
        assert row.label == int(row.text.split()[1]) % 6 % 2
        assert row.joined == f"{row.text} second"


def test_a_label_column_may_hold_the_values_of_a_table(tmp_path: Path) -> None:
    spellings: list[object] = [3, 10, 3.0, "10", " 3.00", 10.0]
    records: list[dict[str, object]] = [
        {"text": f"text {n}", "label": spellings[n % 6]} for n in range(24)
    ]
    write_jsonl(tmp_path / "rows.jsonl", records)
    values = replace(own("rows.jsonl"), label_values=("3", "10"))
    task = load_task(values, 0, [tmp_path])
    assert task.labels == ("no", "yes")
    for row in [*task.train, *task.selection]:
        assert row.label == int(row.text.split()[1]) % 2
    wrong = refusal(replace(values, label_values=("3", "11")), tmp_path)
    assert wrong.violations[0].field == "spec.task.data.train"
    assert "line 2: column 'label': '10' is none of the label values" in wrong.message
    twice = refusal(replace(values, label_values=("3", "3.0")), tmp_path)
    assert twice.violations[0].field == "spec.task.label_values"


def test_label_values_are_as_many_as_the_words_and_of_files() -> None:
    task = replace(own("rows.jsonl"), label_values=("3",))
    assert [one.field for one in task.cross_violations()] == ["label_values"]
    assert [one.field for one in Task(label_values=("3",)).cross_violations()] == ["label_values"]


@pytest.mark.parametrize(
    ("name", "content", "where"),
    [
        ("a.jsonl", '{"text": "x", "label": 0}\n{"text": \n', "line 2: not valid JSON"),
        ("a.jsonl", '{"text": "x", "label": 0}\n[1]\n', "line 2: must be a JSON object"),
        ("a.jsonl", '\n{"text": "x"}\n', "line 2: column 'label' is missing"),
        ("a.jsonl", '{"text": 5, "label": 0}', "line 1: column 'text' must be a string"),
        ("a.jsonl", '{"text": " ", "label": 0}', "line 1: column 'text' is empty"),
        ("a.jsonl", '{"text": "x", "label": 2}', "line 1: column 'label': '2'"),
        ("a.jsonl", '{"text": "x", "label": -1}', "line 1: column 'label': '-1'"),
        ("a.jsonl", '{"text": "x", "label": true}', "line 1: column 'label': 'True'"),
        ("a.jsonl", '{"text": "x", "label": "maybe"}', "neither a label word nor a class index"),
        ("a.jsonl", "[" * 100_000, "line 1: not valid JSON"),
        ("a.jsonl", "", "has no rows"),
        ("a.csv", "text,labels\nx,0\n", "line 1: column 'label' is missing"),
        ("a.csv", 'text,label\nx,0\n"y,1\n', "line 3"),
        ("a.csv", "text,label\nx,0\ny\n", "line 3: has 1 cells, but the header has 2 columns"),
        ("a.csv", "label,text\n0,so, and so\n", "line 2: has 3 cells"),
        ("a.csv", "text,label\n\nx,0\n\ny,1,\n", "line 5: has 3 cells"),
        ("a.csv", 'text,label\n"x\n\nx",0\ny\n', "line 5: has 1 cells"),
        ("a.csv", "text,label,label\nx,1,0\n", "line 1: column 'label' is there 2 times"),
        ("a.csv", "text,label\nx\x00,1\n", "line 2: column 'text' contains a NUL character"),
        ("a.csv", "\n\n", "line 1: column 'text' is missing"),
        ("a.csv", "text;label\nx;1\n", "line 1: column 'text' is missing"),
        ("a.csv", "text,label\rx,1\r", "line 1: a carriage return stands outside quotes"),
        ("a.tsv", "text\tlabel\nx\t1\t2\n", "line 2: has 3 cells"),
        ("a.tsv", "text\tlabel\ttext\nx\t1\ty\n", "line 1: column 'text' is there 2 times"),
        ("a.jsonl", '{"text": "x", "label": 0, "label": 1}', "line 1: not valid JSON (the name"),
        ("a.jsonl", '{"text": "x\\ud83d", "label": 0}', "line 1: column 'text' contains"),
        ("a.jsonl", '{"text": "x\\u0000", "label": 0}', "line 1: column 'text' contains"),
        ("a.jsonl", '{"text": "x", "label": "\\udc00"}', "line 1: column 'label' contains"),
        (
            "a.jsonl",
            '{"text": "x", "label": ' + "9" * 5000 + "}",
            "line 1: not valid JSON (Exceeds",
        ),
        ("a.jsonl", '{"text": "x", "label": NaN}', "line 1: column 'label': 'nan'"),
        ("a.jsonl", '{"text": ["x"], "label": 1}', "line 1: column 'text' must be a string"),
        ("a.jsonl", '{"text": null, "label": 1}', "line 1: column 'text' must be a string"),
        ("a.json", '[{"text": "x", "label": 0}, {"text": "y"}]', "item 2: column 'label'"),
        ("a.json", '[{"text": "x", "label": 0, "text": "y"}]', "'text' is there twice"),
        ("a.json", '[{"text": "x\\udead", "label": 0}]', "item 1: column 'text' contains"),
        ("a.json", '[{"text": "x", "label": 0}', "not valid JSON"),
        ("a.csv", "", "line 1: column 'text' is missing"),
        ("a.parquet", "not parquet", "not a readable parquet file"),
        ("a.txt", "x", "must end in one of .jsonl, .csv, .parquet"),
    ],
)
def test_a_malformed_file_says_where(tmp_path: Path, name: str, content: str, where: str) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8")
    error = refusal(own(name), tmp_path)
    assert error.reason == "DATA_MALFORMED"
    assert error.violations[0].field == "spec.task.data.train"
    assert name in error.message
    assert where in error.message
    assert "\n" not in error.message


def test_bytes_that_are_no_text_say_where(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b'{"text": "x", "label": 0}\n\xff\xfe\n')
    assert "line 2: not valid UTF-8" in refusal(own("a.jsonl"), tmp_path).message


def test_a_missing_parquet_column_is_named(tmp_path: Path) -> None:
    pyarrow.parquet.write_table(pyarrow.table({"text": ["x"]}), tmp_path / "a.parquet")
    assert "column 'label' is missing" in refusal(own("a.parquet"), tmp_path).message


def test_parquet_columns_of_one_name_and_text_that_is_not_utf8_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    table = pyarrow.table([["x"], [0], [1]], names=["text", "label", "label"])
    pyarrow.parquet.write_table(table, path)
    assert "column 'label' is there 2 times" in refusal(own("a.parquet"), tmp_path).message
    wrong = pyarrow.array([b"\xff\xfe"]).view(pyarrow.string())
    pyarrow.parquet.write_table(pyarrow.table({"text": wrong, "label": [0]}), path)
    assert "not a readable parquet file" in refusal(own("a.parquet"), tmp_path).message
    pyarrow.parquet.write_table(pyarrow.table({"text": ["x\x00"], "label": [0]}), path)
    assert "row 1: column 'text' contains a NUL" in refusal(own("a.parquet"), tmp_path).message


def test_cells_with_delimiters_quotes_and_line_ends_are_read_whole(tmp_path: Path) -> None:
    rows = [f'line {n},\n""so"", 5" and ü' for n in range(24)]
    body = "".join(
        f'"{row.replace(chr(34), chr(34) * 2)}",{n % 2}\r\n' for n, row in enumerate(rows)
    )
    (tmp_path / "rows.csv").write_text(f"text,label\n\n{body}\n", encoding="utf-8", newline="")
    task = load_task(own("rows.csv"), 0, [tmp_path])
    assert {row.text for row in task.train} <= set(rows)


def test_the_field_of_the_wrong_file_is_named(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "rows.jsonl")
    task = own("rows.jsonl", test="absent.jsonl")
    assert refusal(task, tmp_path).violations[0].field == "spec.task.data.test"


def test_paths_that_leave_the_roots_look_absent(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    root.mkdir()
    outside.mkdir()
    secret = write_jsonl(outside / "rows.jsonl")
    (root / "link.jsonl").symlink_to(secret)
    (root / "folder").symlink_to(outside)
    (root / "loop.jsonl").symlink_to(root / "loop.jsonl")
    wrong = [
        "../outside/rows.jsonl",
        str(secret),
        "link.jsonl",
        "folder/rows.jsonl",
        "loop.jsonl",
        "absent.jsonl",
        "a\x00b.jsonl",
        ".",
        "x" * 400,
    ]
    for name in wrong:
        error = refusal(own(name), root)
        assert error.reason == "DATA_NOT_FOUND", name
        assert error.message.startswith(
            f"spec.task.data.train: there is no file {name!r} under this server's data roots"
        )


def test_links_and_absolute_paths_within_a_root_are_fine(tmp_path: Path) -> None:
    target = write_jsonl(tmp_path / "rows.jsonl")
    (tmp_path / "link.jsonl").symlink_to(target)
    read = [load_task(own(name), 0, [tmp_path]) for name in ("link.jsonl", str(target))]
    assert read[0] == read[1]


def test_without_roots_no_file_is_read(tmp_path: Path) -> None:
    target = write_jsonl(tmp_path / "rows.jsonl")
    assert refusal(own(str(target)), None).reason == "DATA_NOT_ALLOWED"


@pytest.mark.parametrize(
    ("limit", "value", "says"),
    [
        ("MAX_FILE_BYTES", 100, "the limit is 100"),
        ("MAX_ROWS", 5, "has more than 5 rows"),
        ("MAX_TEXT_CHARACTERS", 5, "line 1: column 'text' has more than 5 characters"),
    ],
)
def test_limits_of_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, value: int, says: str
) -> None:
    write_jsonl(tmp_path / "rows.jsonl")
    monkeypatch.setattr(files, limit, value)
    assert says in refusal(own("rows.jsonl"), tmp_path).message


def test_a_parquet_file_must_not_unfold_without_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(RECORDS), tmp_path / "a.parquet")
    monkeypatch.setattr(arrow, "MAX_PARQUET_BYTES", 10)
    assert "decompresses to more than 10 bytes" in refusal(own("a.parquet"), tmp_path).message


# -- files that are exchanged between their check and their use --------------------------------


def link(path: Path, outside: Path) -> None:
    path.unlink()
    path.symlink_to(outside / path.name)


def pipe(path: Path, outside: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def linked_folder(path: Path, outside: Path) -> None:
    path.parent.rename(path.parent.with_name("moved"))
    path.parent.symlink_to(outside)


@pytest.mark.parametrize("exchange", [link, pipe, linked_folder])
def test_what_is_exchanged_after_it_was_found_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exchange: Callable[[Path, Path], None]
) -> None:
    outside, inside = tmp_path / "outside", tmp_path / "root/folder"
    for folder in (outside, inside):
        folder.mkdir(parents=True)
        write_jsonl(folder / "rows.jsonl")
    assert load_task(own("folder/rows.jsonl"), 0, [tmp_path / "root"]).train

    found = files.resolve_data_file

    def exchanged(*given: Any) -> Path:
        path = found(*given)
        exchange(path, outside)
        return path

    monkeypatch.setattr(files, "resolve_data_file", exchanged)
    error = refusal(own("folder/rows.jsonl"), tmp_path / "root")
    assert "folder/rows.jsonl: cannot be read" in error.message
    assert error.reason == "DATA_NOT_FOUND"


def test_what_is_exchanged_while_it_is_read_was_opened_before(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "rows.jsonl", RECORDS[:2])
    with pinned(path) as opened:
        write_jsonl(tmp_path / "others.jsonl", RECORDS).replace(path)
        assert len(opened.read_text().splitlines()) == 2
        assert opened.suffix == ".jsonl"
    assert not opened.exists()
