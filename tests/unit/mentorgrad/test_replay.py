"""What a new session is told keeps what stands beside candidates, in messages of bounded size."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mentorgrad.domain.advice import Batch, Outcomes
from mentorgrad.domain.run import Candidate, Score, Snapshot
from mentorgrad.wire.replay import ReplayBuffer, pieces


def batch(first: int, count: int, width: int | None, exemplars: int | None) -> Batch:
    """Candidates whose rows say their numbers."""

    def rows(columns: int | None) -> np.ndarray | None:
        if columns is None:
            return None
        numbers = np.arange(first, first + count, dtype=np.float32)
        return np.repeat(numbers[:, None], columns, axis=1)

    return Batch(
        stage=first,
        candidates=tuple(
            Candidate(f"c{i}", score=Score(float(i))) for i in range(first, first + count)
        ),
        embeddings=rows(width),
        exemplar_losses=rows(exemplars),
    )


def rows_by_candidate(
    told: Iterable[Batch | Outcomes],
) -> dict[str, tuple[list[float] | None, list[float] | None]]:
    found = {}
    for item in told:
        assert isinstance(item, Batch)
        arrays = (item.embeddings, item.exemplar_losses)
        size = sum(array.nbytes for array in arrays if array is not None)
        assert size <= 1024 * 1024 or len(item.candidates) == 1
        assert all(array is None or len(array) == len(item.candidates) for array in arrays)
        for i, candidate in enumerate(item.candidates):
            found[candidate.candidate_id] = tuple(
                None if array is None else array[i].tolist() for array in arrays
            )
    return found


some = st.one_of(st.none(), st.integers(1, 4))


@given(st.lists(st.tuples(st.integers(1, 9), some, some), max_size=12))
def test_a_replay_tells_each_candidate_with_its_own_rows(
    told: list[tuple[int, int | None, int | None]],
) -> None:
    memory, first = ReplayBuffer(), 0
    expected = {}
    for count, width, exemplars in told:
        memory.keep(batch(first, count, width, exemplars))
        for i in range(first, first + count):
            expected[f"c{i}"] = tuple(
                None if columns is None else [float(i)] * columns for columns in (width, exemplars)
            )
        first += count
    found = rows_by_candidate(memory.replay())
    assert found == expected
    assert list(found) == list(expected), "in their order"


def test_many_wide_rows_go_in_several_messages() -> None:
    whole = batch(0, 600, 1024, 8)
    parts = list(pieces(whole))
    assert len(parts) > 2
    found = rows_by_candidate(parts)
    assert list(found) == [f"c{i}" for i in range(600)]
    assert found["c599"] == ([599.0] * 1024, [599.0] * 8)
    memory = ReplayBuffer()
    memory.keep(whole)
    assert rows_by_candidate(memory.replay()) == found


def test_rows_go_with_the_last_piece_of_a_trajectory() -> None:
    told = batch(0, 3, 2, None)
    whole = Batch(
        snapshots=tuple(Snapshot(i) for i in range(4)),
        parameters=np.zeros((4, 400, 400), np.float32),
        candidates=told.candidates,
        embeddings=told.embeddings,
    )
    parts = list(pieces(whole))
    assert len(parts) == 4
    assert [len(part.candidates) for part in parts] == [0, 0, 0, 3]
    assert [part.embeddings is None for part in parts] == [True, True, True, False]


def test_candidates_without_a_loss_are_forgotten_first() -> None:
    memory = ReplayBuffer()
    memory.keep(batch(0, 600, None, None))
    lost = tuple(Candidate(f"n{i}", score=Score(math.nan)) for i in range(401))
    memory.keep(Batch(candidates=lost))
    kept = [item.candidate_id for told in memory.replay() for item in told.candidates]  # type: ignore[union-attr]
    assert len(kept) == 751
    assert sum(name.startswith("c") for name in kept) == 600
