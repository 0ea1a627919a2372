"""What cannot be read is refused by file, row and column, with what would be right."""

from __future__ import annotations

import builtins
import os
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mentorgrad.errors import InvalidInput, Unsupported
from mentorgrad.installed import pip_line
from mentorgrad.tables import read_table, records, source
from mentorgrad.tables.records import TableForm
from tests.support.own_tables import plain, put, write_table

ROWS = "".join(f"text {n},{n % 2}\n" for n in range(12))


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.csv", b"", "is empty; it must have a header and at least one row"),
        ("a.csv", b"text,label\n", "has no row with a text in column 'text' and a label in"),
        ("a.csv", b"text,label\n,1\n  ,2\n", "has no row with a text"),
        ("a.csv", b"text,label\nx,1\ny,1\n", "every row has the label '1'; a task needs two"),
        ("a.csv", b"text,label\nx,1\nX,2\n", "3 splits need 3 different texts"),
        ("a.csv", f"text,label\n{ROWS}x,1,2\n", "line 14: has 3 cells, but the header has 2"),
        ("a.csv", f'text,label\n{ROWS}"a, b",1\n"x,1\n', "line 15: a quote that opens here"),
        ("a.csv", f"text,label\n{ROWS}{'x' * 10**6},1\n", "line 14, column 'text': the text has 1"),
        ("a.csv", f"text,label\n{ROWS}x,{'y' * 300}\n", "line 14, column 'label': a label may"),
        (
            "a.csv",
            "text,label\n" + "".join(f"text {n},words {n}\n" for n in range(1001)),
            "line 1002, column 'label': the column has over 1000 different labels",
        ),
        ("a.csv", bytes(range(256)) * 20, "is not text, but binary data"),
        ("a.csv", b"PK\x03\x04 and so on", "is a zip archive .* must end in .xlsx"),
        ("a.csv", b"\x1f\x8b and so on", "compressed by gzip; decompress it"),
        ("a.csv", "text,label\né ü,1\n".encode() + b"\xe9 so,2\n", "line 3 .*most of the file is"),
        ("a.csv", b"text,label\rx,1\r", "line 1: a carriage return stands outside quotes"),
        ("a.csv", b"text,label\n\x81\x8d,1\n", "line 2 is not UTF-8; name the encoding"),
        ("a.jsonl", '{"text": "x", "label": [1]}', "line 1, column 'label': holds a list; it must"),
        ("a.jsonl", '{"text": {}, "label": 1}', "line 1, column 'text': holds an object"),
        ("a.jsonl", '{"text": "x", "label": 1}\n{"te', "line 2: not valid JSON"),
        ("a.json", '{"text": ["x"], "label": [1]}', "line 1, column 'text': holds a list"),
        ("a.parquet", b"no parquet", "not a readable parquet file"),
        ("a.arrow", b"no arrow", "not a readable Arrow stream"),
        ("a.xlsx", b"no workbook", "not a readable Excel workbook"),
        ("a.xls", b"\xd0\xcf\x11\xe0", "unknown file type; the name must end in one of .jsonl"),
    ],
)
def test_a_file_that_is_no_table(
    tmp_path: Path, name: str, content: str | bytes, says: str
) -> None:
    with pytest.raises(InvalidInput, match=rf"{name}: .*{says}") as caught:
        read_table(put(tmp_path / name, content))
    assert "\n" not in caught.value.message


def test_paths_that_are_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    (tmp_path / "empty").mkdir()
    (tmp_path / "folder.csv").mkdir()
    for name, says in (
        ("none.csv", "there is no such file"),
        ("pipe.csv", "is not a regular file"),
        ("empty", "is a folder without data files; name a file"),
        ("folder.csv", "is a folder without data files; name a file"),
        ("a\x00.csv", "cannot be read"),
        ("x" * 400 + ".csv", "cannot be read"),
    ):
        with pytest.raises(InvalidInput, match=says):
            read_table(tmp_path / name)
    put(tmp_path / "empty" / "a.csv", ROWS)
    put(tmp_path / "empty" / "b.csv", ROWS)
    with pytest.raises(InvalidInput, match=r"several tables \(a.csv, b.csv.*; name one of them"):
        read_table(tmp_path / "empty")


def test_a_file_without_the_right_to_read_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied")

    path = write_table(tmp_path / "a.csv", plain(12))
    monkeypatch.setattr(Path, "open", refuse)  # root may read everything
    with pytest.raises(InvalidInput, match=r"a\.csv: this user may not read it; allow reading it"):
        read_table(path)


