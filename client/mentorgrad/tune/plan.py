"""The plan of a tune: which objective, on how many rows, for how many steps. A documented rule.

The cost of everything is counted in tokens that pass through the frozen model, from the length of
the texts. How many pass in a second is measured on rows of the table; where it is not, it is
estimated from the model's number of weights. The minutes are also watched while a run goes on
(`Stall`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mentorgrad.domain.objective import DEFAULT_ENCODER, DEFAULT_LANGUAGE_MODEL
from mentorgrad.domain.spec import Criterion
from mentorgrad.errors import InvalidInput
from mentorgrad.tables.report import SplitSizes

LABEL_PROMPT, PROMPT_TUNING, CAUSAL_PROMPT, SERVED_PROMPT = OBJECTIVES = (
    *("label_prompt", "prompt_tuning"),
    *("causal_prompt", "served_prompt"),
)
"""Objectives that can be tuned so."""

FEW_ROWS = 8
"""Train rows of the smallest class below which the label words say more than the rows."""
UNBALANCED = 3.0
"""Largest class as a multiple of the smallest, above which macro F1 is the metric."""
LEAST_STEPS = {PROMPT_TUNING: 60, CAUSAL_PROMPT: 8}
"""Steps that must fit the minutes: for `prompt_tuning` to be chosen, and for a prompt of
`causal_prompt` to be tuned by gradients and not in words alone."""
MOST_STEPS = {LABEL_PROMPT: 400, PROMPT_TUNING: 400, CAUSAL_PROMPT: 120, SERVED_PROMPT: 0}
MOST_ROWS = 400_000
"""Maximum train rows; a service reads files of up to 500,000."""
MOST_CHARACTERS = 40_000_000
"""Maximum characters of the train texts; a service takes uploads of 64 MiB."""

TOKENS_PER_SECOND = 1_000.0
"""Tokens that one core passes through the default encoder in a second, where it is not measured."""
GPU_FACTOR = 300.0
"""How many cores a GPU is worth, where it is not measured."""
CHARACTERS_PER_TOKEN = 4.0
MOST_TOKENS = 256.0
"""Tokens of a text that are counted at most."""
WEIGHTS = {DEFAULT_ENCODER: 22.7e6, DEFAULT_LANGUAGE_MODEL: 134.5e6}
"""Weights of the default models."""
UNKNOWN_WEIGHTS = 100e6

_TEXTS, _SCORES, _TRAINING = 0.35, 0.2, 0.4
"""Shares of the time: for what is done once per text, at most for scores on selection, and for
scores and steps together. The rest is a reserve."""
_BATCH = 32
_LEAST_SELECTION = 48
_LEAST_STEPS_OF_STAGE = 5


@dataclass(frozen=True)
class TableFacts:
    """What the plan needs to know of a table."""

    splits: SplitSizes
    """Rows of the splits."""
    classes: int
    """Number of labels."""
    smallest: int
    """Used rows of the smallest class."""
    imbalance: float
    """Used rows of the largest class, as a multiple of `smallest`."""
    characters: float
    """Mean length of a text, measured on the first rows."""
    longest: int
    """Length of the longest text, in characters."""


@dataclass(frozen=True)
class Machine:
    """What the run is executed on."""

    is_gpu: bool = False
    cores: int = 1
    """Threads of the worker; of no account with a GPU."""
    speed: float | None = None
    """Tokens that pass through the run's model in a second, as measured; None: it is estimated."""


@dataclass(frozen=True)
class TuneWishes:
    """What was asked for."""

    minutes: float = 10.0
    """Time for everything."""
    objective: str = ""
    """One of `OBJECTIVES`; empty: chosen."""
    model: str = ""
    """The model that is tuned; empty: the objective's default."""
    weights: float | None = None
    """Weights of the model, if it is not the objective's default."""
    mentor: str = "none"
    """Source of the restart proposals."""
    shots: int = 0
    """Train rows per class; 0: all."""
    metric: Criterion | None = None
    """What decides between the candidates; None: by the classes."""
    has_peft: bool = True
    """Whether `prompt_tuning` can be executed."""
    patience: int = 2
    """Stages without a better candidate after which the run is stopped; 0: it is not."""


