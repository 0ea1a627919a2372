"""Stops a run on request: finish, pause or cancel, a lost lease, or the exit of the parent process.

The agent tells what is wanted, or a side thread polls the store; this sets a flag. The run's thread
checks the flag at every step boundary, where its state is consistent, and is stopped there by an
exception.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from enum import StrEnum
from typing import Protocol

import structlog

from mentorgrad.domain.run import DesiredState
from mentorgrad.errors import Conflict, MentorgradError, NotFound
from run_store.protocols import Lease, RunWriter

log = structlog.get_logger(__name__)

POLL_SECONDS = 0.2
"""Interval at which the desired state is read if no agent tells it."""
HEARTBEAT_SECONDS = 2.0
"""Interval at which the lease is renewed."""
LEASE = timedelta(seconds=15)
"""Duration of a lease: a run for which it is not renewed in this time is taken up by others."""
AGENT_SILENCE = 6.0
"""Seconds without a word of the agent after which a worker renews its lease itself."""


MODEL_AWAY = "TUNED_MODEL_AWAY"
"""Error reason: the tuned model's server does not answer. The run is paused."""
MODEL_CHANGED = "TUNED_MODEL_CHANGED"
"""Error reason: the tuned model is not that of the run's start. The run is paused."""
DEVICES_CHANGED = "DEVICES_CHANGED"
"""Error reason: the worker has another number of devices than the run needs. The run is paused."""
DEVICE_LOST = "a device of the worker does not answer"
"""Reason of an INTERRUPTED run whose worker has lost its device, which is no death of a worker."""


class StopKind(StrEnum):
    """Why a run is stopped early, in ascending order of priority."""

    FINISH = "finish"
    AWAY = "away"
    INTERRUPT = "interrupt"
    PAUSE = "pause"
    CANCEL = "cancel"
    LOST = "lost"


_LEAVING = (StopKind.INTERRUPT, StopKind.LOST)
"""After these the process exits, even if not everything could be recorded."""


def prevailing(kinds: Iterable[StopKind]) -> StopKind:
    """The kind of the highest priority."""
    return max(kinds, key=tuple(StopKind).index)


class Stop(Exception):
    """Raised in the run's thread to stop the run.

    Args:
        kind: Why.
        between_steps: Whether the run's state is consistent and can be saved. Otherwise the last
            checkpoint applies.
    """

    def __init__(self, kind: StopKind, *, between_steps: bool = True) -> None:
        super().__init__(kind.value)
        self.kind = kind
        self.between_steps = between_steps


class StopControl(Protocol):
    """The run's view of stop requests."""

    def check(self) -> None:
        """Raises `Stop` if a stop was requested; cheap enough for every step."""
        ...

    def on_stop(self, callback: Callable[[], None]) -> None:
        """Registers a callback that is called, from any thread, when a stop is requested."""
        ...


def check_within(control: StopControl) -> Callable[[], None]:
    """A check for stop requests to be called within a step."""

    def check() -> None:
        try:
            control.check()
        except Stop as stop:
            raise Stop(stop.kind, between_steps=False) from None

    return check


class GuardedStopControl:
    """A `StopControl` with a second condition.

    Args:
        control: The first condition, which also takes the callbacks.
        guard: The second condition: raises `Stop` if the run must stop.
    """

    def __init__(self, control: StopControl, guard: Callable[[], None]) -> None:
        self._control = control
        self._guard = guard
        self._acknowledged: StopKind | None = StopKind.FINISH

    def acknowledge(self, kind: StopKind) -> None:
        """From now on, a request of this kind raises nothing: the run is ending because of it."""
        self._acknowledged = kind

    @contextmanager
    def finishing(self, finished: Callable[[Stop], None]) -> Iterator[None]:
        """In this block, which takes the run's steps, a request to finish applies: it ends the
        block, and `finished` is called. Anywhere else it raises nothing."""
        self._acknowledged = None
        try:
            yield
        except Stop as stop:
            if stop.kind is not StopKind.FINISH:
                raise
            finished(stop)
        finally:
            self._acknowledged = StopKind.FINISH

    def check(self) -> None:
        """See `StopControl`."""
        try:
            self._control.check()
        except Stop as stop:
            if stop.kind is not self._acknowledged:
                raise
        self._guard()

    def on_stop(self, callback: Callable[[], None]) -> None:
        """See `StopControl`."""
        self._control.on_stop(callback)


