"""`mentorgrad demo`: two regimes of four arms with the embedded models, and pictures of them."""

from __future__ import annotations

import math
import shlex
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mentorgrad.cli.support.demo_arms import ARMS, MENTOR, Regime, regimes
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
            "forward_rows": self.result.usage.forward_rows,
            "restarts_applied": self.result.restarts_applied,
            "mentor_calls": self.llm_calls,
            "usable_answers": self.usable_answers,
            "seconds": round(self.result.usage.train_time.total_seconds(), 3),
        }


Arms = dict[str, ArmOutcome]
"""Outcomes by arm."""


@app.command("demo", epilog="Example: mentorgrad demo --seed 1 --directory /tmp/demo")
def _demo(
    directory: Annotated[
        Path, typer.Option("--directory", help="Folder for the store, the plots and the logs.")
    ] = Path("mentorgrad-demo"),
    seed: Annotated[int, typer.Option("--seed", min=0, help="Random seed.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Tune a prompt for a language model without gradients, where a mentor's words help, and one
    for a sentence encoder with gradients, where they do not; four times each: with words of a
    language model, random words, the task's description, and no words, at equal forward rows.

    Starts a mentor and a trainer on this machine and stops them at the end. Takes two to
    four minutes on two cores.
    """
    from mentorgrad import model_refs, plots

    packages = [item.package for item in model_refs.known()]
    require_extras("the demo", ("trainer", "mentor", "plot"), "demo", *packages)
    begun = time.monotonic()
    out = Output(as_json)
    store = f"sqlite:///{directory / STORE}"
    threads = divide_cores(cores())[1]
    try:
        with local_services(out, directory, [MENTOR], workers=1, threads=threads) as address:
            found = _run_regimes(address, out, seed, directory, plots)
    except KeyboardInterrupt:
        note(f"stopped the demo and both services; the recorded runs are in {store}")
        raise typer.Exit(130) from None
    spent = time.monotonic() - begun
    for regime, arms in found:
        _summary(out, regime, arms)
    _caution(out, [outcome for _, arms in found for outcome in arms.values()], spent)
    _look_further(out, found[0][1], found[-1][1], store, directory)
    if as_json:
        shown = {
            regime.name: {
                "arms": {arm: outcome.figures() for arm, outcome in arms.items()},
                "baselines": arms["none"].result.baselines,
            }
            for regime, arms in found
        }
        out.json({"regimes": shown, "seconds": round(spent, 3)})


def _run_regimes(
    address: str, out: Output, seed: int, directory: Path, plots: Any
) -> list[tuple[Regime, Arms]]:
    """Runs all arms one after another, so that they do not compete for cores and share what the
    worker keeps, then plots them."""
    from mentorgrad.cli.support.watching import Display
    from mentorgrad.client import Client

    found = []
    with Client(address) as client:
        with Display(out) as display:
            for regime in regimes():
                out.line()
                out.line(f"{regime.name}: {regime.says}", style="bold")
                arms = {arm: _run_arm(client, display, out, regime, arm, seed) for arm in ARMS}
                found.append((regime, arms))
        curves = [plots.curve(client, arms[arm].run.run_id, arm) for arm in ARMS]
    plots.loss_curves(curves, directory / "loss.png", "Four runs with equal budgets on tickets")
    panels = [_panel(plots, regime, arms) for regime, arms in found]
    plots.final_losses(panels, directory / "regimes.png", f"Four runs each on tickets, seed {seed}")
    return found


def _panel(plots: Any, regime: Regime, arms: Arms) -> Any:
    baselines = {item.name: item.test for item in arms["none"].result.baselines}
    tests = {arm: outcome.result.test for arm, outcome in arms.items()}
    lines = {name: baselines.get(name) for name in ("zero_shot", "linear_probe")}
    losses, marks = (
        {name: test.loss for name, test in of.items() if test is not None} for of in (tests, lines)
    )
    return plots.Panel(regime.name, losses, marks)


def _run_arm(
    client: Client, display: Display, out: Output, regime: Regime, arm: str, seed: int
) -> ArmOutcome:
    from mentorgrad.domain.advice import AnswerStatus
    from mentorgrad.domain.event import ProposalsReceived

    made = client.create_run(regime.arm_spec(arm, seed))
    run_id = made.run.run_id
    out.line()
    out.line(f"== {regime.name}, {arm}: run {run_id}", style="bold")
    for warning in made.warnings:
        out.line(f"warning: {warning}")
    narrator = display.narrator(f"{regime.name} {arm}")
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


def _summary(out: Output, regime: Regime, arms: Arms) -> None:
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
                str(figures["forward_rows"]),
                str(figures["restarts_applied"]),
                str(outcome.llm_calls),
                str(outcome.tokens),
                f"{figures['seconds']:.1f}",
            )
        )
    out.line()
    out.line(f"{regime.name}: {regime.says}", style="bold")
    columns = ("arm", "test loss", "test accuracy", "best selection loss", "forward rows")
    out.table((*columns, "restarts applied", "LLM calls", "tokens", "seconds"), rows)
    show_baselines(out, arms["none"].result)


def _caution(out: Output, outcomes: Iterable[ArmOutcome], spent: float) -> None:
    """Says how to read the tables."""
    out.line()
    out.line(
        "none: random vectors instead of words (words), all forward rows spent on steps "
        "(gradients). Baselines tune no prompt. majority: the class frequencies; zero_shot: the "
        "model alone; linear_probe and prototypes: fitted on the features of all labelled rows"
    )
    tests = [outcome.result.test for outcome in outcomes]
    rows = max((test.rows for test in tests if test is not None), default=0)
    if rows:
        out.line(
            f"one seed: on {rows} test rows an accuracy is uncertain by up to "
            f"±{1.96 * math.sqrt(0.25 / rows):.3f} (95%), and another seed draws other rows and "
            "words, so a run per arm does not show which arm is best; `mentorgrad experiment run` "
            f"compares over seeds. Total time: {spent:.0f} s"
        )


def _look_further(out: Output, first: Arms, last: Arms, store: str, directory: Path) -> None:
    ids = [outcome.run.run_id for outcome in first.values()]
    tuned = last["mentor"].run.run_id
    path = directory / "path.png"
    out.line()
    out.line(f"test losses: {directory / 'regimes.png'}")
    out.line(f"loss curves of the last regime: {directory / 'loss.png'}")
    out.line("next commands (the services are stopped; the runs are in the store):")
    for words in (
        ("runs", "list", "--store", store),
        ("runs", "show", first["mentor"].run.run_id, "--store", store),
        ("runs", "compare", *ids, "--store", store),
        ("runs", "plot", tuned, "--kind", "path", "--store", store, "-o", str(path)),
        ("runs", "download", tuned, "prompt.safetensors", "--store", store),
        ("serve", "trainer", "--store", store),
    ):
        out.line(f"  mentorgrad {shlex.join(words)}")
