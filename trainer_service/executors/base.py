"""Where workers run: the small interface between the scheduler and an engine."""

from __future__ import annotations

from typing import Protocol

from mentorgrad.errors import InvalidInput


class WorkerHandle(Protocol):
    """A worker that was started."""

    run_id: str
    """Its run."""
    device: str
    """What it computes on."""
    attempt: int | None
    """The attempt that it claimed, once it said so; whoever buries its run needs the number."""

    async def wait(self) -> int:
        """Its exit code, when it has ended; negative: the signal that killed it."""
        ...

    def alive(self) -> bool:
        """Whether it still runs."""
        ...

    def terminate(self) -> None:
        """Asks it to save a checkpoint and end. Does nothing when it has ended."""
        ...

    def kill(self) -> None:
        """Ends it at once. Does nothing when it has ended."""
        ...


class Executor(Protocol):
    """Starts workers. All methods are called on the service's event loop."""

    remote: bool
    """Whether workers may run on other hosts; such an executor refuses a store in a file."""

    async def start(self, run_id: str, device: str) -> WorkerHandle:
        """Starts a worker for a run.

        Raises:
            Unavailable: None can be started now.
        """
        ...

    async def close(self) -> None:
        """Ends what is idle. The workers with a run are the scheduler's to end."""
        ...


def check_store(executor: Executor, store_url: str) -> None:
    """Refuses a store that an executor's workers cannot reach.

    Raises:
        InvalidInput: SQLite or memory for workers on other hosts.
    """
    if executor.remote and not store_url.startswith("postgresql"):
        raise InvalidInput.field(
            "store", "must be postgresql://... when workers run on other hosts"
        )
