"""`mentorgrad workers`: the agents that execute the runs of a store."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import typer

from mentorgrad.cli.support.options import (
    DEFAULT_SERVER,
    ColumnsOption,
    JsonOption,
    ServerOption,
    StoreOption,
)
from mentorgrad.cli.support.output import Output, moment, name_values
from mentorgrad.cli.support.service_access import open_agents

if TYPE_CHECKING:
    from mentorgrad.domain.agent import Agent

app = typer.Typer(
    help="Show what executes runs.",
    no_args_is_help=True,
    epilog="Example: mentorgrad workers list",
)


@app.callback()
def _root() -> None:
    """Keeps `list` a subcommand."""


@app.command("list", epilog="Example: mentorgrad workers list --server 127.0.0.1:50551")
def _list(
    columns: ColumnsOption = "",
    server: ServerOption = DEFAULT_SERVER,
    store: StoreOption = "",
    as_json: JsonOption = False,
) -> None:
    """List the trainers and workers of a store, what each executes, and when it reported last."""
    with open_agents(server, store) as reader:
        found = reader.list_workers()
    Output(as_json).page(found, "agents", _COLUMNS, columns, _SPARE, "trainers or workers")


def _state(agent: Agent) -> str:
    if not agent.is_alive():
        return "dead"
    return "draining" if agent.is_draining else "alive"


_COLUMNS: dict[str, Callable[[Agent], str]] = {
    "name": lambda agent: agent.name,
    "service": lambda agent: agent.service,
    "state": _state,
    "runs": lambda agent: f"{len(agent.run_ids)} of {agent.slots}",
    "executes": lambda agent: " ".join(agent.run_ids),
    "devices": lambda agent: " ".join(agent.devices),
    "memory": lambda agent: f"{agent.memory_mib} MiB" if agent.memory_mib else "",
    "mentors": lambda agent: " ".join(agent.mentors),
    "labels": lambda agent: name_values(agent.labels, " "),
    "refuses": lambda agent: str(len(agent.refused)),
    "seen": lambda agent: moment(agent.seen_at),
    "host": lambda agent: agent.host,
    "version": lambda agent: agent.version,
}

_SPARE = ("version", "host", "memory", "mentors", "labels", "devices", "executes")
"""Columns that a narrow terminal does without, the first one first."""
