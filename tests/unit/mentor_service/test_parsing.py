from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mentor_service import formats
from mentor_service.parsing import Parsed, canonical
from mentorgrad.domain.advice import Constraints, ProposalKind

WORDS = Constraints(kind=ProposalKind.TEXT, n_tokens=8, max_words=4)
NUMBERS = Constraints(kind=ProposalKind.NUMBERS, dimensions=3, lower=-5.12, upper=5.12)

NEAR_LINES = st.lists(
    st.one_of(
        st.text(max_size=40),
        st.from_regex(r"[0-9]{1,2}[.)] [A-Za-z' ]{0,40}", fullmatch=True),
        st.from_regex(r"[0-9]{1,2}[.] (-?[0-9]{1,3}[.]?[0-9]{0,3}[ ,]){0,4}", fullmatch=True),
    ),
    max_size=8,
).map("\n".join)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)
NEAR_JSON = st.one_of(
    VALUES.map(json.dumps),
    st.lists(
        st.fixed_dictionaries({}, optional={"text": VALUES, "values": VALUES, "rationale": VALUES}),
        max_size=4,
    ).map(lambda items: "Sure:\n```json\n" + json.dumps({"proposals": items})),
)
REPLIES = st.one_of(st.text(), NEAR_LINES, NEAR_JSON)


def read(reply: str, limits: Constraints = WORDS, *, as_json: bool = False, **more: bool) -> Parsed:
    parsed = Parsed(limits, known=("already there",))
    parsed.read(reply, as_json, **more)
    return parsed


@pytest.mark.slow
@given(reply=REPLIES, as_json=st.booleans(), complete=st.booleans())
def test_any_reply_gives_words_within_the_constraints(
    reply: str, as_json: bool, complete: bool
) -> None:
    parsed = read(reply, as_json=as_json, complete=complete)
    texts = [item.text for item in parsed.found]
    assert len(set(texts)) == len(texts)
    for text in texts:
        words = text.split(" ")
        assert 1 <= len(words) <= WORDS.max_words
        assert all(word.isalpha() for word in words)
        assert text != "already there"
        assert canonical(text) == text
    assert "\n" not in parsed.detail()


@pytest.mark.slow
@given(reply=REPLIES, as_json=st.booleans(), complete=st.booleans())
def test_any_reply_gives_numbers_within_the_bounds(
    reply: str, as_json: bool, complete: bool
) -> None:
    for item in read(reply, NUMBERS, as_json=as_json, complete=complete).found:
        assert len(item.values) == NUMBERS.dimensions
        assert all(NUMBERS.lower <= value <= NUMBERS.upper for value in item.values)


@given(st.lists(st.lists(st.floats(-5.12, 5.12), min_size=3, max_size=3), min_size=1, max_size=5))
def test_numbers_that_are_written_are_read_again(points: list[list[float]]) -> None:
    form = formats.number_format(NUMBERS)
    reply = "\n".join(formats.number_line(n, point, form) for n, point in enumerate(points, 1))
    written = [tuple(float(form.write(value)) for value in point) for point in points]
    assert [item.values for item in read(reply, NUMBERS).found] == list(dict.fromkeys(written))


@given(st.lists(st.lists(st.sampled_from(["a", "tall", "ship"]), min_size=1, max_size=4)))
def test_words_that_are_written_are_read_again(phrases: list[list[str]]) -> None:
    texts = [" ".join(words) for words in phrases]
    reply = "\n".join(formats.text_line(n, text) for n, text in enumerate(texts, 1))
    as_json = formats.json_reply([{"rationale": "it may help", "text": text} for text in texts])
    expected = list(dict.fromkeys(texts))
    assert [item.text for item in read(reply).found] == expected
    found = read(as_json, as_json=True).found
    assert [item.text for item in found] == expected
    assert all(item.rationale == "it may help" for item in found)


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ("1. one two three four five", "longer than 4 words"),
        ("1. the price is 12", "not plain words"),
        ("1. bell\x07 rings", "not plain words"),
        ("1. ...", "empty"),
        ("1. the same\n2. The same.", "repeated in the reply"),
        ("1. Already  there!", "already known"),
    ],
)
def test_what_is_dropped_is_said(reply: str, reason: str) -> None:
    parsed = read(reply)
    assert reason in parsed.dropped
    assert parsed.detail().startswith("dropped 1: 1 ")


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ("1. 1.0 2.0", "not 3 numbers"),
        ("1. 1.0 2.0 9.0", "out of bounds"),
        ("1. one two three", "not numbers"),
    ],
)
def test_numbers_that_are_dropped_are_said(reply: str, reason: str) -> None:
    assert read(reply, NUMBERS).dropped[reason] == 1


def test_a_reply_that_was_cut_off_loses_its_last_line_only() -> None:
    parsed = read("1. whole line\n2. half a li", complete=False)
    assert [item.text for item in parsed.found] == ["whole line"]
    assert parsed.dropped["cut off by the token limit"] == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    "reply", ["", "no json here", "{", '{"proposals": 3}', '{"a": [', "[" * 9999]
)
def test_a_reply_without_usable_json_gives_a_reason_and_nothing_else(reply: str) -> None:
    parsed = read(reply, as_json=True)
    assert parsed.found == []
    assert parsed.detail()


@pytest.mark.parametrize(("cut", "whole"), [(2, 3), (4, 2), (20, 2), (40, 2), (60, 1)])
def test_json_that_was_cut_off_keeps_its_whole_items(cut: int, whole: int) -> None:
    texts = ["a bird", "a fish", "a whale"]
    reply = json.dumps({"proposals": [{"rationale": "[{", "text": text} for text in texts]})
    parsed = read("So:\n```json\n" + reply[:-cut], as_json=True, complete=False)
    assert [item.text for item in parsed.found] == texts[:whole]
    assert "cut off" in parsed.detail()


def test_json_numbers_that_are_none_are_dropped() -> None:
    items = '[true, 1, 2], [1e999, 1, 2], ["1", 1, 2], [NaN, 1, 2], [1, 2, 3]'
    parsed = read(f'{{"proposals": [{items}]}}', NUMBERS, as_json=True)
    assert [item.values for item in parsed.found] == [(1.0, 2.0, 3.0)]
    assert parsed.dropped["not finite"] == 4


def test_a_lone_surrogate_in_a_rationale_can_be_sent() -> None:
    reply = '{"proposals": [{"text": "good words here", "rationale": "\\\\ud83d no"}]}'
    (found,) = read(reply, as_json=True).found
    assert found.rationale.encode()
