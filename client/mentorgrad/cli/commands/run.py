"""`mentorgrad run`: creates a run and watches it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from mentorgrad.cli.support.auth_options import declare
from mentorgrad.cli.support.flag_text import pairs_of, suffix, words_of
from mentorgrad.cli.support.options import (
    DEFAULT_SERVER,
    JsonOption,
    MirrorOption,
    ServerOption,
    UploadOption,
    WordsOption,
)
from mentorgrad.cli.support.output import Output, note
from mentorgrad.cli.support.service_access import open_client
from mentorgrad.domain.spec import RunSpec
from mentorgrad.errors import InvalidInput
from mentorgrad.schema import FieldKind, FieldType, field_types, snake_case

app = typer.Typer()

_DEFAULTS = (
    "Without options: tunes a soft prompt for the built-in task tickets, without a mentor. Ctrl-C "
    "stops watching, never the run."
)

_WITH_MODEL = ("causal_prompt", "lora", "prefix_tuning", "xgblora")
"""Objectives that `--model` is an option of."""

_FIELDS = {
    "task": ("task.name", "Task name, or hf:org/name."),
    "objective": (
        "objective",
        "Objective: label_prompt, prompt_tuning, multiple_choice, prefix_tuning, lora, xgblora, "
        "causal_prompt, served_prompt or function.",
    ),
    "model": (
        "objective.causal_prompt.model",
        "Language model that is tuned: for causal_prompt, which this option implies, or adapted by "
        "lora, prefix_tuning or xgblora.",
    ),
    "function": (
        "objective.function.name",
        "Test function to minimise: rastrigin, ackley, rosenbrock or levy.",
    ),
    "dimensions": ("objective.function.dimensions", "Number of variables of the test function."),
    "mentor": (
        "mentor.name",
        "Name of a mentor of the trainer, or of a control; none: no restarts.",
    ),
    "strategy": ("mentor.strategy", "Strategy of the mentor."),
    "mentor_mode": (
        "mentor.mode",
        "blocking: wait for the mentor; overlapped: continue training while it answers.",
    ),
    "proposals": ("mentor.proposals", "Proposals per restart."),
    "stages": ("stages.count", "Number of stages."),
    "steps": ("stages.steps", "Gradient steps per stage."),
    "optimizer": (
        "optimizer.name",
        "Optimizer: adamw or sgd; without gradients zo_sgd, zo_sign, zo_adam, zo_conservative or "
        "cma; with a forward derivative forward_grad.",
    ),
    "learning_rate": ("optimizer.learning_rate", "Peak learning rate."),
    "batch_size": ("optimizer.batch_size", "Train rows per gradient step."),
    "policy": ("acceptance.policy", "Acceptance policy: race, always, explore, best_of or first."),
    "gradient_steps": (
        "budget.gradient_steps",
        "Maximum number of gradient steps, including races and hints; 0: none, the mentor alone. "
        "Default: as many as the stages, races and hints take.",
    ),
    "evaluations": (
        "budget.evaluations",
        "Maximum number of evaluations on the selection split. Default: no limit.",
    ),
    "forward_rows": (
        "budget.forward_rows",
        "Maximum number of forward rows: rows through the tuned model. Default: no limit.",
    ),
    "criterion": (
        "criterion",
        "What ranks candidates on the selection split: loss, accuracy, macro_f1 or matthews.",
    ),
    "seed": ("seed", "Random seed."),
    "name": ("name", "Display name of the run."),
    "label": ("labels", "Label to attach (repeatable)."),
    "requires": ("requires", "Label that the worker must have (repeatable)."),
    "webhook": (
        "webhooks",
        "Webhook of the trainer that is told when the run ends, pauses or is interrupted "
        "(repeatable).",
    ),
}
"""Maps each option for a field of the spec to the field's path and the help text. Type and default
are the field's."""


