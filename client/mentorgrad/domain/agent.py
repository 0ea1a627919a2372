"""Agents: the processes that claim runs and execute them by workers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Protocol

from mentorgrad.domain.pages import Page
from mentorgrad.domain.run import Run
from mentorgrad.domain.spec import ANY_DEVICE, CONTROLS, DEVICE, MEMORY, RunSpec

SILENT = timedelta(seconds=15)
"""An agent that has not reported for so long is taken for dead."""

_MOST_NAMED = 8
"""Agents whose reasons are told, if there are many."""


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
    """Runs that it executes, as far as the caller sees them; none, if it is dead."""
    refused: Mapping[str, str] = field(default_factory=dict)
    """Waiting run → why this agent cannot execute it; as far as the caller sees them."""
    is_draining: bool = False
    """Whether it takes no further runs."""
    started_at: datetime | None = None
    """When it started, UTC."""
    seen_at: datetime | None = None
    """When it reported last, UTC. It reports every two seconds."""
    memory_mib: int = 0
    """Memory of its smallest device, in MiB: of the GPU, or of the host for the CPU. 0: unknown."""

    @property
    def device(self) -> str:
        """Kind of its devices, ``cpu`` or ``cuda``; empty: it has none."""
        return self.devices[0].partition(":")[0] if self.devices else ""

    @property
    def most_devices(self) -> int:
        """Devices that one run may have: different GPUs, or slots of the CPU."""
        return self.slots if self.device == "cpu" else min(len(self.devices), self.slots)

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


def is_mib(text: str) -> bool:
    """Whether a value of `MEMORY` is a whole number of MiB."""
    return text.isascii() and text.isdigit() and len(text) <= 12


def unmet(spec: RunSpec, agent: Agent) -> Iterator[str]:
    """What a run asks for and an agent does not have, by what the agent reports. Whether its data
    and models are there, only the agent knows: see `Agent.refused`.

    Args:
        spec: The run's spec.
        agent: The agent. A trainer executes runs of all mentors: it has checked them.
    """
    if not agent.slots:
        yield "executes no runs"
        return
    has = {**agent.labels, DEVICE: agent.device, MEMORY: str(agent.memory_mib or "unknown")}
    for key, value in spec.requires.items():
        if key == MEMORY:
            is_met = is_mib(value) and agent.memory_mib >= int(value)
        else:
            is_met = has.get(key) == value or (key, value) == (DEVICE, ANY_DEVICE)
        if not is_met:
            yield f"requires {key} = {value}; this worker has {has.get(key, 'none')}"
    if spec.devices > agent.most_devices:
        yield f"needs {spec.devices} devices; this worker has {agent.most_devices} for one run"
    name = spec.mentor.name
    if agent.service == "worker" and name not in (*CONTROLS, *agent.mentors):
        yield f"needs the mentor {name}, which this worker does not know"


def no_agent_for(spec: RunSpec, agents: AgentList) -> str:
    """A warning if no agent that reports has what a run asks for; else empty."""
    why = _why_nobody({agent.name: next(unmet(spec, agent), "") for agent in _taking(agents)})
    return f"the run waits: {why}" if why else ""


def why_waiting(run: Run, agents: AgentList, now: datetime | None = None) -> str:
    """Why a waiting run is not executed: no agent reports, or none can execute it; empty: it has
    to wait for its turn.

    Args:
        run: The run.
        agents: All agents.
        now: Present time; None: that of this machine's clock.
    """
    return _why_nobody(
        {
            agent.name: agent.refused.get(run.run_id) or next(unmet(run.spec, agent), "")
            for agent in _taking(agents, now)
        }
    )


def _taking(agents: AgentList, now: datetime | None = None) -> list[Agent]:
    """The agents that take runs."""
    return [one for one in agents if one.is_alive(now) and one.slots and not one.is_draining]


def _why_nobody(reasons: Mapping[str, str]) -> str:
    """The reasons of all agents, by name; empty if one has none."""
    if not reasons:
        return "no worker reports"
    if not all(reasons.values()):
        return ""
    told = [f"{name}: {why}" for name, why in reasons.items()]
    more = len(told) - _MOST_NAMED
    return "; ".join(told[:_MOST_NAMED] + ([f"and {more} more"] if more > 0 else []))


class AgentReader(Protocol):
    """Reads the agents; implemented by the client and every store."""

    def list_workers(self) -> AgentList:
        """The agents of the store."""
        ...
