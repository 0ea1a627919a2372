"""`mentorgrad run`: creates a run and watches it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from mentorgrad.cli.support.flag_text import pairs_of, suffix
from mentorgrad.cli.support.options import DEFAULT_SERVER, JsonOption, ServerOption
from mentorgrad.cli.support.output import Output, note
from mentorgrad.cli.support.service_access import open_client
from mentorgrad.domain.spec import Function, RunSpec

_SPEC = RunSpec()
"""Source of the defaults shown in the help."""

_DEFAULTS = (
    "Without options: tunes a soft prompt for the built-in task tickets, without a mentor. Ctrl-C "
    "stops watching, never the run."
)


def _flag(name: str, text: str, default: Any = None, **extra: Any) -> Any:
    shown = f" \\[default: {default}]" if default is not None else ""
    return typer.Option(
        name, help=text + shown, show_default=False, rich_help_panel="Spec", **extra
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
    task: Annotated[
        str | None, _flag("--task", "Task name, or hf:org/name.", _SPEC.task.name)
    ] = None,
    objective: Annotated[
        str | None,
        _flag("--objective", "Objective: label_prompt, prompt_tuning or function.", "label_prompt"),
    ] = None,
    function: Annotated[
        str | None,
        _flag("--function", "Test function to minimise: rastrigin, ackley, rosenbrock or levy."),
    ] = None,
    dimensions: Annotated[
        int | None,
        _flag("--dimensions", "Number of variables of the test function.", Function().dimensions),
    ] = None,
    mentor: Annotated[
        str | None,
        _flag(
            "--mentor",
            "Name of a mentor of the trainer, or of a control; none: no restarts.",
            _SPEC.mentor.name,
        ),
    ] = None,
    strategy: Annotated[
        str | None, _flag("--strategy", "Strategy of the mentor.", _SPEC.mentor.strategy)
    ] = None,
    mentor_mode: Annotated[
        str | None,
        _flag(
            "--mentor-mode",
            "blocking: wait for the mentor; overlapped: continue training while it answers.",
            _SPEC.mentor.mode.value,
        ),
    ] = None,
    proposals: Annotated[
        int | None, _flag("--proposals", "Proposals per restart.", _SPEC.mentor.proposals)
    ] = None,
    stages: Annotated[
        int | None, _flag("--stages", "Number of stages.", _SPEC.stages.count)
    ] = None,
    steps: Annotated[
        int | None, _flag("--steps", "Gradient steps per stage.", _SPEC.stages.steps)
    ] = None,
    optimizer: Annotated[
        str | None, _flag("--optimizer", "Optimizer: adamw or sgd.", _SPEC.optimizer.name)
    ] = None,
    learning_rate: Annotated[
        float | None, _flag("--learning-rate", "Peak learning rate.", _SPEC.optimizer.learning_rate)
    ] = None,
    batch_size: Annotated[
        int | None,
        _flag("--batch-size", "Train rows per gradient step.", _SPEC.optimizer.batch_size),
    ] = None,
    policy: Annotated[
        str | None,
        _flag(
            "--policy",
            "Acceptance policy: race, always, explore, best_of or first.",
            _SPEC.acceptance.policy.value,
        ),
    ] = None,
    gradient_steps: Annotated[
        int | None,
        _flag(
            "--gradient-steps",
            "Maximum number of gradient steps, including races and hints. Default: as many as the "
            "stages, races and hints take.",
        ),
    ] = None,
    evaluations: Annotated[
        int | None,
        _flag(
            "--evaluations",
            "Maximum number of evaluations on the selection split. Default: no limit.",
        ),
    ] = None,
    seed: Annotated[int | None, _flag("--seed", "Random seed.", _SPEC.seed)] = None,
    name: Annotated[str | None, _flag("--name", "Display name of the run.")] = None,
    label: Annotated[
        list[str] | None,
        _flag("--label", "Label to attach (repeatable).", metavar="NAME=VALUE"),
    ] = None,
    request_id: Annotated[
        str,
        typer.Option(
            "--request-id",
            help="Idempotency key: the same ID returns the existing run. Default: a new run.",
        ),
    ] = "",
    detach: Annotated[
        bool, typer.Option("--detach", help="Create the run, print its ID and exit.")
    ] = False,
    server: ServerOption = DEFAULT_SERVER,
    as_json: JsonOption = False,
) -> None:
    from mentorgrad.cli.support.specs import build_spec

    out = Output(as_json)
    if (function or dimensions) and objective is None:
        objective = "function"
    flags: dict[str, Any] = {
        "task.name": task,
        "objective": {objective: {}} if objective else None,
        "objective.function.name": function,
        "objective.function.dimensions": dimensions,
        "mentor.name": mentor,
        "mentor.strategy": strategy,
        "mentor.mode": mentor_mode,
        "mentor.proposals": proposals,
        "stages.count": stages,
        "stages.steps": steps,
        "optimizer.name": optimizer,
        "optimizer.learning_rate": learning_rate,
        "optimizer.batch_size": batch_size,
        "acceptance.policy": policy,
        "budget.gradient_steps": gradient_steps,
        "budget.evaluations": evaluations,
        "seed": seed,
        "name": name,
        "labels": pairs_of("--label", label) if label else None,
    }
    _create(out, build_spec(spec, flags, settings or (), preset), server, request_id, detach)


def _create(out: Output, spec: Any, server: str, request_id: str, detach: bool) -> None:
    from mentorgrad.cli.support.watching import watch_run
    from mentorgrad.domain.run import RunState
    from mentorgrad.serialization import to_dict

    with open_client(server) as client:
        made = client.create_run(spec, request_id)
        for warning in made.warnings:
            note(f"warning: {warning}")
        run_id = made.run.run_id
        if detach:
            if out.as_json:
                out.json(to_dict(made))
            else:
                out.line(run_id)
                note(f"watch it with: mentorgrad runs watch {run_id}{suffix(server)}")
            return
        out.line(f"run {run_id}" + ("" if made.created else " (already exists)"))
        state = watch_run(client, run_id, out, name=spec.name)
        out.line(f"show the result: mentorgrad runs show {run_id}{suffix(server)}")
    if state is RunState.FAILED:
        raise typer.Exit(1)


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command(
        "run",
        help=f"Create a run and watch it. {_DEFAULTS}",
        epilog="Example: mentorgrad run --task tickets --mentor random_tokens --seed 1",
    )(_run)
