"""Limits of what goes on at once hold for the threads that do it, not for who waits for them."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any, cast

import pytest

from mentorgrad.domain.agent import Agent
from mentorgrad.domain.spec import RunSpec
from mentorgrad.errors import InvalidInput, ResourceExhausted
from mentorgrad.responses import TrainerInfo
from mentorgrad.v1 import trainer_service_pb2 as pb
from mentorgrad.wire import codec
from run_store.protocols import RunStore
from service_common.decoding import DecodedRequests
from trainer_service.control_plane.importing import IMPORTS_AT_ONCE, Importer
from trainer_service.control_plane.mentor_registry import MentorRegistry
from trainer_service.control_plane.run_creation import CHECKS_AT_ONCE, RunCreation
from trainer_service.control_plane.servicer import TrainerServicer
from trainer_service.control_plane.uploading import Uploads

IMPORT_BYTES = 1 << 20


class Slow:
    """Work in threads that lasts until it is let go, and then fails."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.begun = threading.Semaphore(0)
        self.count = 0

    def __call__(self, _: Any, *, store: Any = None, warn: Any = None) -> Any:
        self.count += 1
        self.begun.release()
        assert self.go.wait(120)
        raise InvalidInput("as told")

    import_run = __call__

    async def begins(self) -> None:
        assert await asyncio.to_thread(self.begun.acquire, timeout=30)


def servicer(slow: Slow) -> TrainerServicer:
    store, mentors = cast(RunStore, slow), cast(MentorRegistry, None)
    importer = Importer(IMPORT_BYTES, 10)
    creation = RunCreation(mentors, slow, lambda: None, 1, Agent(devices=("cpu",), slots=1))
    uploads = Uploads(store, IMPORT_BYTES, timedelta(days=1))
    offered = TrainerInfo()

    def seen() -> RunStore:
        return store

    return TrainerServicer(seen, mentors, creation, lambda: None, importer, offered, uploads)


def requests(*messages: pb.ImportRunRequest) -> DecodedRequests[pb.ImportRunRequest]:
    async def raw() -> AsyncIterator[bytes]:
        for message in messages:
            yield message.SerializeToString()

    return DecodedRequests(raw(), pb.ImportRunRequest.FromString)


async def cut(slow: Slow, call: Any) -> None:
    """A call whose caller leaves while its thread works."""
    task = asyncio.ensure_future(call)
    await slow.begins()
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def one_let_in(trainer: TrainerServicer) -> bool:
    """Tries until an import is."""
    while True:
        try:
            await trainer.ImportRun(requests(), cast(Any, None))
        except ResourceExhausted:
            await asyncio.sleep(0.005)
        except InvalidInput:
            return True


async def test_an_import_that_nobody_waits_for_any_more_counts_until_it_ends() -> None:
    slow = Slow()
    trainer, context = servicer(slow), cast(Any, None)
    for _ in range(IMPORTS_AT_ONCE):
        await cut(slow, trainer.ImportRun(requests(), context))
    with pytest.raises(ResourceExhausted):
        await trainer.ImportRun(requests(), context)
    slow.go.set()
    assert await one_let_in(trainer)


async def test_an_import_of_a_great_many_empty_entries_is_refused_as_it_comes() -> None:
    """The limit is in bytes, and these are few: it would be a hundred times that as objects."""
    slow = Slow()
    message = pb.ImportRunRequest()
    message.event.run_id, message.event.seq = "r", 1
    message.event.time.seconds = 1
    for _ in range(10_000):
        message.event.segment.snapshots.add()
    assert len(message.SerializeToString()) < IMPORT_BYTES // 40
    with pytest.raises(InvalidInput, match="entries per import") as caught:
        await servicer(slow).ImportRun(requests(message, message), cast(Any, None))
    assert caught.value.violations[0].field == "events[1].payload.segment.snapshots"
    assert slow.count == 0


async def test_a_check_that_nobody_waits_for_any_more_counts_until_it_ends() -> None:
    slow = Slow()
    trainer, context = servicer(slow), cast(Any, None)
    request = pb.CreateRunRequest(spec=codec.to_message(RunSpec()))
    for _ in range(CHECKS_AT_ONCE):
        await cut(slow, trainer.CreateRun(request, context))
    waiting = asyncio.ensure_future(trainer.CreateRun(request, context))
    await asyncio.wait({waiting}, timeout=0.05)
    assert slow.count == CHECKS_AT_ONCE
    slow.go.set()
    with pytest.raises(InvalidInput, match="as told"):
        await waiting
