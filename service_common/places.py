"""Places: how many calls a server has in progress at once, in all and of each caller; and how many
of each caller it begins per second.

gRPC's own limit counts every call alike, so that calls of strangers, and streams that last for
days, keep everybody else out.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
import weakref
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from mentorgrad.errors import ResourceExhausted


@dataclass(frozen=True)
class Holder:
    """Whose a place is."""

    name: str
    """An owner, or an address."""
    is_admin: bool = False
    """Whether it has the scope ``admin``; administrators have places of their own."""


class CallKind(StrEnum):
    """Kinds of calls, which have their places apart. The value completes "too many ..."."""

    UNARY = "calls"
    LARGE = "calls with a large request"
    SERVER_STREAM = "response streams"
    CLIENT_STREAM = "request streams"
    HEALTH_WATCH = "watches of the health"


@dataclass(frozen=True)
class Limit:
    """Maximum number of calls in progress."""

    total: int
    """Of all callers; administrators are not among them."""
    each: int
    """Of one caller, and of all administrators together."""


LIMITS: Mapping[CallKind, Limit] = MappingProxyType(
    {
        CallKind.UNARY: Limit(256, 128),
        CallKind.LARGE: Limit(32, 16),
        CallKind.SERVER_STREAM: Limit(512, 256),
        CallKind.CLIENT_STREAM: Limit(128, 96),
        CallKind.HEALTH_WATCH: Limit(64, 8),
    }
)

ARRIVING = Limit(32, 8)
"""Maximum number of requests whose bytes are being received; further ones wait."""

STRANGERS = 16
"""Maximum number of requests that are received from callers who have shown no token; a further one
ends the oldest."""


_REMEMBERED = 1024
"""Callers whose rates are remembered before those that are at rest are forgotten."""


class Places:
    """Counts the calls in progress. For one event loop.

    Args:
        limits: Maximum of each kind.
    """

    def __init__(self, limits: Mapping[CallKind, Limit] = LIMITS) -> None:
        self._limits = limits
        self._taken: Counter[tuple[CallKind, Holder | bool]] = Counter()

    def take(self, kind: CallKind, holder: Holder) -> Callable[..., None]:
        """Takes a place; returns the function that gives it back, to be called once, with whatever
        arguments.

        Raises:
            ResourceExhausted: There is none (TOO_MANY_CALLS).
        """
        limit = self._limits[kind]
        all_of_them = limit.each if holder.is_admin else limit.total
        for counted, most in ((holder, limit.each), (holder.is_admin, all_of_them)):
            if self._taken[kind, counted] >= most:
                whose = f"of {holder.name}" if counted is holder else "of all callers"
                raise ResourceExhausted(
                    f"too many {kind} in progress: {most} {whose}", reason="TOO_MANY_CALLS"
                )
        self._change(kind, holder, 1)
        return lambda *_: self._change(kind, holder, -1)

    def taken(self, kind: CallKind) -> int:
        """Number of calls in progress."""
        return self._taken[kind, False] + self._taken[kind, True]

    def _change(self, kind: CallKind, holder: Holder, change: int) -> None:
        for counted in (holder, holder.is_admin):
            self._taken[kind, counted] += change
            if not self._taken[kind, counted]:
                del self._taken[kind, counted]


_BURST_SECONDS = 2.0
"""A caller that has been silent for this long may begin as many calls at once as are due in it."""


class Rates:
    """Limits the calls of each caller per second (generic cell rate algorithm). For one event loop.

    Args:
        clock: Returns a time, in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._due: dict[str, float] = {}
        """Caller → when all calls that it has begun are due at its rate."""

    def count(self, name: str, rate: float) -> None:
        """Counts a call of a caller.

        Args:
            name: The caller.
            rate: Its maximum calls per second.

        Raises:
            ResourceExhausted: There have been more (CALL_RATE).
        """
        now = self._clock()
        interval = 1.0 / rate
        ahead = max(_BURST_SECONDS, interval)
        # Of differences, not of times: those of a clock are too large to be exact.
        wait = max(self._due.get(name, now) - now, 0.0) + interval
        if wait > ahead:
            raise ResourceExhausted(
                f"{name} makes more than {rate:g} calls per second",
                retry_after=wait - ahead,
                reason="CALL_RATE",
            )
        if name not in self._due and len(self._due) >= _REMEMBERED:
            # What is due already is as good as never seen.
            self._due = {known: when for known, when in self._due.items() if when > now}
        self._due[name] = now + wait


class Turns:
    """Places that are waited for, in turn. For one event loop.

    Args:
        limit: Number of places; administrators have places of their own.
    """

    def __init__(self, limit: Limit) -> None:
        self._each = limit.each
        self._all = {False: asyncio.Semaphore(limit.total), True: asyncio.Semaphore(limit.each)}
        self._own: weakref.WeakValueDictionary[Holder, asyncio.Semaphore] = (
            weakref.WeakValueDictionary()
        )

    @contextlib.asynccontextmanager
    async def place(self, holder: Holder) -> AsyncIterator[None]:
        """Holds a place while the block runs, after waiting for it."""
        own = self._own.setdefault(holder, asyncio.Semaphore(self._each))
        async with own, self._all[holder.is_admin]:
            yield


class Newest:
    """Lets a limited number of blocks wait; one more ends the oldest. For one event loop.

    Whoever occupies places without ending thus keeps out only those as slow.

    Args:
        count: Maximum number of blocks.
        seconds: Time limit of a block.
    """

    def __init__(self, count: int, seconds: float) -> None:
        self._count = count
        self._seconds = seconds
        self._waiting: dict[asyncio.Timeout, None] = {}

    @contextlib.asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """Runs the block.

        Raises:
            TimeoutError: It took too long, or was the oldest of too many.
        """
        if len(self._waiting) >= self._count:
            oldest = next(iter(self._waiting))
            del self._waiting[oldest]
            oldest.reschedule(asyncio.get_running_loop().time())
        async with asyncio.timeout(self._seconds) as scope:
            self._waiting[scope] = None
            try:
                yield
            finally:
                self._waiting.pop(scope, None)
