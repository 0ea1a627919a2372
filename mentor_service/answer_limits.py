"""Limits that make an answer safe to send and store, whatever the model replied.

Raw replies are recorded unchanged, with two exceptions: characters that UTF-8 cannot encode are
replaced, and replies that would make the answer exceed the message limit are truncated.
"""

from __future__ import annotations

import sys
from dataclasses import replace

from mentorgrad.domain.advice import Answer, AnswerRecord

MAX_REPLY_BYTES = 4_000_000
"""Maximum bytes of all raw replies of one answer together: half of the message limit, and no more
than a record may hold of one reply."""
_MAX_DETAIL = 2_000


def sendable(answer: Answer) -> Answer:
    """Returns the answer with texts that can be sent. If its raw replies exceed `MAX_REPLY_BYTES`
    together, each is truncated to an equal share, and `detail` says so."""
    detail = encodable(answer.detail)[:_MAX_DETAIL]
    records = tuple(
        replace(record, raw_replies=tuple(map(encodable, record.raw_replies)))
        for record in answer.records
    )
    replies = [reply for record in records for reply in record.raw_replies]
    if sum(len(reply.encode()) for reply in replies) > MAX_REPLY_BYTES:
        share = MAX_REPLY_BYTES // len(replies)
        records = tuple(_cut(record, share) for record in records)
        note = f"raw replies are truncated to {share} bytes each"
        detail = f"{detail}; {note}" if detail else note
    return replace(answer, detail=detail, records=records)


def memory_of(text: str) -> int:
    """Bytes that a text takes in memory: one to four per character, and some 50 more. All empty
    texts are one object."""
    return sys.getsizeof(text) if text else 0


def text_size(answer: Answer) -> int:
    """Approximate bytes that an answer takes in memory."""
    proposed = sum(
        memory_of(item.text) + memory_of(item.rationale) + 8 * len(item.values)
        for item in answer.proposals
    )
    recorded = sum(
        memory_of(record.question) + sum(map(memory_of, record.raw_replies))
        for record in answer.records
    )
    return proposed + recorded + memory_of(answer.detail)


def _cut(record: AnswerRecord, share: int) -> AnswerRecord:
    cut = (reply.encode()[:share].decode(errors="ignore") for reply in record.raw_replies)
    return replace(record, raw_replies=tuple(cut))


def encodable(text: str) -> str:
    """Replaces lone surrogates, which JSON can escape but UTF-8, and so protobuf, cannot encode."""
    return text.encode("utf-8", "replace").decode()
