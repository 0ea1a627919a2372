from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mentor_service.answer_limits import MAX_REPLY_BYTES, sendable
from mentorgrad.domain.advice import Answer, AnswerRecord, AnswerStatus
from mentorgrad.wire.channels import MAX_MESSAGE_BYTES
from mentorgrad.wire.codec import decode, encode, from_message, to_message


def answer(*replies: str, detail: str = "") -> Answer:
    records = tuple(AnswerRecord("live", raw_replies=(reply,)) for reply in replies)
    return Answer("r1", AnswerStatus.UNUSABLE, records=records, detail=detail)


@given(st.lists(st.text(st.characters(), max_size=20), max_size=3), st.text(st.characters()))
def test_any_text_can_be_sent_and_none_is_changed_without_need(
    replies: list[str], detail: str
) -> None:
    sent = sendable(answer(*replies, detail=detail))
    assert decode(Answer, encode(sent)) == sent
    said = [record.raw_replies[0] for record in sent.records]
    assert said == [reply.encode("utf-8", "replace").decode() for reply in replies]


@pytest.mark.slow
@pytest.mark.parametrize(("letter", "count"), [("a", 1), ("\U0001f525", 2), ("ж", 5)])
def test_replies_that_are_too_long_together_are_cut_and_the_detail_says_so(
    letter: str, count: int
) -> None:
    whole = letter * 4_000_001
    sent = sendable(answer(*[whole] * count, detail="dropped 1: 1 empty"))
    message = to_message(sent)
    assert from_message(Answer, message, checked=True) == sent
    assert message.ByteSize() < MAX_MESSAGE_BYTES * 3 // 4
    for record in sent.records:
        (said,) = record.raw_replies
        assert said == letter * len(said)
        assert 0 <= MAX_REPLY_BYTES // count - len(said.encode()) < 4
    assert sent.detail.startswith("dropped 1: 1 empty; raw replies are truncated to")


def test_replies_just_short_enough_are_whole() -> None:
    given = answer("a" * (MAX_REPLY_BYTES - 1), "b")
    assert sendable(given) == given


def test_a_long_detail_is_cut() -> None:
    assert from_message(Answer, to_message(sendable(answer(detail="x" * 10**6))), checked=True)
