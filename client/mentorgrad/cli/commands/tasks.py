"""`mentorgrad tasks`: downloads data sets from the Hugging Face hub."""

from __future__ import annotations

from typing import Annotated

import typer

from mentorgrad.cli.support.options import JsonOption
from mentorgrad.cli.support.output import Output

app = typer.Typer(
    help="Download data sets for tasks.",
    no_args_is_help=True,
    epilog="Example: mentorgrad tasks pull hf:super_glue/rte",
)


@app.callback()
def _group() -> None:
    pass


@app.command("pull", epilog="Example: mentorgrad tasks pull hf:fancyzhx/ag_news")
def pull(
    reference: Annotated[
        str,
        typer.Argument(
            help="Data set on the Hugging Face hub: hf:org/name\\[/config]\\[@revision]"
        ),
    ],
    as_json: JsonOption = False,
) -> None:
    """Download a data set from the Hugging Face hub to the local cache.

    A trainer reads data sets from this cache or from its data roots. It never downloads them.
    """
    from mentorgrad import dataset_refs

    found = dataset_refs.pull(reference)
    path = str(found.folder)
    Output(as_json).result({"reference": reference, "path": path, "config": found.config}, path)
