"""What waits to be written is measured without encoding it, and never as less than it is."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest

from mentorgrad.domain.advice import Answer, AnswerRecord, Proposal
from mentorgrad.domain.event import (
    CandidatesScored,
    CheckpointSaved,
    MentorBack,
    Payload,
    ProposalsReceived,
    RunEvent,
    Segment,
    StageStarted,
)
from mentorgrad.domain.run import Candidate, Snapshot
from mentorgrad.wire import codec
from trainer_service.running.write_buffer import Blob, Prune, size_of

WORDS = "eight words " * 40
PAYLOADS: list[Payload] = [
    MentorBack("small"),
    StageStarted(1, 40, WORDS[:200], "cpu"),
    CheckpointSaved(40, "checkpoint-40.safetensors", 1 << 20, "0" * 64),
    Segment(0, 1, 64, tuple(Snapshot(i, 0.5, text=WORDS) for i in range(64))),
    Segment(0, 1, 64, (Snapshot(64),), np.zeros((64, 8, 384), np.float32)),
    CandidatesScored(0, tuple(Candidate(str(i), text=WORDS, toward_text=WORDS) for i in range(16))),
    ProposalsReceived(
        0,
        Answer(
            "s0",
            proposals=(Proposal(text=WORDS), Proposal(values=(1.0,) * 999)),
            records=(AnswerRecord("m", question=WORDS * 99, raw_replies=(WORDS, WORDS)),),
        ),
    ),
]


@pytest.mark.parametrize("payload", PAYLOADS, ids=lambda payload: type(payload).__name__)
def test_an_event_is_counted_with_its_texts_numbers_and_tensors(payload: Payload) -> None:
    event = RunEvent("a-run", 1, 1, datetime.now(UTC), payload)
    encoded = len(codec.encode_event(event))
    assert encoded <= size_of(event) <= 2 * encoded + 1024 * 64


def test_a_blob_is_counted_and_other_jobs_are_not() -> None:
    assert [size_of(Blob("a", bytes(9), False)), size_of(Prune(("a",)))] == [9, 0]
