"""What an import keeps of the messages that come."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from datetime import UTC, datetime
from typing import cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from mentorgrad.errors import InvalidInput
from mentorgrad.model.event import RunEvent, Segment
from mentorgrad.model.run import Run, Snapshot
from run_store.protocols import RunWriter
from trainer_service.control_plane import importing
from trainer_service.control_plane.importing import Importer

TENSORS = arrays.arrays(
    st.sampled_from(["<f4", "<f8", "<f2", "<i8"]),
    arrays.array_shapes(max_dims=3, max_side=6),
    elements=st.integers(0, 100),
)


class Keeper:
    """A store that keeps what it is given."""

    def __init__(self) -> None:
        self.events: list[RunEvent] = []

    def import_run(self, events: Iterable[RunEvent]) -> Run:
        self.events = list(events)
        return Run()


def log(tensors: Iterable[np.ndarray | None]) -> list[RunEvent]:
    return [
        RunEvent("r", seq, 1, datetime.now(UTC), Segment(0, 1, 1, (Snapshot(1, 0.5),), tensor))
        for seq, tensor in enumerate(tensors, start=1)
    ]


async def sending(events: Iterable[RunEvent], pause: bool = False) -> AsyncIterator[RunEvent]:
    for event in events:
        if pause:
            await asyncio.sleep(0)
        yield event


def read(event: RunEvent, index: int) -> tuple[RunEvent, int]:
    assert event.seq == index + 1
    return event, 300


def importer(store: Keeper, max_bytes: int = 1 << 20) -> Importer:
    return Importer(cast(RunWriter, store), max_bytes, 100)


@given(tensors=st.lists(st.none() | TENSORS, max_size=8), piece=st.integers(1, 2_000))
async def test_tensors_are_kept_as_they_came_whatever_piece_of_memory_they_lie_in(
    tensors: list[np.ndarray | None], piece: int
) -> None:
    store, given_events = Keeper(), log(tensors)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(importing, "_PIECE_BYTES", piece)
        await importer(store).take(sending(given_events), read)
    assert len(store.events) == len(given_events)
    for kept, sent in zip(store.events, tensors, strict=True):
        assert isinstance(kept.payload, Segment)
        found = kept.payload.parameters
        if sent is None:
            assert found is None
            continue
        assert found is not None
        assert (found.dtype, found.shape) == (sent.dtype, sent.shape)
        assert found.tobytes() == sent.tobytes()
        assert found.ctypes.data % sent.itemsize == 0
        with pytest.raises(ValueError, match="read-only"):
            found[...] = 0


async def test_a_log_beyond_the_limit_reaches_no_store() -> None:
    store = Keeper()
    large = log([np.zeros((1, 64), np.float32)] * 4)
    with pytest.raises(InvalidInput, match="at most 100 events"):
        await importer(store, max_bytes=600).take(sending(large), read)
    assert not store.events


@pytest.mark.parametrize("pause", [False, True])
async def test_every_event_is_read_in_order(pause: bool) -> None:
    store, events = Keeper(), log([None] * 50)
    await importer(store).take(sending(events, pause), read)
    assert [event.seq for event in store.events] == list(range(1, 51))


async def test_an_event_is_read_while_the_next_one_is_on_its_way() -> None:
    store, course = Keeper(), list[str]()

    async def slowly() -> AsyncIterator[RunEvent]:
        for event in log([None] * 3):
            course.append(f"asked for {event.seq}")
            await asyncio.sleep(0.01)
            yield event

    def noted(event: RunEvent, index: int) -> tuple[RunEvent, int]:
        course.append(f"read {event.seq}")
        return read(event, index)

    await importer(store).take(slowly(), noted)
    expected = ["asked for 1", "asked for 2", "read 1", "asked for 3", "read 2", "read 3"]
    assert course == expected


@pytest.mark.parametrize("last", [False, True])
async def test_what_is_wrong_is_said_at_once_and_leaves_room_for_others(last: bool) -> None:
    """Not when more comes: a sender may wait for the answer."""
    store = Keeper()
    kept = importer(store)

    async def waits() -> AsyncIterator[RunEvent]:
        yield log([None])[0]
        if not last:
            await asyncio.sleep(60)

    def wrong(event: RunEvent, index: int) -> tuple[RunEvent, int]:
        raise InvalidInput.field(f"events[{index}]", "is wrong")

    for _ in range(3):  # more than may be under way at once
        with pytest.raises(InvalidInput, match="is wrong"):
            await asyncio.wait_for(kept.take(waits(), wrong), 5)
    await kept.take(sending(log([None])), read)
    assert len(store.events) == 1


async def test_one_that_is_given_up_leaves_room_for_others() -> None:
    kept = importer(Keeper())

    async def silence() -> AsyncIterator[RunEvent]:
        await asyncio.sleep(60)
        yield log([None])[0]

    for _ in range(3):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(kept.take(silence(), read), 0.01)
    await kept.take(sending(log([None])), read)