def test_a_file_that_grows_while_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_table(tmp_path / "a.csv", plain(12))
    read = records.records

    def grow(*arguments: Any) -> Any:
        for count, record in enumerate(read(*arguments)):
            yield record
            if count < 20:  # for ever, were it not for the check
                with path.open("a") as file:
                    file.write("more,yes\n")

    monkeypatch.setattr(source, "records", grow)
    monkeypatch.setattr(source, "_CHECKED_ROWS", 4)
    with pytest.raises(InvalidInput, match=r"a\.csv: changes while it is read; make a copy"):
        read_table(path)


def test_a_workbook_must_not_unfold_without_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mentorgrad.tables import excel

    path = write_table(tmp_path / "a.xlsx", plain(12))
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/worksheets/sheet2.xml", b" " * 10**6)
    monkeypatch.setattr(excel, "MAX_EXCEL_BYTES", 10**6)
    with pytest.raises(InvalidInput, match="decompresses to more than 1000000 bytes; save the she"):
        read_table(path)
    monkeypatch.undo()
    monkeypatch.setattr(excel, "MAX_SHARED_BYTES", 100)
    with pytest.raises(InvalidInput, match="its texts decompress to more than 100 bytes"):
        read_table(path)


def test_a_workbook_that_defines_entities_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.xlsx"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("xl/workbook.xml", '<?xml version="1.0"?><!DOCTYPE x [<!ENTITY y "z">]>')
    with pytest.raises(InvalidInput, match=r"xl/workbook.xml declares a document type"):
        read_table(path)


@pytest.mark.parametrize(("name", "package"), [("a.parquet", "pyarrow"), ("a.xlsx", "openpyxl")])
def test_a_missing_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, package: str
) -> None:
    path = write_table(tmp_path / name, plain(12))
    load: Callable[..., Any] = builtins.__import__

    def without(module: str, *rest: Any) -> Any:
        if module.partition(".")[0] == package:
            raise ImportError(module)
        return load(module, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(Unsupported, match=re.escape(f"need {package}; run: {pip_line('tables')}")):
        read_table(path)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"encoding": "klingon"}, "no encoding 'klingon'; --encoding takes names such as utf-8"),
        ({"encoding": "base64"}, "no encoding 'base64'"),
        ({"encoding": "utf-16"}, "line 1 or after it: not valid utf-16|no column"),
        ({"delimiter": ",,"}, "delimiter must be one character"),
        ({"delimiter": '"'}, "delimiter must be one character"),
        ({"quoting": "single"}, "quoting must be one of: doubled, backslash, none"),
        ({"rare": "keep"}, "rare must be drop or merge"),
        ({"selection_rows": 0}, "selection_rows must be at least 1"),
        ({"group": "author"}, "there is no column 'author'"),
    ],
)
def test_arguments_that_do_not_fit(tmp_path: Path, fields: dict[str, Any], says: str) -> None:
    path = write_table(tmp_path / "a.csv", plain(12))
    with pytest.raises(InvalidInput, match=says):
        read_table(path, **fields)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_a_line_without_end_is_not_read_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoding: str
) -> None:
    monkeypatch.setattr(records, "MAX_LINE", 100)
    line = '{"text": "' + "x" * 200 + '", "label": 1}'
    path = put(tmp_path / "a.jsonl", line.encode(encoding))
    with pytest.raises(records.MalformedError, match="line 1: has more than 100 "):
        list(records.records(path, (), TableForm(encoding)))


def test_a_table_that_is_its_own_test_file_leaves_no_labels(tmp_path: Path) -> None:
    path = write_table(tmp_path / "a.csv", plain(12))
    with pytest.raises(InvalidInput, match=r"0 labels are left.* 12 rows \(have a text of the"):
        read_table(path, test=path, rare="drop")


def test_a_split_of_another_name_is_refused(tmp_path: Path) -> None:
    table = read_table(write_table(tmp_path / "a.csv", plain(12)))
    with pytest.raises(InvalidInput, match="one of: train, selection, test; not 'validation'"):
        next(table.rows("validation"))


def test_a_sheet_with_a_row_far_below_the_last_possible_one_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mentorgrad.tables import excel

    path = write_table(tmp_path / "a.xlsx", plain(12))
    monkeypatch.setattr(excel, "MAX_EXCEL_ROWS", 5)
    with pytest.raises(InvalidInput, match="has more than 5 rows"):
        read_table(path)


def test_broken_files_of_other_formats_are_refused_in_one_line(tmp_path: Path) -> None:
    for name in ("a.parquet", "a.xlsx"):
        whole = write_table(tmp_path / name, plain(300)).read_bytes()
        for cut in (len(whole) // 2, len(whole) - 30):
            path = put(tmp_path / name, whole[:cut])
            with pytest.raises(InvalidInput, match=f"{name}: not a readable") as caught:
                read_table(path)
            assert "\n" not in caught.value.message
