"""Commands that other packages of the distribution provide as entry points.

They are loaded on use, so the CLI also starts if their dependencies are not installed.
"""

from __future__ import annotations

import importlib.metadata
from typing import Any

import typer

from mentorgrad.cli.support.extras import load_entry_point
from mentorgrad.errors import Unsupported
from mentorgrad.installed import pip_line

GROUP = "mentorgrad.commands"
"""Entry-point group of typer apps; the entry point's name is the command's name."""

ROOT_COMMANDS = {"tokens": "service", "certs": "service", "store": "trainer"}
"""Members of the group that are root commands of the CLI, with the extra that each needs. Every
other member is a service: its app has a command ``serve``, which becomes ``mentorgrad serve NAME``.
"""

SERVICE_EXTRAS = {"predictor": "trainer", "worker": "trainer"}
"""Extras of services whose extra does not have their name."""


def service_names() -> list[str]:
    """Names of the services whose entry points are installed."""
    members = importlib.metadata.entry_points(group=GROUP)
    return sorted({member.name for member in members} - ROOT_COMMANDS.keys())


def root_command(name: str) -> Any:
    """A click command of `ROOT_COMMANDS`."""
    return _command(name, ROOT_COMMANDS[name])


def service_command(name: str) -> Any:
    """The click command that runs a service."""
    command = _command(name, SERVICE_EXTRAS.get(name, name))
    command = getattr(command, "commands", {}).get("serve", command)
    command.name = name
    return command


def _command(name: str, extra: str) -> Any:
    try:
        command: Any = typer.main.get_command(load_entry_point(GROUP, name, extra))
    except Unsupported as error:
        return _missing(name, extra, error)
    command.name = name
    return command


def _missing(name: str, extra: str, error: Unsupported) -> Any:
    """A command that accepts any arguments and reports the missing package."""
    stand_in = typer.Typer(add_completion=False)

    @stand_in.command(
        name,
        help=f"Not installed; run: {pip_line(extra)}".replace("[", "\\["),
        context_settings={
            "allow_extra_args": True,
            "ignore_unknown_options": True,
            "help_option_names": [],
        },
    )
    def report() -> None:
        raise error

    return typer.main.get_command(stand_in)
