"""What an import keeps of the messages that come."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import cast

import numpy as np
import pytest

from mentorgrad.domain.event import RunEvent, Segment
from mentorgrad.domain.run import Run, Snapshot
from mentorgrad.errors import InvalidInput
from run_store.protocols import RunWriter
from trainer_service.control_plane import tensor_arena
from trainer_service.control_plane.importing import Importer


class Keeper:
    """A store that keeps what it is given."""

    def __init__(self) -> None:
        self.events: list[RunEvent] = []

    def import_run(self, events: Sequence[RunEvent]) -> Run:
        self.events = list(events)
        return Run()


def log(count: int) -> list[bytes]:
    """As many requests, each with the number of its event."""
    return [str(seq).encode() for seq in range(1, count + 1)]


async def sending(requests: Iterable[bytes], pause: bool = False) -> AsyncIterator[bytes]:
    for request in requests:
        if pause:
            await asyncio.sleep(0)
        yield request


def read(request: bytes, index: int) -> RunEvent:
    assert int(request) == index + 1
    segment = Segment(0, 1, 1, (Snapshot(1, 0.5),), np.full((1, 64), index, np.float32))
    return RunEvent("r", index + 1, 1, datetime.now(UTC), segment)


class KeptImporter(Importer):
    """Imports into one store."""

    def __init__(self, store: Keeper, max_bytes: int) -> None:
        super().__init__(max_bytes, 100)
        self.keeps = partial(self.take, cast(RunWriter, store))


def importer(store: Keeper, max_bytes: int = 1 << 20) -> KeptImporter:
    return KeptImporter(store, max_bytes)


@pytest.mark.parametrize("pause", [False, True])
@pytest.mark.parametrize(("max_bytes", "count"), [(1 << 20, 101), (180, 100)])
async def test_a_log_beyond_a_limit_reaches_no_store(
    max_bytes: int, count: int, pause: bool
) -> None:
    store = Keeper()
    with pytest.raises(InvalidInput, match="at most 100 events") as caught:
        await importer(store, max_bytes).keeps(sending(log(count), pause), read)
    assert caught.value.reason == "IMPORT_TOO_LARGE"
    assert not store.events


@pytest.mark.parametrize("pause", [False, True])
async def test_a_log_up_to_the_limits_is_kept_in_order(pause: bool) -> None:
    store, requests = Keeper(), log(100)
    await importer(store, sum(map(len, requests))).keeps(sending(requests, pause), read)
    assert [event.seq for event in store.events] == list(range(1, 101))
    for index, event in enumerate(store.events):
        assert isinstance(event.payload, Segment)
        assert event.payload.parameters is not None
        assert (event.payload.parameters == index).all()


async def idle_pieces(kept: Importer, count: int) -> bool:
    """Whether there are soon so many: threads and the loop let go of what has ended in a moment."""
    for _ in range(1_000):
        if len(kept._memory._idle) == count:
            return True
        await asyncio.sleep(0.005)
    return False


@pytest.fixture
def no_collector() -> Iterator[None]:
    """What is given back is so at once, and not whenever cycles are looked for."""
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_collector")
async def test_an_import_gives_its_memory_back_when_it_ends() -> None:
    store = Keeper()
    kept = importer(store)
    await kept.keeps(sending(log(1)), read)
    assert not kept._memory._idle, "the store reads it still"
    store.events = []
    assert await idle_pieces(kept, 1)


async def test_memory_that_no_import_uses_goes_back_to_the_system(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tensor_arena, "IDLE_SECONDS", 0.05)
    store = Keeper()
    kept = importer(store)
    for _ in range(2):
        await kept.keeps(sending(log(1)), read)
        store.events = []
        assert await idle_pieces(kept, 0)


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize("more", [False, True])
async def test_one_that_is_wrong_gives_its_memory_back(more: bool) -> None:
    kept = importer(Keeper())

    async def wrong_in_the_end() -> AsyncIterator[bytes]:
        for request in (*log(1), b"0"):
            yield request
        if more:
            await asyncio.sleep(60)

    def checked(request: bytes, index: int) -> RunEvent:
        if request == b"0":
            raise InvalidInput("is wrong")
        return read(request, index)

    with contextlib.suppress(InvalidInput):
        await kept.keeps(wrong_in_the_end(), checked)
    assert await idle_pieces(kept, 1)


async def test_one_that_is_wrong_leaves_room_for_others() -> None:
    store = Keeper()
    kept = importer(store)

    def wrong(request: bytes, index: int) -> RunEvent:
        raise InvalidInput.field(f"events[{index}]", "is wrong")

    for _ in range(3):  # more than may be under way at once
        with pytest.raises(InvalidInput, match="is wrong"):
            await kept.keeps(sending(log(1)), wrong)
    await kept.keeps(sending(log(1)), read)
    assert len(store.events) == 1


async def test_one_that_is_given_up_leaves_room_for_others() -> None:
    kept = importer(Keeper())

    async def silence() -> AsyncIterator[bytes]:
        await asyncio.sleep(60)
        yield b"1"

    for _ in range(3):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(kept.keeps(silence(), read), 0.01)
    await kept.keeps(sending(log(1)), read)
