"""`mentorgrad tasks`: fetching data sets of the hub."""

from __future__ import annotations

from typing import Annotated

import typer

from mentorgrad.cli.support.options import JsonOption
from mentorgrad.cli.support.output import Output

app = typer.Typer(
    help="Fetch tasks.",
    no_args_is_help=True,
    epilog="Example: mentorgrad tasks pull hf:super_glue/rte",
)


@app.callback()
def _group() -> None:
    pass


@app.command("pull", epilog="Example: mentorgrad tasks pull hf:fancyzhx/ag_news")
def pull(
    reference: Annotated[str, typer.Argument(help="hf:org/name\\[/config]\\[@revision]")],
    as_json: JsonOption = False,
) -> None:
    """Download a data set from the hub to the local cache; nothing else here does.

    A trainer finds it there, or under one of its data roots.
    """
    from mentorgrad import dataset_refs

    found = dataset_refs.pull(reference)
    out = Output(as_json)
    if as_json:
        out.json({"reference": reference, "path": str(found.folder), "config": found.config})
    else:
        out.line(str(found.folder))
