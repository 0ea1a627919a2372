from __future__ import annotations

import pytest

from trainer_service.agent.local_executor import worker_environment


def test_threads_wait_without_spinning_unless_told_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    found = worker_environment(3)
    assert (found["OMP_NUM_THREADS"], found["OMP_WAIT_POLICY"]) == ("3", "passive")
    monkeypatch.setenv("OMP_WAIT_POLICY", "active")
    assert worker_environment(3)["OMP_WAIT_POLICY"] == "active"
