"""Plans of policies: what they drop, in what order, and what they refuse."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mentorgrad.domain.query import RunFilter
from mentorgrad.domain.run import RunState
from mentorgrad.errors import InvalidInput
from run_store.retention import NEEDS_ALL, EndedRun, Level, RetentionPolicy, plan

NOW = datetime(2026, 6, 1, tzinfo=UTC)
DAY = timedelta(days=1)


def ended(number: int, days: float, raw: int, other: int, owner: str = "a") -> EndedRun:
    return EndedRun(f"run{number}", "", owner, "succeeded", NOW - days * DAY, raw, other)


RUNS = [ended(1, 30, 100, 10), ended(2, 20, 100, 10), ended(3, 10, 0, 10, "b")]
HELD = {"a": 220, "b": 10, "c": 1000}


def dropped(policy: RetentionPolicy) -> list[tuple[str, str]]:
    return [(drop.run.run_id, drop.level.value) for drop in plan(policy, RUNS, HELD, NOW)]


def test_an_age_alone_drops_what_is_older() -> None:
    assert dropped(RetentionPolicy(older_than=20 * DAY)) == [("run1", "run"), ("run2", "run")]
    assert dropped(RetentionPolicy(older_than=25 * DAY, raw_only=True)) == [("run1", "raw")]


def test_what_has_no_raw_data_cannot_lose_them() -> None:
    assert dropped(RetentionPolicy(raw_only=True, all=True)) == [("run1", "raw"), ("run2", "raw")]


def test_a_size_drops_raw_data_first_and_then_the_oldest_runs() -> None:
    assert dropped(RetentionPolicy(keep=1230)) == []
    assert dropped(RetentionPolicy(keep=1229)) == [("run1", "raw")]
    assert dropped(RetentionPolicy(keep=1030)) == [("run1", "raw"), ("run2", "raw")]
    assert dropped(RetentionPolicy(keep=1029)) == [("run2", "raw"), ("run1", "run")]
    assert dropped(RetentionPolicy(keep=0, raw_only=True)) == [("run1", "raw"), ("run2", "raw")]
    assert dropped(RetentionPolicy(keep=0, older_than=25 * DAY)) == [("run1", "run")]


def test_a_quota_is_of_each_owner() -> None:
    assert dropped(RetentionPolicy(keep_per_owner=120)) == [("run1", "raw")]
    assert dropped(RetentionPolicy(keep_per_owner=5)) == [
        ("run1", "run"),
        ("run2", "run"),
        ("run3", "run"),
    ]
    both = RetentionPolicy(keep_per_owner=120, keep=1031)
    assert dropped(both) == [("run1", "raw"), ("run2", "raw")]


def test_a_policy_without_a_condition_needs_all() -> None:
    for conditions in ({}, {"older_than": timedelta()}, {"raw_only": True}):
        with pytest.raises(InvalidInput) as caught:
            RetentionPolicy(**conditions)  # type: ignore[arg-type]
        assert caught.value.reason == NEEDS_ALL
        assert RetentionPolicy(**conditions, all=True)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "conditions",
    [
        {"keep": -1},
        {"keep_per_owner": -1},
        {"older_than": -DAY},
        {"runs": RunFilter(states=(RunState.FAILED, RunState.PAUSED))},
    ],
)
def test_what_makes_no_sense_is_refused(conditions: dict[str, object]) -> None:
    with pytest.raises(InvalidInput):
        RetentionPolicy(**conditions)  # type: ignore[arg-type]


a_run = st.builds(
    ended,
    st.just(0),
    st.integers(0, 5),
    st.integers(0, 100),
    st.integers(1, 100),
    st.sampled_from("ab"),
)


@given(st.lists(a_run, max_size=8), st.integers(0, 600), st.integers(0, 600), st.booleans())
def test_a_plan_frees_enough_and_nothing_that_it_need_not(
    made: list[EndedRun], keep: int, each: int, raw_only: bool
) -> None:
    runs = [
        ended(n, (NOW - r.ended_at) / DAY, r.raw_bytes, r.other_bytes, r.owner)
        for n, r in enumerate(made)
    ]
    held = Counter({"a": 50, "b": 0})  # one of them has a run that goes on
    for run in runs:
        held[run.owner] += run.raw_bytes + run.other_bytes
    drops = plan(
        RetentionPolicy(keep=keep, keep_per_owner=each, raw_only=raw_only), runs, held, NOW
    )
    assert len({drop.run.run_id for drop in drops}) == len(drops)
    left = Counter(held)
    for drop in drops:
        left[drop.run.owner] -= drop.bytes
        assert drop.level is Level.RAW or not raw_only
    level = [drop.level for drop in drops]
    assert level == sorted(level, key=[Level.RAW, Level.RUN].index)
    whole = {drop.run.run_id for drop in drops if drop.level is Level.RUN}
    is_spent = {drop.run.run_id for drop in drops}
    for owner in "ab":
        gone = all(
            run.run_id in (is_spent if raw_only else whole) or (raw_only and not run.raw_bytes)
            for run in runs
            if run.owner == owner
        )
        assert left[owner] <= each or gone
    if drops:  # without the last drop, a size would be exceeded
        more = max(drop.bytes for drop in drops)
        assert sum(left.values()) + more > keep or any(left[o] + more > each for o in "ab")
