"""`mentorgrad demo`: three runs with the embedded models, and a plot of their losses."""

from __future__ import annotations

import shlex
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mentorgrad.cli.support.demo_arms import ARMS, EVALUATIONS, GRADIENT_STEPS, MENTOR, arm_spec
from mentorgrad.cli.support.extras import require_extras
from mentorgrad.cli.support.local_services import STORE, local_services
from mentorgrad.cli.support.options import JsonOption
from mentorgrad.cli.support.output import Output, note, number
from mentorgrad.cli.support.processes import cores, divide_cores
from mentorgrad.errors import InternalError

if TYPE_CHECKING:
    from mentorgrad.cli.support.watching import Display
    from mentorgrad.client import Client
    from mentorgrad.domain.run import Run, RunResult


app = typer.Typer()


@dataclass(frozen=True)
class ArmOutcome:
    """Result of one arm."""

    run: Run
    """The ended run."""
    result: RunResult
    """Its result."""
    llm_calls: int
    """Number of questions to an LLM."""
    usable_answers: int
    """LLM answers with at least one proposal that could be scored."""
    tokens: int
    """Tokens of the questions and replies."""

    def figures(self) -> dict[str, Any]:
        """Figures of the JSON summary; questions to a control do not count as mentor calls."""
        test = self.result.test
        return {
            "run_id": self.run.run_id,
            "test_loss": test.loss if test is not None else None,
            "test_accuracy": test.accuracy if test is not None else None,
            "best_selection_loss": self.run.best_selection_loss,
            "restarts_applied": self.result.restarts_applied,
            "mentor_calls": self.llm_calls,
            "usable_answers": self.usable_answers,
            "seconds": round(self.result.usage.train_time.total_seconds(), 3),
        }


@app.command("demo", epilog="Example: mentorgrad demo --seed 1 --directory /tmp/demo")
def _demo(
    directory: Annotated[
        Path, typer.Option("--directory", help="Folder for the store, the plot and the logs.")
    ] = Path("mentorgrad-demo"),
    seed: Annotated[int, typer.Option("--seed", min=0, help="Random seed.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Tune a prompt three times with equal budgets: with restarts proposed by a language model,
    with restarts from random tokens, and without restarts.

    Starts a mentor and a trainer on this machine and stops them at the end. Takes about two
    minutes on two cores.
    """
    from mentorgrad import model_refs, plots

    packages = [item.package for item in model_refs.known()]
    require_extras("the demo", ("trainer", "mentor", "plot"), "demo", *packages)
    begun = time.monotonic()
    out = Output(as_json)
    store = f"sqlite:///{directory / STORE}"
    picture = directory / "loss.png"
    try:
        threads = divide_cores(cores())[1]
        with local_services(out, directory, [MENTOR], workers=1, threads=threads) as address:
            arms = _run_arms(address, out, seed, picture, plots)
    except KeyboardInterrupt:
        note(f"stopped the demo and both services; the recorded runs are in {store}")
        raise typer.Exit(130) from None
    spent = time.monotonic() - begun
    _summary(out, arms, spent)
    _look_further(out, arms, store, picture)
    if as_json:
        figures = {arm: outcome.figures() for arm, outcome in arms.items()}
        beside = arms["none"].result.baselines
        out.json({"arms": figures, "baselines": beside, "seconds": round(spent, 3)})


def _run_arms(
    address: str, out: Output, seed: int, picture: Path, plots: Any
) -> dict[str, ArmOutcome]:
    """Runs the arms one after another, so that they do not compete for cores, then plots them."""
    from mentorgrad.cli.support.watching import Display
    from mentorgrad.client import Client

    arms = {}
    with Client(address) as client:
        with Display(out) as display:
            for arm in ARMS:
                arms[arm] = _run_arm(client, display, out, arm, seed)
        curves = [plots.curve(client, arms[arm].run.run_id, arm) for arm in ARMS]
        plots.loss_curves(curves, picture, "Three runs with equal budgets on tickets")
    return arms


def _run_arm(client: Client, display: Display, out: Output, arm: str, seed: int) -> ArmOutcome:
    from mentorgrad.domain.advice import AnswerStatus
    from mentorgrad.domain.event import ProposalsReceived

    made = client.create_run(arm_spec(arm, seed))
    run_id = made.run.run_id
    out.line()
    out.line(f"== {arm}: run {run_id}", style="bold")
    for warning in made.warnings:
        out.line(f"warning: {warning}")
    narrator = display.narrator(arm)
    calls = usable = tokens = 0
    for event in client.watch(run_id):
        display.show(narrator, event)
        if isinstance(event.payload, ProposalsReceived):
            answer = event.payload.answer
            asked = [record for record in answer.records if record.model]
            calls += len(asked)
            usable += bool(asked) and answer.status is AnswerStatus.USABLE
            tokens += sum(record.prompt_tokens + record.reply_tokens for record in asked)
    run = client.get_run(run_id)
    if run.result is None:
        raise InternalError(f"the run {run_id} of arm {arm} {run.state}: {run.reason}")
    return ArmOutcome(run, run.result, calls, usable, tokens)


def _summary(out: Output, arms: dict[str, ArmOutcome], spent: float) -> None:
    from mentorgrad.cli.support.baseline_text import show_baselines

    rows = []
    for arm, outcome in arms.items():
        figures = outcome.figures()
        rows.append(
            (
                arm,
                number(figures["test_loss"]),
                number(figures["test_accuracy"], 3),
                number(figures["best_selection_loss"]),
                str(figures["restarts_applied"]),
                str(outcome.llm_calls),
                str(outcome.tokens),
                f"{figures['seconds']:.1f}",
            )
        )
    out.line()
    columns = ("arm", "test loss", "test accuracy", "best selection loss", "restarts applied")
    out.table((*columns, "LLM calls", "tokens", "seconds"), rows)
    result = arms["none"].result
    out.line()
    show_baselines(out, result)
    out.line(
        "baselines tune no prompt. majority: the class frequencies; zero_shot: the label words "
        "alone; linear_probe and prototypes: fitted on the features of all labelled rows"
    )
    out.line(
        f"each arm: one seed, at most {GRADIENT_STEPS} gradient steps and {EVALUATIONS} "
        "evaluations; one run per arm does not show which arm is best. "
        f"Total time: {spent:.0f} s"
    )


def _look_further(out: Output, arms: dict[str, ArmOutcome], store: str, picture: Path) -> None:
    run_id = arms["mentor"].run.run_id
    ids = [outcome.run.run_id for outcome in arms.values()]
    path = picture.with_name("path.png")
    out.line()
    out.line(f"loss curves: {picture}")
    out.line("next commands (the services are stopped; the runs are in the store):")
    for words in (
        ("runs", "list", "--store", store),
        ("runs", "show", run_id, "--store", store),
        ("runs", "compare", *ids, "--store", store),
        ("runs", "plot", run_id, "--kind", "path", "--store", store, "-o", str(path)),
        ("runs", "download", run_id, "prompt.safetensors", "--store", store),
        ("serve", "trainer", "--store", store),
    ):
        out.line(f"  mentorgrad {shlex.join(words)}")
