from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from trainer_service.seeds import BatchOrder, derive, generator


def test_streams_are_told_apart_and_stay_what_they_are() -> None:
    assert derive(0, "batches") != derive(0, "probe")
    assert derive(0, "batches") != derive(1, "batches")
    # A recorded value: a change here changes every run of the past.
    assert derive(7, "mentor", 2) == 8256004474442690777
    assert 0 <= derive(2**63 - 1, "x") < 2**63


def test_a_generator_begins_at_the_beginning_each_time() -> None:
    first, second = (torch.rand(3, generator=generator(5, "a", 1)) for _ in range(2))
    assert torch.equal(first, second)


def order_of(seed: int, rows: int, batch: int, grouped: bool) -> BatchOrder:
    lengths = [row * 7 % 12 for row in range(rows)] if grouped else ()
    return BatchOrder(seed, ("batches",), rows, batch, lengths)


@given(
    rows=st.integers(1, 40),
    batch=st.integers(1, 50) | st.integers(1, 4),
    seed=st.integers(0, 5),
    grouped=st.booleans(),
)
def test_batches_are_shuffled_epochs_laid_end_to_end(
    rows: int, batch: int, seed: int, grouped: bool
) -> None:
    size = min(rows, batch)
    order = order_of(seed, rows, batch, grouped)
    steps = 3 * rows // size + 1
    drawn = torch.cat([order.rows(step) for step in range(steps)]).tolist()
    for epoch in range(len(drawn) // rows):
        assert sorted(drawn[epoch * rows : (epoch + 1) * rows]) == list(range(rows))


@given(
    rows=st.integers(1, 20),
    batch=st.integers(1, 25) | st.just(2),
    step=st.integers(0, 60),
    grouped=st.booleans(),
)
def test_a_batch_depends_on_its_number_alone(
    rows: int, batch: int, step: int, grouped: bool
) -> None:
    walked = order_of(3, rows, batch, grouped)
    for before in range(step):
        walked.rows(before)
    jumped = order_of(3, rows, batch, grouped)
    assert torch.equal(walked.rows(step), jumped.rows(step))


def spread(order: BatchOrder, lengths: list[int], steps: int) -> float:
    """Mean difference between the longest and the shortest row of a batch."""
    batches = [[lengths[row] for row in order.rows(step).tolist()] for step in range(steps)]
    return sum(max(batch) - min(batch) for batch in batches) / steps


def test_rows_of_similar_length_make_a_batch_and_other_rows_in_the_next_epoch() -> None:
    lengths = [10 + row * 37 % 101 for row in range(512)]
    grouped = BatchOrder(0, ("batches",), 512, 8, lengths)
    assert spread(grouped, lengths, 64) < 0.2 * spread(
        BatchOrder(0, ("batches",), 512, 8), lengths, 64
    )
    first, second = (
        {frozenset(grouped.rows(e * 64 + s).tolist()) for s in range(64)} for e in (0, 1)
    )
    assert len(first & second) == 0


def test_the_length_of_a_row_does_not_say_when_its_turn_comes() -> None:
    """A step's expected gradient is that of all rows: each is in a batch with equal probability."""
    counts, seeds = torch.zeros(16), 500
    for seed in range(seeds):
        order = BatchOrder(seed, ("batches",), 16, 2, range(16))
        counts[order.rows(3)] += 1
    share = 2 / 16
    assert float((counts / seeds - share).abs().max()) < 5 * (share * (1 - share) / seeds) ** 0.5


def test_few_batches_are_drawn_as_without_lengths() -> None:
    plain, grouped = (BatchOrder(1, ("b",), 30, 4, lengths) for lengths in ((), range(30)))
    assert all(torch.equal(plain.rows(step), grouped.rows(step)) for step in range(9))
