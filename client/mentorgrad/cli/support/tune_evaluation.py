"""Judges what a run left: the files of the result, and every method's predictions on selection and
test, made here, once."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mentorgrad.cli.support.output import Output
from mentorgrad.cli.support.tune_watching import Heartbeat, TuneProgress, follow
from mentorgrad.domain.run import Baseline, Run, RunState, Score
from mentorgrad.domain.spec import (
    Budget,
    Criterion,
    DataFiles,
    MentorChoice,
    RunSpec,
    ServedPrompt,
    Task,
)
from mentorgrad.errors import DataLoss, PreconditionFailed
from mentorgrad.predictor import Predictor
from mentorgrad.serialization import from_dict
from mentorgrad.tune.figures import Labels, Shares, share_estimate
from mentorgrad.tune.folder import MODEL_FILE
from mentorgrad.tune.outcome import (
    MethodFigures,
    ScoredRows,
    TuneOutcome,
    method_on,
    outcome,
    score_of,
)

if TYPE_CHECKING:
    from mentorgrad.client import Client

PROBE_FILE, WORDS_FILE = "probe.safetensors", "prompt.txt"
_ROWS = 64
"""Rows predicted at once, after which the progress is told."""


@dataclass(frozen=True, eq=False)
class SplitRows:
    """The rows of a split."""

    texts: list[str]
    pairs: list[str] | None
    """Second texts; None: there are none."""
    labels: Labels

    @classmethod
    def read(cls, path: Path, task: Task) -> SplitRows:
        """Reads a file that `write_splits` has written."""
        columns = task.data or DataFiles()
        places = {value: place for place, value in enumerate(task.label_values)}
        texts, pairs, labels = [], [], []
        with path.open(encoding="utf-8") as file:
            for line in file:
                record = json.loads(line)
                texts.append(record[columns.text_field])
                pairs.append(record[columns.pair_field] if columns.pair_field else "")
                labels.append(places[record[columns.label_field]])
        return cls(texts, pairs if columns.pair_field else None, np.array(labels, np.int64))

    @property
    def shown(self) -> list[str]:
        """The texts, each with its second text."""
        if self.pairs is None:
            return self.texts
        return [f"{text} | {pair}" for text, pair in zip(self.texts, self.pairs, strict=True)]


def download(client: Client, run_id: str, folder: Path) -> None:
    """Writes a run's files to a folder."""
    for item in client.artifacts(run_id):
        (folder / Path(item.name).name).write_bytes(client.read_artifact(run_id, item.name))


def baselines_of(
    client: Client, run: Run, folder: Path, out: Output, progress: Callable[[RunSpec], TuneProgress]
) -> tuple[Baseline, ...]:
    """The baselines of a run, and the file of its probe.

    A run that was stopped has none. They depend on its rows and its model alone, so the shortest
    run on the same rows computes them.
    """
    if run.result is not None:
        return run.result.baselines
    spec = replace(
        run.spec,
        stages=replace(run.spec.stages, count=1, steps=1, first_steps=None),
        mentor=MentorChoice(),
        budget=Budget(),
        name=f"{run.spec.name} (baselines)"[:200],
    )
    if isinstance(spec.objective, ServedPrompt):  # it takes no steps
        spec = replace(
            spec,
            stages=replace(spec.stages, count=2, steps=0),
            mentor=MentorChoice("random_tokens", proposals=1),
        )
    out.line("computing the baselines")
    made = client.create_run(spec, f"{run.run_id}-baselines").run
    state, _ = follow(client, made.run_id, out, progress(spec))
    beside = client.get_run(made.run_id)
    if state is not RunState.SUCCEEDED or beside.result is None:
        raise PreconditionFailed(f"the baselines could not be computed: {beside.reason}")
    if any(item.name == PROBE_FILE for item in client.artifacts(made.run_id)):
        (folder / PROBE_FILE).write_bytes(client.read_artifact(made.run_id, PROBE_FILE))
    return beside.result.baselines


