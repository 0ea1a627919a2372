"""Tensors come back as they were, and their memory is used again only when nobody reads it."""

from __future__ import annotations

import gc
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from mentorgrad.domain.event import RunEvent, Segment
from mentorgrad.domain.run import Snapshot
from trainer_service.control_plane import tensor_arena as module
from trainer_service.control_plane.tensor_arena import BlockCache, TensorArena

TENSORS = arrays(
    st.sampled_from(["<f4", "<f8", "<f2", "<i8"]),
    array_shapes(max_dims=3, max_side=6),
    elements=st.integers(0, 100),
)


@pytest.fixture
def no_collector() -> Iterator[None]:
    """What is given back is so at once, and not whenever cycles are looked for."""
    gc.disable()
    yield
    gc.enable()


def event(tensor: np.ndarray | None) -> RunEvent:
    segment = Segment(0, 1, 1, (Snapshot(1, 0.5),), tensor)
    return RunEvent("r", 1, 1, datetime.now(UTC), segment)


def kept(arena: TensorArena, tensors: Iterable[np.ndarray | None]) -> list[np.ndarray | None]:
    events = [arena.keep(event(tensor)) for tensor in tensors]
    return [one.payload.parameters for one in events if isinstance(one.payload, Segment)]


def filled(memory: BlockCache, value: int, count: int = 1) -> list[np.ndarray | None]:
    """Tensors of one value, each of which takes most of a piece."""
    return kept(TensorArena(memory), [np.full(600, value, np.uint8)] * count)


@given(tensors=st.lists(st.none() | TENSORS, max_size=8), piece=st.integers(1, 2_000))
def test_tensors_are_kept_as_they_came_whatever_piece_of_memory_they_lie_in(
    tensors: list[np.ndarray | None], piece: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_PIECE_BYTES", piece)
        found = kept(TensorArena(BlockCache()), tensors)
    assert len(found) == len(tensors)
    for array, sent in zip(found, tensors, strict=True):
        if sent is None:
            assert array is None
            continue
        assert array is not None
        assert (array.dtype, array.shape) == (sent.dtype, sent.shape)
        assert array.tobytes() == sent.tobytes()
        assert array.ctypes.data % sent.itemsize == 0
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0


@pytest.mark.usefixtures("no_collector")
def test_memory_that_nobody_reads_any_more_is_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PIECE_BYTES", 1_000)
    memory = BlockCache()
    places = []
    for value in range(3):
        (array,) = filled(memory, value)
        assert array is not None
        assert (array == value).all()
        places.append(array.ctypes.data)
        del array
    assert len(set(places)) == 1


@given(held=st.lists(st.booleans(), min_size=1, max_size=12))
def test_memory_that_is_read_is_never_written_to(held: list[bool]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_PIECE_BYTES", 1_000)
        memory = BlockCache()
        readers = {}
        for value, is_held in enumerate(held):
            (array,) = filled(memory, value)
            assert array is not None
            if is_held:
                readers[value] = array[10:20].view(np.uint16)  # a view of a view is a reader too
            del array
        for value, part in readers.items():
            assert (part == value * 257).all()


@pytest.mark.usefixtures("no_collector")
def test_no_more_than_a_few_pieces_wait_to_be_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PIECE_BYTES", 1_000)
    memory = BlockCache()
    first, again = (
        {array.ctypes.data for array in filled(memory, 1, count=10) if array is not None}
        for _ in range(2)
    )
    assert len(first) == len(again) == 10
    assert len(memory._idle) == module._IDLE_PIECES


@pytest.mark.usefixtures("no_collector")
def test_a_piece_of_unusual_size_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PIECE_BYTES", 1_000)
    memory = BlockCache()
    assert kept(TensorArena(memory), [np.zeros(5_000, np.uint8)])[0] is not None
    assert not memory._idle


@pytest.mark.usefixtures("no_collector")
def test_what_was_idle_for_long_goes_back_to_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PIECE_BYTES", 1_000)
    now = 100.0
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now))
    memory = BlockCache()
    filled(memory, 1, count=3)
    now += 0.9 * module.IDLE_SECONDS
    filled(memory, 2)  # the one that was idle for the shortest time
    assert memory.trim()
    assert len(memory._idle) == 3
    now += 0.2 * module.IDLE_SECONDS
    assert memory.trim()
    assert len(memory._idle) == 1
    now += module.IDLE_SECONDS
    assert not memory.trim()
    assert not memory._idle