@dataclass(frozen=True)
class TunePlan:
    """What will be done."""

    objective: str
    """One of `OBJECTIVES`."""
    fields: Mapping[str, Any]
    """Fields of the run spec, as `from_dict` reads them."""
    rows: SplitSizes
    """Maximum rows of each split."""
    metric: Criterion
    """What decides between prompt, words and probe on selection."""
    lines: tuple[str, ...] = field(default=())
    """The plan for people."""


@dataclass(frozen=True)
class _Prices:
    """Tokens through the model."""

    step: float
    """Per gradient step."""
    score: float
    """Per score of a parameter, whatever the rows."""
    scored_row: float
    """Per selection row and score."""
    train: float
    """Per train row, once."""
    selection: float
    test: float


def step_tokens(objective: str, facts: TableFacts, rows: int) -> float:
    """Tokens that pass through the model in a gradient step of so many rows; of an objective whose
    steps pass rows."""
    return _prices(objective, _tokens(facts), facts.classes).step * rows / _BATCH


def longest_input(facts: TableFacts) -> int:
    """Maximum tokens of an input of `prompt_tuning`."""
    longest = int(facts.longest / CHARACTERS_PER_TOKEN * 1.5) + 16
    return max(128, min(512, longest))


def _tokens(facts: TableFacts) -> float:
    """Mean tokens of a text."""
    return min(MOST_TOKENS, facts.characters / CHARACTERS_PER_TOKEN + 2)


def _prices(objective: str, tokens: float, classes: int) -> _Prices:
    if objective == LABEL_PROMPT:
        names = classes * 12.0  # eight soft tokens, a label, and the marks around them
        return _Prices(3 * names, names, 0.0, tokens, 2 * tokens, 2 * tokens)
    if objective == PROMPT_TUNING:
        row = tokens + 8
        return _Prices(3 * _BATCH * row, 0.0, row, tokens, tokens + 2 * row, 2 * tokens + 3 * row)
    row = 24.0  # twenty soft tokens and the beginning of an answer; a text is passed once
    if objective == CAUSAL_PROMPT:
        return _Prices(
            3 * _BATCH * row, 0.0, row, 2 * tokens, 3 * tokens + row, 4 * tokens + 2 * row
        )
    return _Prices(0.0, 0.0, tokens + row, 0.0, tokens + row, 3 * (tokens + row))


@dataclass(frozen=True)
class _Stages:
    """How an objective divides its steps."""

    count: int
    candidates: int
    proposals: int
    finalists: int
    probe_steps: int

    @property
    def scores(self) -> int:
        """Parameters scored on selection in all."""
        return self.count * (2 * self.candidates + self.proposals + self.finalists + 1)

    def divided(self, steps: int, mentor: str) -> tuple[int, int]:
        """How many stages, and steps of each, leave the steps of the races; fewer stages if each
        would have hardly any steps."""
        race = 0 if mentor == "none" else self.probe_steps * (self.finalists + 1)
        for count in range(self.count, 1, -1):
            each = (steps - (count - 1) * race) // count
            if each >= _LEAST_STEPS_OF_STAGE:
                return count, each
        return 1, max(1, steps)


_STAGES = {
    LABEL_PROMPT: _Stages(6, 4, 8, 3, 10),
    PROMPT_TUNING: _Stages(4, 2, 4, 2, 5),
    CAUSAL_PROMPT: _Stages(4, 2, 8, 2, 2),
    SERVED_PROMPT: _Stages(4, 1, 8, 2, 1),
}


@dataclass(frozen=True)
class _Fit:
    """What fits the minutes."""

    rows: SplitSizes
    steps: int


