"""Runs blocking work in a thread on behalf of a call that may be cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


async def run_to_completion(work: Callable[[], T], ended: Callable[[], None]) -> T:
    """Runs `work` in a thread and returns its result. Cancelling the caller does not stop the
    thread, so `ended` is called when the thread has ended, even if the caller was cancelled."""
    task = asyncio.ensure_future(asyncio.to_thread(work))
    task.add_done_callback(lambda _: ended())
    return await asyncio.shield(task)


async def run_limited(work: Callable[[], T], limit: asyncio.Semaphore) -> T:
    """Runs `work` in a thread when the limit allows it. A thread whose caller was cancelled still
    counts until it ends."""
    await limit.acquire()
    return await run_to_completion(work, limit.release)
