"""Options of the commands that care for a store."""

from __future__ import annotations

from typing import Annotated

import typer

WritableStoreOption = Annotated[
    str,
    typer.Option(
        "--store",
        metavar="URL",
        envvar="MENTORGRAD_TRAINER_STORE",
        help="sqlite:///FILE or postgresql://...; a user who may write it.",
    ),
]

ReadableStoreOption = Annotated[
    str,
    typer.Option(
        "--store",
        metavar="URL",
        envvar="MENTORGRAD_TRAINER_STORE",
        help="sqlite:///FILE or postgresql://...",
    ),
]
