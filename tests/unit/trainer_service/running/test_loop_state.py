"""The pool is bounded, by number and by bytes."""

from __future__ import annotations

import pytest
import torch

from mentorgrad.domain.run import Candidate, Score
from trainer_service.protocols import Scored
from trainer_service.running import loop_state
from trainer_service.running.loop_state import Pool


def scored(number: int, loss: float) -> Scored:
    return Scored(Candidate(f"c{number}", score=Score(loss)), torch.zeros(256))


def test_the_worst_go_when_the_bytes_are_spent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop_state, "MAX_POOL_BYTES", 10 * 1024)
    pool = Pool()
    for number in range(40):
        pool.add([scored(number, loss=float(number % 20))])
    kept = [entry.candidate for entry in pool.entries]
    assert len(kept) == 10
    assert kept[-1].candidate_id == "c39"  # what has just come stays, however bad
    assert {candidate.score.loss for candidate in kept[:-1]} <= {0.0, 1.0, 2.0, 3.0, 4.0}


def test_what_the_run_stands_on_is_spared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop_state, "MAX_POOL_BYTES", 5 * 1024)
    pool = Pool()
    pool.add([scored(0, loss=99.0)])
    for number in range(1, 20):
        pool.add([scored(number, loss=float(number))], spared="c0")
    assert pool.get("c0") is not None
    assert len(pool.entries) == 5


def test_what_comes_at_once_stays_even_beyond_the_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop_state, "MAX_POOL_BYTES", 1)
    pool = Pool()
    pool.add([scored(0, 0.0)])
    pool.add([scored(number, 1.0) for number in (1, 2, 3)])
    assert [entry.candidate.candidate_id for entry in pool.entries] == ["c0", "c1", "c2", "c3"]
