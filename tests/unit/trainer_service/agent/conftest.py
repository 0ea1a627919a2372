"""A scheduler that looks without delay."""

from __future__ import annotations

import pytest

from tests.support.scheduling import Rig
from trainer_service.agent import scheduler


@pytest.fixture
def rig(monkeypatch: pytest.MonkeyPatch) -> Rig:
    monkeypatch.setattr(scheduler, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(scheduler, "RETRY_SECONDS", 0.01)
    return Rig()
