"""Run ids sort by time; page tokens cannot be forged into something a database chokes on."""

from __future__ import annotations

import base64
import json
import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mentorgrad.errors import InvalidInput
from mentorgrad.ids import new_run_id
from run_store import invariants, page_tokens


def test_run_ids_are_unique_and_ascending() -> None:
    found = [new_run_id() for _ in range(2000)]
    assert sorted(set(found)) == found
    assert all(len(run_id) == 26 and invariants.is_run_id(run_id) for run_id in found)
    assert all(run_id == run_id.lower() for run_id in found)


def test_run_ids_of_many_threads_are_unique() -> None:
    found: list[str] = []
    threads = [
        threading.Thread(target=lambda: found.extend(new_run_id() for _ in range(500)))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 4000


KEYS = st.tuples(
    st.booleans(), st.floats(allow_nan=False, allow_infinity=False), st.integers(0, 2**62)
)


@given(KEYS)
def test_a_token_gives_its_position_back(position: tuple[Any, ...]) -> None:
    token = page_tokens.encode(position, "q")
    assert page_tokens.decode(token, "q", (bool, float, int)) == position
    assert token.isascii()


@given(st.text(max_size=300) | st.binary(max_size=80).map(lambda b: base64.b64encode(b).decode()))
def test_any_other_text_is_refused(text: str) -> None:
    if text:
        with pytest.raises(InvalidInput) as caught:
            page_tokens.decode(text, "q", (int, str))
        assert caught.value.reason == "BAD_PAGE_TOKEN"


@pytest.mark.parametrize(
    "parts",
    [
        ["q", 2**64, "a"],
        ["q", True, "a"],
        ["q", 1, "a\x00"],
        ["q", 1, "\ud800"],
        ["q", 1],
        ["q", 1.5, "a"],
        ["other", 1, "a"],
        {"q": 1},
        ["q", 1, ["a"]],
    ],
)
def test_forged_tokens_are_refused(parts: Any) -> None:
    token = base64.urlsafe_b64encode(json.dumps(parts).encode()).decode()
    with pytest.raises(InvalidInput) as caught:
        page_tokens.decode(token, "q", (int, str))
    assert caught.value.reason == "BAD_PAGE_TOKEN"


def test_the_digest_tells_queries_apart() -> None:
    assert page_tokens.digest("a", {"x": 1, "y": 2}) == page_tokens.digest("a", {"y": 2, "x": 1})
    assert page_tokens.digest("a", {"x": 1}) != page_tokens.digest("a", {"x": 2})
