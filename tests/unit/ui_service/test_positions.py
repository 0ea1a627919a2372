"""Positions of streams: what a tab says it has."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mentorgrad.errors import InvalidInput
from ui_service.positions import MAX_RUNS, Positions, joined, parse, resumed

ids = st.text(string.ascii_lowercase + string.digits, min_size=1, max_size=26)
several = st.dictionaries(ids, st.integers(0, 10**17), min_size=1, max_size=MAX_RUNS)


@given(several)
def test_an_event_id_says_all_positions(found: dict[str, int]) -> None:
    assert parse(joined(found).split(",")) == found
    assert resumed(dict.fromkeys(found, 0), joined(found)) == found


@given(st.text(max_size=40))
def test_whatever_an_event_id_is_it_is_read_or_refused(text: str) -> None:
    refused: tuple[str, str] | None = None
    found: Positions = {}
    try:
        found = resumed({"a": 3}, text)
    except InvalidInput as error:
        refused = (error.reason, error.violations[0].field)
    assert found.keys() == {"a"} or refused == ("BAD_POSITION", "Last-Event-ID")


@pytest.mark.parametrize(
    "items",
    [
        [],
        [""],
        ["a"],
        ["a:"],
        [":1"],
        ["a:-1"],
        ["a:01"],
        ["a:١"],
        ["a:1:2"],
        ["a:1\n"],
        ["a:1", "a:2"],
        ["a:" + "9" * 19],
        [f"r{n}:0" for n in range(MAX_RUNS + 1)],
    ],
)
def test_what_is_no_position_is_refused(items: list[str]) -> None:
    with pytest.raises(InvalidInput) as refused:
        parse(items)
    assert refused.value.reason == "BAD_POSITION"


def test_the_header_is_about_the_runs_of_the_address() -> None:
    assert resumed({"a": 1, "b": 2}, "b:5,a:4") == {"a": 4, "b": 5}
    for header in ("a:4", "a:4,b:5,c:6", "a:4,c:5"):
        with pytest.raises(InvalidInput):
            resumed({"a": 1, "b": 2}, header)
