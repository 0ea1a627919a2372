"""Interface of the agents' storage."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Protocol

from mentorgrad.domain.agent import Agent, AgentReader
from mentorgrad.domain.run import DesiredState


@dataclass(frozen=True)
class Beat:
    """What a store answers to an agent's report."""

    wishes: Mapping[str, DesiredState] = field(default_factory=dict)
    """Run → what is wanted of it; the runs whose leases were renewed."""
    buries: bool = False
    """Whether it is one of the first two, by name, of the agents that report. These mark the runs
    whose leases have expired: two, because none takes a run from its own worker that hangs."""
    is_current: bool = True
    """Whether the store has the schema of this installation. Workers that are started after a
    migration cannot open it."""


class AgentStore(AgentReader, Protocol):
    """Stores what agents report. The guarantees in `run_store.protocols` apply here too."""

    def report_agent(
        self,
        agent: Agent,
        holder: str,
        held: Mapping[str, int] | None = None,
        lease: timedelta = timedelta(0),
    ) -> Beat:
        """Records an agent's present state, and renews the leases of its runs, in one transaction.
        The time is the store's.

        A run is passed over, without an error, if it is not RUNNING at this attempt, or if events
        are being appended to it at this moment.

        Args:
            agent: The agent; its `seen_at` is ignored.
            holder: Identifies its process.
            held: Run → attempt, of the runs that it executes.
            lease: Duration of the leases.

        Raises:
            Conflict: Another process has reported under this name within `SILENT` (reason
                NAME_TAKEN). The leases are renewed all the same.
        """
        ...

    def wishes(self, run_ids: Collection[str]) -> Mapping[str, DesiredState]:
        """What is wanted of runs, as far as there are such runs; cheap enough to read four times
        per second."""
        ...

    def end_agent(self, name: str, holder: str) -> None:
        """Removes an agent that ends; no-op if another process has its name."""
        ...