class StopRequest:
    """A `StopControl` whose stop is requested by method calls: from the side thread (`request`) or
    from a signal handler (`note`)."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._kind: StopKind | None = None
        self._is_leaving = False
        self._callbacks: list[Callable[[], None]] = []

    @property
    def kind(self) -> StopKind | None:
        """The requested stop, if any."""
        return self._kind

    def is_leaving(self) -> bool:
        """Whether the process must exit soon, regardless of other requests."""
        return self._is_leaving

    def request(self, kind: StopKind) -> None:
        """Requests a stop; of several requests, the one of highest priority applies (`StopKind`).

        The callbacks are called every time, because the activity that a callback ends may have
        begun just after its last call.
        """
        with self._lock:
            self._is_leaving |= kind in _LEAVING
            self._kind = prevailing([self._kind or kind, kind])
            callbacks = tuple(self._callbacks)
        for callback in callbacks:
            callback()

    def note(self, kind: StopKind) -> None:
        """Requests a stop from a signal handler: takes no lock and calls no callbacks. The side
        thread calls them."""
        self._is_leaving |= kind in _LEAVING
        if self._kind in (None, StopKind.FINISH):
            self._kind = kind

    def check(self) -> None:
        """Raises `Stop` if a stop was requested."""
        if self._kind is not None:
            raise Stop(self._kind)

    def on_stop(self, callback: Callable[[], None]) -> None:
        """Registers a callback for a stop; calls it at once if a stop was requested already."""
        with self._lock:
            self._callbacks.append(callback)
            wanted = self._kind is not None
        if wanted:
            callback()


_WANTED = {
    DesiredState.FINISH: StopKind.FINISH,
    DesiredState.PAUSE: StopKind.PAUSE,
    DesiredState.CANCEL: StopKind.CANCEL,
}


class RunMonitor:
    """The side thread: watches the parent process and, unless an agent does so, polls the desired
    state and renews the lease.

    Args:
        store: The run store.
        lease: The run and its attempt.
        stopper: Receives the stop requests.
        parent: Process id of the parent, whose exit stops the run; 0: no parent is watched. It is
            passed in because `os.getppid` returns another process if the parent has exited already.
        silence: Seconds from the start, and from each word of the agent (`hear`), in which the
            agent renews the lease and passes on what is wanted; 0: there is no agent.
        on_lost: Called if the lease is lost and the run's thread did not end within `patience`;
            a worker exits its process here.
        patience: Seconds; also the maximum time that leaving the block waits for the thread.
    """

    def __init__(
        self,
        store: RunWriter,
        lease: Lease,
        stopper: StopRequest,
        *,
        parent: int = 0,
        silence: float = 0.0,
        on_lost: Callable[[], None] = lambda: None,
        patience: float = 5.0,
    ) -> None:
        self._store = store
        self._lease = lease
        self._stopper = stopper
        self._parent = parent
        self._silence = silence
        self._heard_at = self._beaten_at = time.monotonic()
        self._on_lost = on_lost
        self._patience = patience
        self._is_away = False
        self._asked_at = 0.0
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="control", daemon=True)

    def __enter__(self) -> RunMonitor:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        self._thread.join(self._patience)

    def hear(self, desired: DesiredState) -> None:
        """Takes a word of the agent, which holds the lease. Called from any thread."""
        self._heard_at = time.monotonic()
        if desired in _WANTED:
            self._stopper.request(_WANTED[desired])

    def _watch(self) -> None:
        while not self._closed.wait(POLL_SECONDS):
            if self._parent and os.getppid() != self._parent:
                self._stopper.request(StopKind.INTERRUPT)
            if self._stopper.kind is not None:
                self._stopper.request(self._stopper.kind)
            if time.monotonic() - self._heard_at < self._silence:
                continue
            if self._is_away and time.monotonic() - self._asked_at < HEARTBEAT_SECONDS:
                continue
            self._asked_at = time.monotonic()
            try:
                desired = self._ask()
            except (Conflict, NotFound) as error:
                self._lost(error.message)
                return
            except MentorgradError as error:  # the store is unavailable; the lease may outlast that
                if not self._is_away:
                    log.warning("store_unreachable", error=error.message)
                self._is_away = True
                continue
            self._is_away = False
            if desired in _WANTED:
                self._stopper.request(_WANTED[desired])

    def _ask(self) -> DesiredState:
        """Asks the store what is wanted, and renews the lease if it is time."""
        if time.monotonic() - self._beaten_at < HEARTBEAT_SECONDS:
            return self._store.desired(self._lease.run_id)
        desired = self._store.heartbeat(self._lease.run_id, self._lease.attempt, LEASE)
        self._beaten_at = time.monotonic()
        return desired

    def _lost(self, why: str) -> None:
        log.error("lease_lost", run_id=self._lease.run_id, error=why)
        self._stopper.request(StopKind.LOST)
        if not self._closed.wait(self._patience):
            self._on_lost()