def probe_on_selection(path: Path) -> Score | None:
    """The score on selection that a probe's file says; None without the file or the score.

    Raises:
        DataLoss: The file is damaged.
    """
    if not path.is_file():
        return None
    try:
        with path.open("rb") as file:
            size = int.from_bytes(file.read(8), "little")
            facts = json.loads(file.read(size)).get("__metadata__", {})
        return from_dict(Score, json.loads(facts["selection"])) if "selection" in facts else None
    except (ValueError, AttributeError, TypeError):
        raise DataLoss(f"{path} is damaged") from None


def predicted(predictor: Predictor, rows: SplitRows, what: str, out: Output) -> dict[str, Shares]:
    """Probabilities of all rows by each use of a result."""
    done = 0
    parts: dict[str, list[Shares]] = {}
    with Heartbeat(out, lambda: f"{what}: {done:,} of {len(rows.texts):,} rows predicted here"):
        for done in range(0, len(rows.texts), _ROWS):
            part = slice(done, done + _ROWS)
            pairs = None if rows.pairs is None else rows.pairs[part]
            for use, shares in predictor.predict_proba_by_use(rows.texts[part], pairs).items():
                parts.setdefault(use, []).append(shares)
    return {use: np.concatenate(found) for use, found in parts.items()}


def judged(
    selection: tuple[SplitRows, dict[str, Shares]],
    test: tuple[SplitRows, dict[str, Shares]],
    known: Labels,
    run: Run,
    baselines: Sequence[Baseline],
    probe: Score | None,
    metric: Criterion,
) -> TuneOutcome:
    """Puts the methods' figures together and chooses.

    Args:
        selection: Rows of selection and what is predicted for them.
        test: The same of test.
        known: Labels of train and selection, of which the majority is.
        run: The run.
        baselines: Its baselines.
        probe: Score of the probe on selection.
        metric: What the choice is made by.
    """
    (chosen_rows, on_selection), (rows, on_test) = selection, test
    words = run.spec.task.label_values
    shares = np.bincount(known, minlength=len(words)) / len(known)
    majority = np.tile(shares, (len(rows.labels), 1))
    scored = ScoredRows(rows.shown, rows.labels, {"majority": majority, **on_test})
    mentor = run.spec.mentor.name
    kind = "control" if run.spec.mentor.is_control else "mentor"
    tuned = "tuned without a mentor" if mentor == "none" else f"tuned with the {kind} {mentor}"
    methods = [
        method_on(scored, "majority", "the majority"),
        *(_zero_shot(item) for item in baselines if item.name == "zero_shot" and item.test),
    ]
    for use, title in (
        ("probe", "the linear probe"),
        ("words", "the prompt in words"),
        ("prompt", f"the prompt {tuned}"),
    ):
        if use not in on_test:
            continue
        score = probe if use == "probe" else score_of(chosen_rows.labels, on_selection[use])
        methods.append(method_on(scored, use, title, score))
    return outcome(methods, scored, words, metric)


def _zero_shot(item: Baseline) -> MethodFigures:
    test = item.test or Score()
    intervals = {}
    if test.accuracy is not None:
        intervals[Criterion.ACCURACY] = share_estimate(test.accuracy, test.rows)
    return MethodFigures("zero_shot", "zero-shot", None, test, intervals)


def describe_choice(folder: Path, choice: str) -> None:
    """Records in ``model.json`` what predicts, and writes the words beside it."""
    path = folder / MODEL_FILE
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    document["use"] = choice
    text = json.dumps(document, indent=2, ensure_ascii=False, sort_keys=True) + "\n"
    path.write_text(text, encoding="utf-8")
    if not (folder / WORDS_FILE).exists():
        (folder / WORDS_FILE).write_text(document["text"] + "\n", encoding="utf-8")
