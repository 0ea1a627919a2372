"""The help of commands, as the terminal's width allows."""

from __future__ import annotations

import inspect
from typing import Any


def flowing(command: Any) -> Any:
    """The command, and those below it, with each paragraph of the help on one line.

    typer keeps the line breaks of a docstring, which are made for the width of the source; a
    narrower terminal then breaks each line once more.
    """
    if command is not None and command.help:
        paragraphs = inspect.cleandoc(command.help).split("\n\n")
        command.help = "\n\n".join(" ".join(one.split("\n")) for one in paragraphs)
    for inner in getattr(command, "commands", {}).values():
        flowing(inner)
    return command
