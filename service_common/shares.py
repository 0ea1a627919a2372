"""Shares: how a service's processor time is divided among the owners whose calls it serves.

One event loop, and one interpreter lock, serve all callers. Limits on the number of calls do not
protect the others from calls that are costly to decode or to answer. So the time that the calls of
each owner take is measured. While others call too, the calls of an owner that is ahead of its
share wait, and are refused when they would wait for too long.
"""

from __future__ import annotations

import asyncio
import time
import weakref
from collections.abc import Callable, Coroutine, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import ContextVar
from typing import Any, Generic, TypeVar

from mentorgrad.errors import ResourceExhausted

T = TypeVar("T")

Hold = Callable[[float], None]
"""Keeps further calls on the same connection from arriving for so many seconds."""

TOTAL = 0.5
"""Processor time per second that the owners who call divide among themselves, seconds."""

BURST = 0.5
"""Processor time that an owner may be ahead of its share before its calls wait, seconds."""

RECENT = 5.0
"""An owner counts among those who call for so long after a call, seconds."""

LONGEST = 5.0
"""Longest time that a call waits to begin, seconds; one that would wait longer is refused."""

FORGIVEN = 10.0
"""Waiting time that what an owner has taken can cost it, seconds; the rest is forgiven, so that one
costly call does not keep it out for long."""

PER_CALL = 0.0004
"""Processor time that gRPC itself takes for a request or a response, seconds; not measured."""

PER_BYTE = 1e-9
"""The same for a byte of a request."""

_REMEMBERED = 1024
"""Owners that are remembered before those at rest are forgotten."""

RESERVED = 2.0
"""Time from the beginning of a request for which its expected cost is reserved, seconds. A stream
that waits for something else after that, perhaps for days, holds nothing."""

MOST_RESERVED = 0.1
"""Maximum processor time that is reserved for a request, seconds."""

_WEIGHT = 0.2
"""Weight of the last request in the mean cost of an owner's requests."""


class _Owner:
    """What is known of one owner."""

    def __init__(self, now: float) -> None:
        self.called = self.settled = now
        self.ahead = 0.0
        """Processor time that it is ahead of its share, seconds."""
        self.reserved = 0.0
        """What its requests that have just begun are expected to take, seconds."""
        self.cost = PER_CALL
        """Mean processor time of a request, seconds."""


