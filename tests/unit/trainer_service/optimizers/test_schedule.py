"""The course of the learning rate."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mentorgrad.domain.spec import Optimizer, Schedule
from trainer_service.optimizers.schedule import learning_rate


def course(schedule: Schedule, total: int, warmup: int = 0) -> list[float]:
    spec = Optimizer(learning_rate=1.0, schedule=schedule, warmup_steps=warmup)
    return [learning_rate(spec, step, total) for step in range(1, total + 1)]


def test_constant_is_constant() -> None:
    assert course(Schedule.CONSTANT, 5) == [1.0] * 5


def test_linear_falls_in_equal_parts_and_wastes_no_step() -> None:
    assert course(Schedule.LINEAR, 4) == [1.0, 0.75, 0.5, 0.25]


def test_cosine_is_at_half_in_the_middle() -> None:
    rates = course(Schedule.COSINE, 4)
    assert rates[0] == 1.0
    assert rates[2] == pytest.approx(0.5)
    assert rates[3] == pytest.approx(0.5 * (1 + math.cos(0.75 * math.pi)))


def test_warm_up_rises_to_the_peak() -> None:
    assert course(Schedule.LINEAR, 6, warmup=2) == [0.5, 1.0, 1.0, 0.75, 0.5, 0.25]


@given(
    schedule=st.sampled_from(list(Schedule)),
    total=st.integers(1, 300),
    warmup=st.integers(0, 400),
    beyond=st.integers(0, 50),
)
def test_it_stays_within_the_peak_and_never_reaches_zero(
    schedule: Schedule, total: int, warmup: int, beyond: int
) -> None:
    rates = course(schedule, total, warmup)
    assert all(0.0 < rate <= 1.0 for rate in rates)
    after = rates[warmup:]
    assert after == sorted(after, reverse=True)
    if warmup < total:
        spec = Optimizer(learning_rate=1.0, schedule=schedule, warmup_steps=warmup)
        assert learning_rate(spec, total + beyond, total) == rates[-1]
