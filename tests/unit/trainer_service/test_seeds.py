from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer_service.seeds import BatchOrder, derive, generator

CPU = torch.device("cpu")


def test_streams_are_told_apart_and_stay_what_they_are() -> None:
    assert derive(0, "batches") != derive(0, "probe")
    assert derive(0, "batches") != derive(1, "batches")
    # A recorded value: a change here changes every run of the past.
    assert derive(7, "mentor", 2) == 8256004474442690777
    assert 0 <= derive(2**63 - 1, "x") < 2**63


def test_a_generator_begins_at_the_beginning_each_time() -> None:
    first, second = (torch.rand(3, generator=generator(5, "a", 1)) for _ in range(2))
    assert torch.equal(first, second)


@given(rows=st.integers(1, 40), batch=st.integers(1, 50), seed=st.integers(0, 5))
@settings(deadline=None, max_examples=60)
def test_batches_are_shuffled_epochs_laid_end_to_end(rows: int, batch: int, seed: int) -> None:
    size = min(rows, batch)
    order = BatchOrder(seed, ("batches",), rows, batch, CPU)
    steps = 3 * rows // size + 1
    drawn = torch.cat([order.rows(step) for step in range(steps)]).tolist()
    for epoch in range(len(drawn) // rows):
        assert sorted(drawn[epoch * rows : (epoch + 1) * rows]) == list(range(rows))


@given(rows=st.integers(1, 20), batch=st.integers(1, 25), step=st.integers(0, 60))
@settings(deadline=None, max_examples=60)
def test_a_batch_depends_on_its_number_alone(rows: int, batch: int, step: int) -> None:
    walked = BatchOrder(3, ("batches",), rows, batch, CPU)
    for before in range(step):
        walked.rows(before)
    jumped = BatchOrder(3, ("batches",), rows, batch, CPU)
    assert torch.equal(walked.rows(step), jumped.rows(step))