def plan(facts: TableFacts, machine: Machine, wishes: TuneWishes) -> TunePlan:
    """Chooses objective, rows and budget by the size of the data and the machine.

    Raises:
        InvalidInput: An objective is named that cannot be tuned so.
    """
    if wishes.objective and wishes.objective not in OBJECTIVES:
        raise InvalidInput.field(
            "--objective", f"must be one of: {', '.join(OBJECTIVES)}; not {wishes.objective!r}"
        )
    objective, why = _objective(facts, machine, wishes)
    fit = _fitting(objective, facts, machine, wishes)
    is_unbalanced = facts.imbalance > UNBALANCED
    metric = wishes.metric or (Criterion.MACRO_F1 if is_unbalanced else Criterion.ACCURACY)
    fields = _fields(objective, facts, fit, wishes)
    if wishes.metric or is_unbalanced:
        fields["criterion"] = metric.value
    lines = (
        _speed_line(objective, machine, wishes),
        f"objective: {objective}; {why}",
        _model_line(objective, wishes),
        _rows_line(facts, fit, wishes),
        _budget_line(fields, wishes),
        _metric_line(facts, metric, wishes),
    )
    return TunePlan(objective, fields, fit.rows, metric, lines)


def _objective(facts: TableFacts, machine: Machine, wishes: TuneWishes) -> tuple[str, str]:
    if wishes.objective:
        return wishes.objective, "as asked for"
    train = min(wishes.shots or facts.smallest, facts.smallest)
    if train < FEW_ROWS:
        return LABEL_PROMPT, f"the smallest label has {train} rows, so the label words matter"
    if not wishes.has_peft:
        return LABEL_PROMPT, "peft is not installed, which prompt_tuning needs"
    steps = _fitting(PROMPT_TUNING, facts, machine, wishes).steps
    least = LEAST_STEPS[PROMPT_TUNING]
    if steps < least:
        why = f"of prompt_tuning, only {steps} steps would fit {_minutes(wishes)}"
        return LABEL_PROMPT, why
    return PROMPT_TUNING, f"{least} steps or more fit {_minutes(wishes)}"


def _fitting(objective: str, facts: TableFacts, machine: Machine, wishes: TuneWishes) -> _Fit:
    """Rows and steps for the minutes."""
    speed = machine.speed or _estimated_speed(objective, machine, wishes)
    time = 60.0 * wishes.minutes * speed  # in tokens
    prices = _prices(objective, _tokens(facts), facts.classes)
    stages = _STAGES[objective]
    have = facts.splits
    train = min(have.train, wishes.shots * facts.classes if wishes.shots else have.train)
    selection = have.selection
    if prices.scored_row:
        affordable = int(_SCORES * time / (stages.scores * prices.scored_row))
        selection = min(selection, max(affordable, _LEAST_SELECTION, 2 * facts.classes))
    once = train * prices.train + selection * prices.selection + have.test * prices.test
    share = min(
        1.0,
        _TEXTS * time / max(once, 1.0),
        MOST_ROWS / train,
        MOST_CHARACTERS / (train * max(facts.characters, 1.0)),
    )
    rows = SplitSizes(*(max(facts.classes, int(n * share)) for n in (train, selection, have.test)))
    if wishes.shots:  # drawn by the run, from all train rows
        rows = SplitSizes(min(have.train, MOST_ROWS), rows.selection, rows.test)
    scoring = stages.scores * (prices.score + rows.selection * prices.scored_row)
    steps = int(max(0.0, _TRAINING * time - scoring) / prices.step) if prices.step else 0
    return _Fit(rows, min(steps, MOST_STEPS[objective]))


def _estimated_speed(objective: str, machine: Machine, wishes: TuneWishes) -> float:
    cores = GPU_FACTOR if machine.is_gpu else machine.cores
    language = objective in (CAUSAL_PROMPT, SERVED_PROMPT)
    weights = wishes.weights or WEIGHTS[DEFAULT_LANGUAGE_MODEL if language else DEFAULT_ENCODER]
    return TOKENS_PER_SECOND * cores * WEIGHTS[DEFAULT_ENCODER] / weights


def _minutes(wishes: TuneWishes) -> str:
    return "1 minute" if wishes.minutes == 1 else f"{wishes.minutes:g} minutes"


