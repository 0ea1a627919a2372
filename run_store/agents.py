"""Interface of the agents' storage."""

from __future__ import annotations

from typing import Protocol

from mentorgrad.domain.agent import Agent, AgentReader


class AgentStore(AgentReader, Protocol):
    """Stores what agents report. The guarantees in `run_store.protocols` apply here too."""

    def report_agent(self, agent: Agent, holder: str) -> None:
        """Records an agent's present state; the time is the store's.

        Args:
            agent: The agent; its `seen_at` is ignored.
            holder: Identifies its process.

        Raises:
            Conflict: Another process has reported under this name within `SILENT` (reason
                NAME_TAKEN).
        """
        ...

    def end_agent(self, name: str, holder: str) -> None:
        """Removes an agent that ends; no-op if another process has its name."""
        ...
