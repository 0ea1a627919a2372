"""What makes an answer fit to be sent and kept, whatever a model or its server said.

A raw reply is recorded as it came. Two things cannot be: what UTF-8 cannot spell, and replies so
long that the answer would be refused as a message, together with the outcome that it carries.
"""

from __future__ import annotations

from dataclasses import replace

from mentorgrad.domain.advice import Answer, AnswerRecord

MAX_REPLY_BYTES = 4_000_000
"""Most bytes of all raw replies of one answer: half of what a message may have, and no more than a
record may have of one."""
_MAX_DETAIL = 2_000


def sendable(answer: Answer) -> Answer:
    """The answer with texts that can be sent. Where its raw replies are longer than
    `MAX_REPLY_BYTES` together, each is cut to its share, and `detail` says so."""
    detail, records = _spelt(answer.detail)[:_MAX_DETAIL], tuple(map(_readable, answer.records))
    replies = [reply for record in records for reply in record.raw_replies]
    if sum(len(reply.encode()) for reply in replies) > MAX_REPLY_BYTES:
        share = MAX_REPLY_BYTES // len(replies)
        records = tuple(_cut(record, share) for record in records)
        note = f"raw replies are recorded up to {share} bytes"
        detail = f"{detail}; {note}" if detail else note
    return replace(answer, detail=detail, records=records)


def text_size(answer: Answer) -> int:
    """Characters of an answer, about."""
    told = sum(
        len(item.text) + len(item.rationale) + 8 * len(item.values) for item in answer.proposals
    )
    said = sum(
        len(record.question) + sum(map(len, record.raw_replies)) for record in answer.records
    )
    return told + said + len(answer.detail)


def _readable(record: AnswerRecord) -> AnswerRecord:
    return replace(record, raw_replies=tuple(map(_spelt, record.raw_replies)))


def _cut(record: AnswerRecord, share: int) -> AnswerRecord:
    cut = (reply.encode()[:share].decode(errors="ignore") for reply in record.raw_replies)
    return replace(record, raw_replies=tuple(cut))


def _spelt(text: str) -> str:
    # A lone surrogate is a character here and none in UTF-8.
    return text.encode("utf-8", "replace").decode()
