"""What waits to be written is measured without encoding it, and never as less than it is."""

from __future__ import annotations

import threading
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
from run_store.protocols import RunFile
from trainer_service.running.write_buffer import Prune, Records, WriteBuffer, size_of

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
    assert [size_of(RunFile("a", bytes(9))), size_of(Prune(("a",)))] == [9, 0]


def event(seq: int) -> RunEvent:
    return RunEvent("a-run", seq, 1, datetime.now(UTC), MentorBack("small"))


def drained(buffer: WriteBuffer) -> list[object]:
    buffer.close()
    found: list[object] = []
    while (batch := buffer.take()) is not None:
        found.append(batch)
        buffer.done()
    return found


def test_events_and_small_files_are_written_together_and_in_order_with_the_rest() -> None:
    buffer = WriteBuffer(1 << 30, 3)
    events = [event(seq) for seq in range(1, 7)]
    small, large = RunFile("small", b"1"), RunFile("large", bytes(1 << 20), checkpoint=True)
    prune, barrier = Prune(()), threading.Event()
    for job in (events[0], small, events[1], prune, large, *events[2:], barrier):
        buffer.put(job)
    assert drained(buffer) == [
        Records((events[0], events[1]), (small,)),
        prune,
        Records((), (large,)),
        Records(tuple(events[2:5])),
        Records((events[5],)),
        barrier,
    ]


@pytest.mark.parametrize("pressing", [threading.Event(), RunFile("large", bytes(1 << 20)), "many"])
def test_a_write_follows_the_last_one_after_the_interval_unless_it_is_pressing(
    pressing: object,
) -> None:
    now = [0.0]
    buffer = WriteBuffer(1 << 30, 4, interval=100.0, clock=lambda: now[0])

    def take() -> object:
        batch = buffer.take()
        buffer.done()
        return batch

    buffer.put(event(1))
    take()
    buffer.put(event(2))
    assert buffer._left() == 100.0
    now[0] = 100.0
    assert buffer._left() == 0.0
    take()
    for job in [event(seq) for seq in range(4)] if pressing == "many" else [pressing]:
        buffer.put(job)  # type: ignore[arg-type]
    assert buffer._left() == 0.0