def _model_line(objective: str, wishes: TuneWishes) -> str:
    """The model; of a default one also the language, which no figure of the result tells."""
    if wishes.model:
        return f"model: {wishes.model}"
    language = objective in (CAUSAL_PROMPT, SERVED_PROMPT)
    default = DEFAULT_LANGUAGE_MODEL if language else DEFAULT_ENCODER
    path = f"objective.{objective}.{'model' if language else 'encoder'}"
    return f"model: {default}, made for English; --set {path}=... names one for other languages"


def _speed_line(objective: str, machine: Machine, wishes: TuneWishes) -> str:
    speed = machine.speed or _estimated_speed(objective, machine, wishes)
    how = "estimated" if machine.speed is None else "measured on rows of the table"
    return f"speed: {speed:,.0f} tokens a second, {how}"


def _fields(objective: str, facts: TableFacts, fit: _Fit, wishes: TuneWishes) -> dict[str, Any]:
    stages = _STAGES[objective]
    count, steps = stages.divided(max(fit.steps, _LEAST_STEPS_OF_STAGE), wishes.mentor)
    own: dict[str, Any] = {}
    if objective == PROMPT_TUNING:
        own = {"readout": "mean", "max_length": longest_input(facts)}
    elif objective == CAUSAL_PROMPT:
        own = {"initial_text": "description"}
        if facts.longest > 4_000:
            own["max_length"] = 1_024
    fields: dict[str, Any] = {
        "objective": {objective: own},
        "task": {"shots": wishes.shots, "selection_rows": max(1, fit.rows.selection)},
        "stages": {"count": count, "steps": steps, "candidates": stages.candidates},
        "mentor": {"name": wishes.mentor, "proposals": stages.proposals},
        "acceptance": {"finalists": stages.finalists, "probe_steps": stages.probe_steps},
    }
    too_few = objective == CAUSAL_PROMPT and fit.steps < LEAST_STEPS[objective]
    if objective == SERVED_PROMPT or (too_few and wishes.mentor != "none"):
        fields["budget"] = {"gradient_steps": 0}
        fields["stages"] |= {"count": stages.count, "steps": 0}
    elif objective == CAUSAL_PROMPT and wishes.mentor != "none" and count > 1:
        fields["stages"] |= {"first_steps": 0}  # it is asked for a start
    return fields


def _rows_line(facts: TableFacts, fit: _Fit, wishes: TuneWishes) -> str:
    have, used = facts.splits, fit.rows
    train = min(used.train, wishes.shots * facts.classes) if wishes.shots else used.train
    total = have.train + have.selection + have.test
    some = train + used.selection + used.test
    if some >= total:
        return f"rows: all {total:,}"
    why = f"as many as fit {_minutes(wishes)} (--minutes)"
    if wishes.shots:
        why = f"at most {wishes.shots} train rows per label (--shots)"
    return (
        f"rows: used {some:,} of {total:,} ({train:,} train, {used.selection:,} selection, "
        f"{used.test:,} test), {why}"
    )


def _budget_line(fields: Mapping[str, Any], wishes: TuneWishes) -> str:
    stages, count = fields["stages"], fields["stages"]["count"]
    what = f"budget: {count} stage{'s' if count > 1 else ''} of {stages['steps']} steps"
    if not stages["steps"]:
        what = f"budget: {count} rounds of prompts in words, no gradient steps"
    if wishes.mentor == "none":
        what += "; no mentor"
    elif count == 1:
        what += "; too few for restarts"
    else:
        proposals = fields["mentor"]["proposals"]
        what += f"; {wishes.mentor} proposes {proposals} restarts between two stages"
    if wishes.patience and count > 1:
        what += f"; ends after {wishes.patience} stages without a better candidate"
    return what


def _metric_line(facts: TableFacts, metric: Criterion, wishes: TuneWishes) -> str:
    said = f"metric: {METRIC_NAMES[metric]} on selection"
    if wishes.metric:
        return said
    if metric is Criterion.MACRO_F1:
        return f"{said}, because the largest label has {facts.imbalance:.1f} times the smallest"
    return said


METRIC_NAMES = {
    Criterion.LOSS: "loss",
    Criterion.ACCURACY: "accuracy",
    Criterion.MACRO_F1: "macro F1",
    Criterion.MATTHEWS: "Matthews correlation",
}
"""Names of the metrics, for people."""
