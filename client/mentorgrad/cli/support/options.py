"""The options that many commands have."""

from __future__ import annotations

from typing import Annotated

import typer

DEFAULT_SERVER = "127.0.0.1:50551"
"""Where the commands look for a trainer service."""

DEFAULT_MENTOR = "127.0.0.1:50552"
"""Where the commands look for a mentor service."""

ServerOption = Annotated[
    str,
    typer.Option(
        "--server", metavar="HOST:PORT", envvar="MENTORGRAD_SERVER", help="Trainer service."
    ),
]

StoreOption = Annotated[
    str,
    typer.Option(
        "--store",
        metavar="URL",
        help="Read this store itself, without a service: sqlite:///FILE or postgresql://...",
    ),
]

MentorOption = Annotated[
    str,
    typer.Option(
        "--mentor-server",
        metavar="HOST:PORT",
        envvar="MENTORGRAD_MENTOR",
        help="Mentor service.",
    ),
]

JsonOption = Annotated[bool, typer.Option("--json", help="JSON instead of text.")]

RunArgument = Annotated[str, typer.Argument(metavar="RUN", help="Id of the run.")]
