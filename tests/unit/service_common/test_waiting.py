"""A service waits for a signal, or for the end of the process that started it."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest

from mentorgrad import parent_process
from service_common.server import wait_for_signal


async def test_it_ends_with_the_process_that_started_it(monkeypatch: pytest.MonkeyPatch) -> None:
    parent = [os.getpid()]
    monkeypatch.setattr(parent_process, "SECONDS", 0.001)
    monkeypatch.setattr(os, "getppid", lambda: parent[0])
    monkeypatch.setenv(*next(iter(parent_process.environment().items())))
    waiting = asyncio.create_task(wait_for_signal())
    await asyncio.sleep(0.01)
    assert not waiting.done()
    parent[0] = 1
    await asyncio.wait_for(waiting, 60)


async def test_one_that_was_started_alone_waits_for_a_signal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """After it a further one, of either kind, ends the process at once."""
    before = signal.getsignal(signal.SIGINT)
    monkeypatch.delenv(parent_process.VARIABLE, raising=False)
    assert not parent_process.has_ended()
    await asyncio.wait_for(wait_for_signal(lambda: os.kill(os.getpid(), signal.SIGTERM)), 60)
    after = [signal.signal(signal.SIGINT, before), signal.getsignal(signal.SIGTERM)]
    assert after == [signal.SIG_DFL] * 2