class Shares:
    """Counts what each owner's calls take. For one event loop.

    Args:
        clock: Returns a time, in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._owners: dict[str, _Owner] = {}

    def account(self, owner: str, *, is_limited: bool = True, hold: Hold | None = None) -> Account:
        """Begins the account of one call.

        Args:
            owner: Whose call it is.
            is_limited: Whether it waits when the owner is ahead of its share.
            hold: Called when the call waits, or is refused; None: nothing is.
        """
        now = self._clock()
        if owner not in self._owners and len(self._owners) >= _REMEMBERED:
            self._owners = {
                name: known
                for name, known in self._owners.items()
                if now - known.called < RECENT or known.ahead > BURST
            }
        known = self._owners.setdefault(owner, _Owner(now))
        known.called = now
        return Account(self, known, is_limited=is_limited, hold=hold)

    def wait(self, owner: _Owner) -> float:
        """Seconds until an owner is no further ahead of its share than it may be; 0 if nobody else
        calls."""
        owner.called = now = self._clock()
        callers = sum(now - known.called < RECENT for known in self._owners.values())
        share = TOTAL / max(callers, 1)
        most = BURST + (FORGIVEN * share if callers > 1 else 0.0)
        owner.ahead = min(max(owner.ahead - (now - owner.settled) * share, 0.0), most)
        owner.settled = now
        if callers < 2:
            return 0.0
        return max(owner.ahead + owner.reserved - BURST, 0.0) / share


class Account:
    """What one call takes of its owner's share."""

    def __init__(
        self, shares: Shares, owner: _Owner, *, is_limited: bool, hold: Hold | None
    ) -> None:
        self._shares = shares
        self._owner = owner
        self._is_limited = is_limited
        self._hold = hold
        self._reserved = self._taken = 0.0
        self._end: asyncio.TimerHandle | None = None

    async def turn(self, size: int = 0, *, begins: bool = False) -> None:
        """Waits until the owner is due again, before a request is received or answered. Reserves
        what a request takes in the mean, so that those that wait do not all go on at once.

        Args:
            size: Bytes of the request, if it has been received.
            begins: Whether the call begins with it, and can still be refused.

        Raises:
            ResourceExhausted: The call would wait for more than `LONGEST` (SHARE_TAKEN).
        """
        self.close()
        wait = self._wait()
        if begins and wait > LONGEST:
            raise ResourceExhausted(
                "this owner's calls have taken more than its share of the service, which others "
                "call as well",
                retry_after=wait - LONGEST,
                reason="SHARE_TAKEN",
            )
        self.charge(PER_CALL + size * PER_BYTE)
        if self._is_limited:
            self._reserved = min(self._owner.cost, MOST_RESERVED)
            self._owner.reserved += self._reserved
            self._end = asyncio.get_running_loop().call_later(wait + RESERVED, self._release)
        await _pause(wait)

    async def next_response(self) -> None:
        """Waits until the owner is due again, before a response of a stream is made."""
        wait = self._wait()
        self.charge(PER_CALL)
        await _pause(wait)

    def refused(self) -> None:
        """Counts a call that is refused for another reason."""
        self.charge(PER_CALL)
        self._wait()

    def charge(self, seconds: float) -> None:
        """Counts processor time that the call has taken. Threads may do so, too: that an addition
        is lost when two do it at once does no harm."""
        self._taken += seconds
        self._owner.ahead += seconds

    def close(self, *_: object) -> None:
        """Ends the present request. Takes whatever arguments, as a callback."""
        self._release()
        if self._taken:
            self._owner.cost += _WEIGHT * (self._taken - self._owner.cost)
            self._taken = 0.0

    def _wait(self) -> float:
        wait = self._shares.wait(self._owner)
        if not self._is_limited:
            return 0.0
        if wait and self._hold is not None:
            self._hold(min(wait, LONGEST))
        return wait

    def _release(self) -> None:
        if self._end is not None:
            self._end.cancel()
        self._end = None
        self._owner.reserved -= self._reserved
        self._reserved = 0.0


async def _pause(seconds: float) -> None:
    if seconds:
        await asyncio.sleep(seconds)


_present: ContextVar[Account | None] = ContextVar("account", default=None)


def enter(account: Account) -> None:
    """Makes this the account of the present call, for its code and its threads."""
    _present.set(account)


async def turn(size: int) -> None:
    """`Account.turn` of the present call, if it has an account, for a request of its stream."""
    account = _present.get()
    if account is not None:
        await account.turn(size)


class Charged(Generic[T]):
    """Awaits a coroutine, whose steps on the event loop are charged to an account."""

    def __init__(self, account: Account, work: Coroutine[Any, Any, T]) -> None:
        self._account = account
        self._work = work

    def __await__(self) -> Generator[Any, None, T]:
        steps = self._work
        error: BaseException | None = None
        while True:
            began = time.thread_time()
            try:
                waits_for = steps.send(None) if error is None else steps.throw(error)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]
            finally:
                error = None  # else its traceback would keep this frame
                self._account.charge(time.thread_time() - began)
            try:
                yield waits_for
            except BaseException as thrown:
                error = thrown


def charge_threads() -> None:
    """From now on, what the running event loop's threads do for a call is charged to its account,
    too."""
    loop = asyncio.get_running_loop()
    if loop not in _charging:
        _charging.add(loop)
        loop.set_default_executor(_Threads())


_charging: weakref.WeakSet[asyncio.AbstractEventLoop] = weakref.WeakSet()


class _Threads(ThreadPoolExecutor):
    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        account = _present.get()
        if account is None:
            return super().submit(fn, *args, **kwargs)
        return super().submit(_charged, account, fn, *args, **kwargs)


def _charged(account: Account, work: Callable[..., T], /, *args: Any, **kwargs: Any) -> T:
    began = time.thread_time()
    try:
        return work(*args, **kwargs)
    finally:
        account.charge(time.thread_time() - began)
