"""What stops a run from outside: a request, a lost lease, a dead parent.

A side thread polls the store and sets flags; the run's thread asks at every step boundary and is
stopped by an exception there, with its state whole.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from enum import StrEnum
from typing import Protocol

import structlog

from mentorgrad.domain.run import DesiredState
from mentorgrad.errors import Conflict, MentorgradError, NotFound
from run_store.protocols import Lease, RunWriter

log = structlog.get_logger(__name__)

POLL_SECONDS = 0.2
"""How often the desired state is read."""
HEARTBEAT_SECONDS = 2.0
"""How often the lease is prolonged."""
LEASE = timedelta(seconds=15)
"""How long a worker may be silent before its run is taken from it."""


class StopKind(StrEnum):
    """Why a run is stopped before its end; the weakest wish first."""

    AWAY = "away"
    INTERRUPT = "interrupt"
    PAUSE = "pause"
    CANCEL = "cancel"
    LOST = "lost"


_LEAVING = (StopKind.INTERRUPT, StopKind.LOST)
"""After these the process ends, be everything recorded or not."""


class Stop(Exception):
    """Unwinds the run's thread to its beginning."""

    def __init__(self, kind: StopKind) -> None:
        super().__init__(kind.value)
        self.kind = kind


class StopControl(Protocol):
    """What the run's thread asks."""

    def check(self) -> None:
        """Raises `Stop` when the run is to stop; cheap enough for every step."""
        ...

    def on_stop(self, callback: Callable[[], None]) -> None:
        """Has `callback` called, from any thread, as soon as a stop is wanted."""
        ...


class GuardedStopControl:
    """A `StopControl` that asks a second one too.

    Args:
        control: The first one, which alone is told of callbacks.
        guard: Raises `Stop` when the run is to stop.
    """

    def __init__(self, control: StopControl, guard: Callable[[], None]) -> None:
        self._control = control
        self._guard = guard

    def check(self) -> None:
        """See `StopControl`."""
        self._control.check()
        self._guard()

    def on_stop(self, callback: Callable[[], None]) -> None:
        """See `StopControl`."""
        self._control.on_stop(callback)


class StopRequest:
    """A `StopControl` that is told by whoever holds it; the side thread's, a signal handler's."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._kind: StopKind | None = None
        self._is_leaving = False
        self._callbacks: list[Callable[[], None]] = []

    @property
    def kind(self) -> StopKind | None:
        """What is wanted, if anything."""
        return self._kind

    def is_leaving(self) -> bool:
        """Whether the process is to end soon, whatever else is wanted."""
        return self._is_leaving

    def request(self, kind: StopKind) -> None:
        """Wants a stop; of several requests the strongest holds (`StopKind` is in that order).

        The callbacks are called every time: what one of them is to end may have begun just after
        the last call.
        """
        order = tuple(StopKind)
        with self._lock:
            self._is_leaving |= kind in _LEAVING
            if self._kind is None or order.index(kind) > order.index(self._kind):
                self._kind = kind
            callbacks = tuple(self._callbacks)
        for callback in callbacks:
            callback()

    def note(self, kind: StopKind) -> None:
        """Wants a stop, from a signal handler: takes no lock and calls nobody. The side thread
        tells the callbacks."""
        self._is_leaving |= kind in _LEAVING
        if self._kind is None:
            self._kind = kind

    def check(self) -> None:
        """Raises `Stop` when one is wanted."""
        if self._kind is not None:
            raise Stop(self._kind)

    def on_stop(self, callback: Callable[[], None]) -> None:
        """Has `callback` called at a stop; at once if one is wanted already."""
        with self._lock:
            self._callbacks.append(callback)
            wanted = self._kind is not None
        if wanted:
            callback()


_WANTED = {DesiredState.CANCEL: StopKind.CANCEL, DesiredState.PAUSE: StopKind.PAUSE}


class RunMonitor:
    """The side thread: polls the desired state, prolongs the lease, minds the parent.

    Args:
        store: Where the run is.
        lease: The run and its attempt.
        stopper: What is told.
        parent: Process id of this process's parent, with which it stops; 0: with nobody. Told from
            outside: who has died by now has left this process to another.
        on_lost: Called when the lease is lost and the run's thread did not end within `patience`;
            a worker ends its process here.
        patience: Seconds; a store that is silent for so long at the end is left behind, too.
    """

    def __init__(
        self,
        store: RunWriter,
        lease: Lease,
        stopper: StopRequest,
        *,
        parent: int = 0,
        on_lost: Callable[[], None] = lambda: None,
        patience: float = 5.0,
    ) -> None:
        self._store = store
        self._lease = lease
        self._stopper = stopper
        self._parent = parent
        self._on_lost = on_lost
        self._patience = patience
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="control", daemon=True)

    def __enter__(self) -> RunMonitor:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        self._thread.join(self._patience)

    def _watch(self) -> None:
        beaten = time.monotonic()
        while not self._closed.wait(POLL_SECONDS):
            if self._parent and os.getppid() != self._parent:
                self._stopper.request(StopKind.INTERRUPT)
            if self._stopper.kind is not None:
                self._stopper.request(self._stopper.kind)
            try:
                if time.monotonic() - beaten >= HEARTBEAT_SECONDS:
                    desired = self._store.heartbeat(self._lease.run_id, self._lease.attempt, LEASE)
                    beaten = time.monotonic()
                else:
                    desired = self._store.desired(self._lease.run_id)
            except (Conflict, NotFound) as error:
                self._lost(error.message)
                return
            except MentorgradError as error:  # the store is away; the lease may outlast that
                log.warning("store_unreachable", error=error.message)
                continue
            if desired in _WANTED:
                self._stopper.request(_WANTED[desired])

    def _lost(self, why: str) -> None:
        log.error("lease_lost", run_id=self._lease.run_id, error=why)
        self._stopper.request(StopKind.LOST)
        if not self._closed.wait(self._patience):
            self._on_lost()
