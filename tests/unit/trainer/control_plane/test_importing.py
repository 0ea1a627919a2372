"""What an import keeps of the messages that come."""

from __future__ import annotations

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


async def sending(events: Iterable[RunEvent]) -> AsyncIterator[tuple[RunEvent, int]]:
    for event in events:
        yield event, 300


def importer(store: Keeper, max_bytes: int = 1 << 20) -> Importer:
    return Importer(cast(RunWriter, store), max_bytes, 100)


@given(tensors=st.lists(st.none() | TENSORS, max_size=8), piece=st.integers(1, 2_000))
async def test_tensors_are_kept_as_they_came_whatever_piece_of_memory_they_lie_in(
    tensors: list[np.ndarray | None], piece: int
) -> None:
    store, given_events = Keeper(), log(tensors)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(importing, "_PIECE_BYTES", piece)
        await importer(store).take(sending(given_events))
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
        await importer(store, max_bytes=600).take(sending(large))
    assert not store.events
