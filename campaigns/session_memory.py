"""Fills a mentor's sessions as far as it lets one caller, and looks at its memory and its answers.

    python -m campaigns.session_memory [--sessions 8] [--batches 40]

The texts are of characters that take four bytes each. All batches of all sessions are kept by the
sender's will: a session ends only if the mentor refuses it. Meanwhile another caller asks for the
mentor's description, again and again.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import grpc

from mentorgrad.v1 import advice_pb2
from mentorgrad.v1 import mentor_service_pb2 as pb
from mentorgrad.v1.mentor_service_pb2_grpc import MentorServiceStub
from mentorgrad.wire.channels import stream_channel, unary_channel
from tests.support.child import Child

LETTER = "\U0001f600"
_CHARACTERS = 100_000
_TEXTS = 18
"""Texts per batch: 7.2 MB, just below the limit of a message."""


def batch(seq: int) -> pb.AdviseRequest:
    """Snapshots and candidates whose texts fill a message."""
    made = advice_pb2.Batch(seq=seq)
    for n in range(_TEXTS // 2):
        made.snapshots.add(step=seq * _TEXTS + n, text=LETTER * _CHARACTERS)
        made.candidates.add(candidate_id=f"c{seq}/{n}", text=LETTER * _CHARACTERS)
    return pb.AdviseRequest(batch=made)


async def filled(stub: Any, name: str, batches: int, held: list[Any]) -> str:
    """Fills one session and leaves it open; returns how it went."""
    call = stub.Advise()
    held.append(call)
    try:
        await call.write(pb.AdviseRequest(open=advice_pb2.AdviseOpen(session_id=name)))
        await call.read()
        for seq in range(1, batches + 1):
            await call.write(batch(seq))
            if (await call.read()) is grpc.aio.EOF:
                break
        else:
            return "open"
        return (await call.code()).name
    except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
        return (await call.code()).name


async def answering(address: str, seconds: list[float]) -> None:
    """Another caller."""
    async with unary_channel(address) as channel:
        stub: Any = MentorServiceStub(channel)
        while True:
            began = time.perf_counter()
            await stub.GetMentorInfo(pb.GetMentorInfoRequest())
            seconds.append(time.perf_counter() - began)
            await asyncio.sleep(0.02)


async def attack(mentor: Child, sessions: int, batches: int) -> dict[str, Any]:
    """The figures of one attack."""
    before = mentor.memory()
    seconds: list[float] = []
    other = asyncio.create_task(answering(mentor.address, seconds))
    held: list[Any] = []
    async with stream_channel(mentor.address) as channel:
        stub: Any = MentorServiceStub(channel)
        ways = [filled(stub, f"s{n}", batches, held) for n in range(sessions)]
        outcomes = Counter(await asyncio.gather(*ways))
        grown = mentor.memory() - before
    other.cancel()
    slowest = sorted(seconds)
    return {
        "sessions": sessions,
        "sent_mib": sessions * batches * _TEXTS * _CHARACTERS * 4 >> 20,
        "outcomes": dict(outcomes),
        "memory_grown_mib": grown >> 20,
        "others_calls": len(seconds),
        "others_p99_ms": round(slowest[int(len(slowest) * 0.99)] * 1000, 1) if slowest else None,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sessions", type=int, default=8)
    parser.add_argument("--batches", type=int, default=40)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        mentor = Child(Path(folder) / "mentor.log", "tests.support.scripted_mentor", "0")
        try:
            found = asyncio.run(attack(mentor, arguments.sessions, arguments.batches))
        finally:
            mentor.stop()
    print(json.dumps(found))


if __name__ == "__main__":
    main()
