"""Work in threads, for calls that may be cut short."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


async def run_to_completion(work: Callable[[], T], ended: Callable[[], None]) -> T:
    """What `work` returns, from a thread. A call that is cut short does not stop its thread, so
    `ended` is called when that ends, whoever still waits."""
    task = asyncio.ensure_future(asyncio.to_thread(work))
    task.add_done_callback(lambda _: ended())
    return await asyncio.shield(task)
