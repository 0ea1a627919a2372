"""Agents: the processes that claim runs and execute them by workers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Protocol

from mentorgrad.domain.pages import Page

SILENT = timedelta(seconds=15)
"""An agent that has not reported for so long is taken for dead."""

DEVICE = "device"
"""Key of `RunSpec.requires` for the kind of device: ``cpu`` or ``cuda``."""

ANY_DEVICE = "any"
"""Value of `DEVICE` with which a run may go on with another kind of device."""


@dataclass(frozen=True)
class Agent:
    """A trainer service, or ``mentorgrad serve worker``: what it has, and what it does."""

    name: str = ""
    """Name among all agents of the store."""
    service: str = ""
    """``trainer`` or ``worker``."""
    host: str = ""
    """Name of its host."""
    version: str = ""
    """Version of its package."""
    devices: tuple[str, ...] = ()
    """Torch devices that it executes runs on."""
    slots: int = 0
    """Runs that it may execute at once."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """What specs may require of it: see `RunSpec.requires`."""
    mentors: tuple[str, ...] = ()
    """Names of the mentors that it can reach."""
    run_ids: tuple[str, ...] = ()
    """Runs that it executes, as far as the caller sees them."""
    refused: Mapping[str, str] = field(default_factory=dict)
    """Waiting run → why this agent cannot execute it; as far as the caller sees them."""
    is_draining: bool = False
    """Whether it takes no further runs."""
    started_at: datetime | None = None
    """When it started, UTC."""
    seen_at: datetime | None = None
    """When it reported last, UTC. It reports every two seconds."""

    def is_alive(self, now: datetime | None = None) -> bool:
        """Whether it has reported within the last 15 seconds.

        Args:
            now: Present time; None: that of this machine's clock.
        """
        return self.seen_at is not None and (now or datetime.now(UTC)) - self.seen_at < SILENT


@dataclass(frozen=True)
class AgentList(Page[Agent]):
    """The agents of a store."""

    agents: tuple[Agent, ...]
    """Agents by name: those that report, and those that have died within the last day."""
    next_page_token: str = ""
    """Empty: there is one page."""


def missing_labels(
    requires: Mapping[str, str], labels: Mapping[str, str], device: str
) -> list[tuple[str, str]]:
    """What an agent does not have of what a spec requires.

    Args:
        requires: `RunSpec.requires`.
        labels: The agent's labels.
        device: Kind of its devices, ``cpu`` or ``cuda``.

    Returns:
        Pairs of key and value.
    """
    has = {**labels, DEVICE: device}
    wanted = [pair for pair in requires.items() if pair != (DEVICE, ANY_DEVICE)]
    return [(key, value) for key, value in wanted if has.get(key) != value]


def no_agent_with(requires: Mapping[str, str], agents: AgentList) -> str:
    """A warning if no agent that reports has what a spec requires; else empty."""
    for agent in agents:
        device = agent.devices[0].partition(":")[0] if agent.devices else ""
        if agent.is_alive() and not missing_labels(requires, agent.labels, device):
            return ""
    wanted = ", ".join(f"{key} = {value}" for key, value in requires.items())
    return f"the run waits: it requires {wanted}, which no worker has at present"


def why_waiting(run_id: str, agents: AgentList, now: datetime | None = None) -> str:
    """Why a waiting run is not executed: no agent reports, or all refuse it; empty: it has to wait
    for its turn.

    Args:
        run_id: The run.
        agents: All agents.
        now: Present time; None: that of this machine's clock.
    """
    alive = [agent for agent in agents if agent.is_alive(now) and not agent.is_draining]
    if not alive:
        return "no worker reports"
    if all(run_id in agent.refused for agent in alive):
        return "; ".join(f"{agent.name}: {agent.refused[run_id]}" for agent in alive)
    return ""


class AgentReader(Protocol):
    """Reads the agents; implemented by the client and every store."""

    def list_workers(self) -> AgentList:
        """The agents of the store."""
        ...