def _option(name: str, path: str, text: str) -> Any:
    """The annotation of an option for a field of the spec."""
    value: Any = RunSpec()
    kind = FieldType(FieldKind.MESSAGE, RunSpec)
    for part in path.split("."):
        if kind.kind is FieldKind.UNION:
            value = next(made for made in kind.members if snake_case(made.__name__) == part)()
            kind = FieldType(FieldKind.MESSAGE, type(value))
        else:
            kind, value = field_types(type(value))[part], getattr(value, part)
    if kind.kind is FieldKind.UNION:
        value = snake_case(type(value).__name__)
    is_map = kind.kind is FieldKind.STRING_MAP
    is_list = is_map or kind.repeated
    plain: Any = list[str] if is_list else kind.base if kind.kind is FieldKind.SCALAR else str
    shown = f" \\[default: {value}]" if value or value == 0 else ""
    option = typer.Option(
        f"--{name.replace('_', '-')}",
        help=text + shown,
        show_default=False,
        rich_help_panel="Spec",
        metavar="NAME=VALUE" if is_map else "NAME" if is_list else None,
    )
    annotated: Any = Annotated
    return annotated[plain | None, option]


@app.command(
    "run",
    help=f"Create a run and watch it. {_DEFAULTS}",
    epilog="Example: mentorgrad run --task tickets --mentor random_tokens --seed 1; of a language "
    "model: mentorgrad run --objective causal_prompt --mentor description",
)
def _run(
    spec: Annotated[
        Path | None,
        typer.Option("--spec", metavar="FILE", help="TOML file with fields of the run spec."),
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(
            "--preset",
            help="Named spec to start from; the other options override it: maao_released.",
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="PATH=VALUE",
            help="Set any field of the spec, for example objective.label_prompt.n_tokens=4 "
            "(repeatable).",
        ),
    ] = None,
    words: WordsOption = None,
    request_id: Annotated[
        str,
        typer.Option(
            "--request-id",
            help="Idempotency key: the same ID returns the existing run. Default: a new run.",
        ),
    ] = "",
    upload: UploadOption = False,
    detach: Annotated[
        bool, typer.Option("--detach", help="Create the run, print its ID and exit.")
    ] = False,
    mirror: MirrorOption = "",
    server: ServerOption = DEFAULT_SERVER,
    as_json: JsonOption = False,
    **given: Any,
) -> None:
    from mentorgrad.cli.support.specs import build_spec

    if given["objective"] is None and (given["function"] or given["dimensions"]):
        given["objective"] = "function"
    objective = given["objective"] or "causal_prompt"
    if given["model"] and objective not in _WITH_MODEL:
        raise InvalidInput.field("--model", f"is not an option of {objective}")
    for name in ("label", "requires"):
        if given[name]:
            given[name] = pairs_of(f"--{name}", given[name])
    flags = {path: given[name] for name, (path, _) in _FIELDS.items()}
    flags[f"objective.{objective}.model"] = flags.pop(_FIELDS["model"][0])
    if words:
        named = words_of("--words", words)
        flags |= {"task.labels": list(named.values()), "task.label_values": list(named)}
    made = build_spec(spec, flags, settings or (), preset)
    _create(Output(as_json), made, server, request_id, detach, upload, mirror)


declare(_run, {name: (None, _option(name, *field)) for name, field in _FIELDS.items()})


def _create(
    out: Output,
    spec: RunSpec,
    server: str,
    request_id: str,
    detach: bool,
    upload: bool,
    mirror: str,
) -> None:
    from mentorgrad.cli.support.data_uploads import with_uploads
    from mentorgrad.cli.support.mirroring import opened_by_flag
    from mentorgrad.cli.support.watching import start_of, watch_run
    from mentorgrad.domain.run import RunState

    if mirror and detach:
        raise InvalidInput.field("--mirror", "cannot be given with --detach")
    with opened_by_flag(mirror) as mirrored, open_client(server) as client:
        if upload:
            spec = with_uploads(client, spec)
        made = client.create_run(spec, request_id)
        for warning in made.warnings:
            note(f"warning: {warning}")
        run_id = made.run.run_id
        if detach:
            out.result(made, run_id)
            if not out.as_json:
                note(f"watch it with: mentorgrad runs watch {run_id}{suffix(server)}")
            return
        out.line(f"run {run_id}" + ("" if made.created else " (already exists)"))
        start, position = start_of(client, made.run, out)
        state = watch_run(client, made.run, out, start, position, mirrored)
        out.line(f"show the result: mentorgrad runs show {run_id}{suffix(server)}")
    if state is RunState.FAILED:
        raise typer.Exit(1)
