"""`mentorgrad mentor`: asks a mentor service, and shows what it offers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mentorgrad.cli.support.options import DEFAULT_MENTOR, JsonOption, MentorOption
from mentorgrad.cli.support.output import Output, seconds
from mentorgrad.cli.support.service_access import open_mentor

if TYPE_CHECKING:
    from mentorgrad.domain.advice import StrategyInfo

app = typer.Typer(
    help="Ask a mentor service, or show what it offers.",
    no_args_is_help=True,
    epilog="Example: mentorgrad mentor info",
)


@app.command("ask", epilog="Example: mentorgrad mentor ask question.json")
def ask(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE.json",
            help="JSON file with the fields open, batches and request of ProposeInput.",
        ),
    ],
    server: MentorOption = DEFAULT_MENTOR,
    as_json: JsonOption = False,
) -> None:
    """Send one trajectory to a mentor and print its proposals."""
    from mentorgrad.cli.support.specs import read_json
    from mentorgrad.domain.advice import ProposeInput
    from mentorgrad.serialization import from_dict

    question = from_dict(ProposeInput, read_json(file))
    with open_mentor(server) as client:
        answer = client.propose(question)
    out = Output(as_json)
    if as_json:
        out.json(answer)
        return
    out.line(str(answer.status) + (f": {answer.detail}" if answer.detail else ""))
    for proposal in answer.proposals:
        what = proposal.text or ", ".join(f"{value:g}" for value in proposal.values)
        out.line(f"{proposal.proposal_id}\t{what}")
    for record in answer.records:
        out.line(
            f"{record.model}, seed {record.seed}: {record.prompt_tokens} + {record.reply_tokens} "
            f"tokens in {seconds(record.duration)} s"
        )


@app.command("info", epilog="Example: mentorgrad mentor info --mentor-server 127.0.0.1:50552")
def info(server: MentorOption = DEFAULT_MENTOR, as_json: JsonOption = False) -> None:
    """Show a mentor's model, backend, limits and strategies."""
    with open_mentor(server) as client:
        found = client.info()
    out = Output(as_json)
    if as_json:
        out.json(found)
        return
    out.pairs(
        [
            ("model", found.model),
            ("backend", found.backend),
            ("profile", found.profile),
            ("max. proposals", str(found.max_proposals)),
            ("context", f"{found.context_tokens} tokens"),
            ("version", found.version),
        ]
    )
    rows = [(item.name, item.description) for item in found.strategies]
    out.table(("strategy", "description"), rows)
    out.line("Options of a strategy: mentorgrad mentor strategies NAME")


@app.command("strategies", epilog="Example: mentorgrad mentor strategies leo")
def strategies(
    name: Annotated[
        str,
        typer.Argument(
            metavar="[NAME]", help="Show one strategy with its options; default: list all."
        ),
    ] = "",
    server: MentorOption = DEFAULT_MENTOR,
    as_json: JsonOption = False,
) -> None:
    """Show what a mentor's strategies do, and their options."""
    from mentorgrad.errors import NotFound

    with open_mentor(server) as client:
        offered = client.info().strategies
    found = [item for item in offered if name in ("", item.name)]
    if not found:
        names = ", ".join(item.name for item in offered)
        raise NotFound(f"this mentor has no strategy {name!r}; it has: {names}")
    out = Output(as_json)
    if as_json:
        out.json(found)
        return
    if not name:
        rows = [(item.name, _needs(item), item.description) for item in found]
        out.table(("strategy", "needs", "description"), rows)
        return
    (one,) = found
    pairs = [("strategy", one.name), ("description", one.description), ("needs", _needs(one))]
    if one.kinds:
        pairs.append(("proposes", ", ".join(one.kinds)))
    out.pairs(pairs)
    options: Mapping[str, Mapping[str, Any]] = one.options_schema.get("properties", {})
    out.table(
        ("option", "values", "description"),
        [
            (option, _values(schema), str(schema.get("description", "")))
            for option, schema in options.items()
        ],
    )


def _needs(info: StrategyInfo) -> str:
    """Additional inputs that the strategy uses, if the run has them."""
    parts = [
        part
        for part in ("parameters", "hints", "embeddings", "exemplars")
        if getattr(info.wants, part)
    ]
    return ", ".join(parts) or "-"


def _values(schema: Mapping[str, Any]) -> str:
    """A short description of an option's allowed values."""
    if "enum" in schema:
        return " | ".join(map(str, schema["enum"]))
    kind = str(schema.get("type", "any"))
    if kind == "array":
        return f"list of {_values(schema.get('items', {}))}"
    limits = [
        f"{words} {schema[limit]}"
        for limit, words in (
            ("minimum", "at least"),
            ("exclusiveMinimum", "above"),
            ("maximum", "at most"),
            ("exclusiveMaximum", "below"),
        )
        if limit in schema
    ]
    return ", ".join([kind, *limits])
