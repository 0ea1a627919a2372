"""What a custom training loop says of its job when it opens a session."""

from __future__ import annotations

import pytest

from mentorgrad.domain.advice import TaskCard
from mentorgrad.errors import InvalidInput
from mentorgrad.session_options import open_request


def test_the_card_is_what_the_loop_says() -> None:
    opened = open_request(
        "what it is about", labels=["a", "b"], proposal="a phrase", place="behind {label}"
    )
    assert opened.card == TaskCard(
        "external", "what it is about", ("a", "b"), "a phrase", "behind {label}"
    )


def test_a_loop_need_not_say_what_a_proposal_is() -> None:
    assert open_request("what it is about").card == TaskCard("external", "what it is about")


def test_the_card_is_bounded() -> None:
    with pytest.raises(InvalidInput, match=r"card\.place"):
        open_request("what it is about", place="x" * 101)
