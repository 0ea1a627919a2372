"""JSON arrays, item by item."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mentorgrad.tables import json_array
from mentorgrad.tables.malformed import MalformedError
from mentorgrad.tables.records import TableForm, records

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=8,
)


@pytest.fixture
def _small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_array, "_PIECE", 3)


def items(path: Path, text: str, encoding: str = "utf-8") -> list[Any]:
    path.write_bytes(text.encode("utf-16" if encoding == "utf-16" else "utf-8"))
    assert json_array.is_json_array(path, encoding)
    return list(json_array.json_items(path, encoding, dict))


@pytest.mark.slow
@pytest.mark.usefixtures("_small_pieces")
@given(st.lists(JSON, max_size=4), st.sampled_from([None, 1]), st.booleans())
def test_items_are_those_of_the_whole_text(
    tmp_path_factory: pytest.TempPathFactory, value: list[Any], indent: int | None, plain: bool
) -> None:
    path = tmp_path_factory.getbasetemp() / "items.json"
    text = json.dumps(value, indent=indent, ensure_ascii=plain)
    text.encode(errors="replace")
    if plain or all(ord(letter) < 0xD800 or ord(letter) > 0xDFFF for letter in text):
        assert items(path, f" {text}\n") == value


@pytest.mark.usefixtures("_small_pieces")
@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[1, 2", "item 2: not valid JSON (Expecting ',' delimiter)"),
        ("[1, ", "item 2: not valid JSON (Expecting value)"),
        ("[1,]", "item 2: not valid JSON"),
        ("[", "item 1: not valid JSON"),
        ("[1 2]", "item 1: not valid JSON (Expecting ',' delimiter)"),
        ('[{"a": 1}] x', "item 1: not valid JSON (Extra data)"),
        ('[1, {"a": "b]', "item 2: not valid JSON (Unterminated string"),
        ("[1, {'a': 1}]", "item 2: not valid JSON (Expecting property name"),
        ("[" * 100_000, "item 1: not valid JSON (nested too deeply)"),
        ("[1" + "0" * 5000 + "]", "item 1: not valid JSON (Exceeds"),
    ],
)
def test_what_is_no_array_is_named_by_its_item(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(MalformedError) as caught:
        items(tmp_path / "a.json", text)
    assert str(caught.value).startswith(says)


def test_an_item_that_does_not_end_is_refused_before_it_fills_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_array, "MAX_ITEM", 1000)
    monkeypatch.setattr(json_array, "_PIECE", 100)
    with pytest.raises(MalformedError, match="item 2: has more than 1000 characters"):
        items(tmp_path / "a.json", '[1, "' + "x" * 5000 + '"]')


def test_other_encodings_are_decoded_and_wrong_bytes_are_named(tmp_path: Path) -> None:
    assert items(tmp_path / "a.json", '["ä"]', "utf-16") == ["ä"]
    assert items(tmp_path / "a.json", '\ufeff["ä"]') == ["ä"]
    (tmp_path / "a.json").write_bytes(b'["\xff"]')
    with pytest.raises(MalformedError, match="not valid UTF-8"):
        list(json_array.json_items(tmp_path / "a.json", "utf-8", dict))


def test_memory_holds_far_less_than_the_file(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    rows = [{"text": f"text {number} " * 50, "label": 1} for number in range(3000)]
    path.write_text(json.dumps(rows))
    size = path.stat().st_size
    del rows
    tracemalloc.start()
    try:
        count = sum(1 for _ in records(path, ["text", "label"], TableForm()))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert count == 3000
    assert peak < size
