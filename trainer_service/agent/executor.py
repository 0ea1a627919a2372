"""The interface between the scheduler and an executor, which starts worker processes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from mentorgrad.domain.run import DesiredState
from run_store.protocols import Lease


class WorkerHandle(Protocol):
    """A started worker."""

    run_id: str
    """The worker's run."""
    devices: tuple[str, ...]
    """The torch devices of the run's processes, the worker's first."""
    attempt: int
    """The run's attempt, which the agent has claimed."""
    has_begun: bool
    """Whether the worker has done its imports and executes the run."""

    async def wait(self) -> int:
        """Waits until the worker has ended; returns its exit code, or minus the signal number."""
        ...

    def alive(self) -> bool:
        """Whether the worker is still executing its run."""
        ...

    def is_silent(self) -> bool:
        """Whether the worker executes its run, but has not reported for ten seconds: it hangs."""
        ...

    def tell(self, desired: DesiredState) -> None:
        """Tells the worker that its lease is renewed, and what is wanted of its run. No-op if it
        has ended."""
        ...

    def terminate(self) -> None:
        """Asks the worker to save a checkpoint and exit. No-op if it has ended."""
        ...

    def kill(self) -> None:
        """Kills the worker at once. No-op if it has ended."""
        ...


class Executor(Protocol):
    """Starts workers. All methods are called on the service's event loop."""

    async def start(self, lease: Lease, devices: Sequence[str]) -> WorkerHandle:
        """Starts a worker for a claimed run on the first device; the worker starts a further
        process of the run on each of the others.

        Raises:
            Unavailable: No worker can be started now.
        """
        ...

    async def close(self) -> None:
        """Ends idle processes. The scheduler ends the workers that execute a run."""
        ...
