"""Options shared by many commands."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated

import typer

from mentorgrad.cli.support.completion import run_ids

DEFAULT_SERVER = "127.0.0.1:50551"
"""Default address of the trainer service."""

DEFAULT_MENTOR = "127.0.0.1:50552"
"""Default address of the mentor service."""


class Scale(StrEnum):
    """How much of an experiment is executed."""

    FULL = "full"
    TINY = "tiny"


ServerOption = Annotated[
    str,
    typer.Option(
        "--server", metavar="HOST:PORT", envvar="MENTORGRAD_SERVER", help="Trainer address."
    ),
]

OptionalServerOption = Annotated[
    str,
    typer.Option(
        "--server",
        metavar="HOST:PORT",
        help="Address of a trainer, which gets the data by upload. Default: services are started, "
        "and stopped at the end.",
    ),
]


def _not_empty(context: typer.Context, option: typer.CallbackParam, value: str) -> str:
    """Refuses an empty value that was given, as by a variable of the shell that is not set."""
    source = context.get_parameter_source(option.name or "")
    if not value and source is not None and source.name == "COMMANDLINE":
        raise typer.BadParameter("must not be empty", param_hint=" ".join(option.opts))
    return value


StoreOption = Annotated[
    str,
    typer.Option(
        "--store",
        metavar="URL",
        callback=_not_empty,
        help="Read from this store instead of a service: sqlite:///FILE or postgresql://...",
    ),
]

MentorOption = Annotated[
    str,
    typer.Option(
        "--mentor-server",
        metavar="HOST:PORT",
        envvar="MENTORGRAD_MENTOR",
        help="Mentor address.",
    ),
]

PredictServerOption = Annotated[
    str,
    typer.Option(
        "--server", metavar="HOST:PORT", help="Predict by this predict service, without RESULT."
    ),
]

UploadOption = Annotated[
    bool,
    typer.Option(
        "--upload", help="Send the data files of tasks, which are on this machine, to the trainer."
    ),
]

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]

LimitOption = Annotated[int, typer.Option("--limit", min=1, max=1000, help="Page size.")]

PageOption = Annotated[
    str, typer.Option("--page", metavar="TOKEN", help="Page token from the previous result.")
]

ColumnsOption = Annotated[
    str,
    typer.Option(
        "--columns",
        metavar="NAME,...",
        help="Columns to print, by their names in the table. Default: all; on a terminal, as many "
        "as fit.",
    ),
]

_TIMES = ["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"]

SinceOption = Annotated[
    datetime | None, typer.Option("--since", formats=_TIMES, help="From this time on, UTC.")
]

UntilOption = Annotated[
    datetime | None, typer.Option("--until", formats=_TIMES, help="Before this time, UTC.")
]

WordsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--words",
        metavar="LABEL=WORD,...",
        help="What a model reads for the labels of a file, such as 0=negative,1=positive.",
    ),
]

MirrorOption = Annotated[
    str,
    typer.Option(
        "--mirror",
        metavar="TOOL[:FOLDER]",
        help="Also write the run for tensorboard, mlflow or wandb (offline), from its first event.",
    ),
]

_ID = "Run ID, or a beginning that no other has."

RunArgument = Annotated[str, typer.Argument(metavar="RUN", help=_ID, autocompletion=run_ids)]

RunArguments = Annotated[
    list[str],
    typer.Argument(metavar="RUN...", help="Run IDs, or their beginnings.", autocompletion=run_ids),
]
