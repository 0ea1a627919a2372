"""Calibrations of a language model's label scores, compared on the same log-probabilities.

A file holds log-probabilities of the labels under a number of texts: on the train and selection
rows of some seeds, and on the test rows. From it, each way to calibrate and to choose is computed
in seconds: the text is chosen by the *selection* rows of a seed, every parameter is fitted to its
train and selection rows, and the figures are of *test*, means over seeds and tasks. The arms are
groups of texts, each with the usual ``Answer:``. Without `--score` the recorded file is read.

    python -m bench.calibrations
    python -m bench.calibrations --score OUT.npz --tasks DIR --only tickets,sst2 --tuned FILE \\
        --texts TEXTS.json
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bench.digests import model_sha256
from bench.mentor_value.arms import Cell, Model, spec
from bench.mentor_value.conduct import prepare_tasks
from bench.paired import environment
from mentorgrad.domain.advice import Proposal
from mentorgrad.domain.objective import Calibration, CausalPrompt
from mentorgrad.domain.spec import Task
from trainer_service.model_settings import default_cache_dir
from trainer_service.objectives.build import BuildInputs
from trainer_service.objectives.calibration import calibrated, prior_of
from trainer_service.objectives.causal_prompt.build import build
from trainer_service.objectives.causal_prompt.problem import CausalPromptProblem
from trainer_service.objectives.results import RowResults
from trainer_service.objectives.table import kind_of
from trainer_service.tasks.data import Row, Split
from trainer_service.tasks.load import load_task

RECORDED = Path(__file__).parent / "results" / "calibrations.npz"
ARMS = ("none", "random_tokens", "description", "mentor")
SEEDS = (0, 1, 2)
FEW = (1, 2, 4, 8)
"""Rows per label in the comparison of small samples, and draws of each."""
_DRAWS = 10

TEMPERATURES = torch.logspace(-2, 4, 31, base=2.0).tolist()
"""Temperatures tried: 1/4 to 16."""

Calibrate = Callable[[Tensor], Tensor]
"""Log-probabilities [rows, classes] → calibrated ones."""
Way = Callable[[Tensor, Tensor], Calibrate]
"""Fits a calibration to log-probabilities [rows, classes] and labels [rows]."""


def loss(log_probs: Tensor, labels: Tensor) -> float:
    """Mean cross-entropy in nats."""
    return float(-log_probs[torch.arange(len(labels)), labels].mean())


def _divided(prior: Tensor, temperature: float = 1.0) -> Calibrate:
    return lambda scores: (calibrated(scores, prior) / temperature).log_softmax(-1)


def _raw(known: Tensor, labels: Tensor) -> Calibrate:
    return lambda scores: scores


def _batch(known: Tensor, labels: Tensor) -> Calibrate:
    return _divided(prior_of(known))


def _smoothed(known: Tensor, labels: Tensor) -> Calibrate:
    """The prior mixed with the even one, which counts as 8 rows."""
    rows, classes = known.shape
    return _divided((prior_of(known) * rows + 8.0 / classes) / (rows + 8.0))


def _lowest(known: Tensor, labels: Tensor, fits: Sequence[Calibrate]) -> Calibrate:
    """The fit of the lowest loss on these rows."""
    return min(fits, key=lambda fit: loss(fit(known), labels))


def _temperature(known: Tensor, labels: Tensor) -> Calibrate:
    even = torch.ones(known.shape[-1])
    return _lowest(known, labels, [_divided(even, degree) for degree in TEMPERATURES])


def _batch_then_temperature(known: Tensor, labels: Tensor) -> Calibrate:
    prior = prior_of(known)
    return _lowest(known, labels, [_divided(prior, degree) for degree in TEMPERATURES])


def _temperature_then(known: Tensor, labels: Tensor, matched: Tensor | None) -> Calibrate:
    def fit(degree: float) -> Calibrate:
        prior = prior_of((known / degree).log_softmax(-1), matched)
        return lambda scores: calibrated((scores / degree).log_softmax(-1), prior)

    return _lowest(known, labels, [fit(degree) for degree in TEMPERATURES])


WAYS: Mapping[str, Way] = {
    "none": _raw,
    "batch": _batch,
    "batch, smoothed by rows": _smoothed,
    "temperature": _temperature,
    "batch, then temperature": _batch_then_temperature,
    "temperature, then batch": lambda known, labels: _temperature_then(known, labels, None),
    "matched": lambda known, labels: _divided(prior_of(known, labels)),
    "temperature, then matched": lambda known, labels: _temperature_then(known, labels, labels),
}


@dataclass(frozen=True)
class Scores:
    """Log-probabilities of the labels of one task."""

    texts: Sequence[str]
    arms: Sequence[Sequence[str]]
    """Arms that each text belongs to."""
    known: Tensor
    """Of train and selection rows of all seeds, [texts, rows, classes]."""
    labels: Tensor
    """Their classes [rows]."""
    test: Tensor
    """Of the test rows, [texts, rows, classes]."""
    test_labels: Tensor
    seeds: Sequence[tuple[Sequence[int], Sequence[int]]]
    """Train and selection rows of each seed."""

    def of(self, arm: str) -> list[int]:
        """The texts of an arm."""
        return [place for place, arms in enumerate(self.arms) if arm in arms]


@dataclass(frozen=True)
class Choice:
    """How the texts of an arm are chosen."""

    way: str
    figure: str = "loss"
    """``loss``, or ``accuracy`` and ``macro_f1``, of which the lower loss decides ties."""
    best: int = 1
    """Texts whose mean probability is the prediction."""
    is_apart: bool = False
    """Whether the calibration that ranks is fitted to train and half of the selection rows, and
    ranks on the other half."""


_VARIANTS: Mapping[str, Choice] = {
    "ranked by accuracy": Choice("", figure="accuracy"),
    "ranked by macro F1": Choice("", figure="macro_f1"),
    "mean of the best 2": Choice("", best=2),
    "mean of the best 3": Choice("", best=3),
}
CHOICES: Mapping[str, Choice] = {
    **{way: Choice(way) for way in WAYS},
    **{
        f"{way}, {name}": replace(variant, way=way)
        for way in ("batch", "matched")
        for name, variant in _VARIANTS.items()
    },
    "batch, then temperature, ranked on another half": Choice(
        "batch, then temperature", is_apart=True
    ),
}


def arm_figures(task: Scores, arm: str, choice: Choice) -> tuple[float, float]:
    """Test loss and accuracy of an arm, means over seeds."""
    found, fit = [], WAYS[choice.way]
    for train, selection in task.seeds:
        fitted = [*train, *(selection[::2] if choice.is_apart else selection)]
        ranked = list(selection[1::2] if choice.is_apart else selection)
        order = []
        for text in task.of(arm):
            known = task.known[text]
            way = fit(known[fitted], task.labels[fitted])
            order.append((_rank(way(known[ranked]), task.labels[ranked], choice.figure), text))
        whole = [*train, *selection]
        chosen = [
            fit(task.known[text][whole], task.labels[whole])(task.test[text]).exp()
            for _, text in sorted(order)[: choice.best]
        ]
        log_probs = torch.stack(chosen).mean(0).log()
        found.append((loss(log_probs, task.test_labels), _accuracy(log_probs, task.test_labels)))
    return float(np.mean([item[0] for item in found])), float(np.mean([item[1] for item in found]))


def _accuracy(log_probs: Tensor, labels: Tensor) -> float:
    return float((log_probs.argmax(-1) == labels).float().mean())


def _rank(log_probs: Tensor, labels: Tensor, figure: str) -> tuple[float, float]:
    if figure == "loss":
        return loss(log_probs, labels), 0.0
    (score,) = RowResults.of_logits(log_probs.unsqueeze(0), labels).scores()
    return -float(getattr(score, figure)), score.loss


def with_few_rows(task: Scores, per_label: int, way: str) -> float:
    """Test loss, mean over all texts, of a calibration that is fitted to so few rows per label."""
    generator, found = torch.Generator().manual_seed(per_label), []
    for _ in range(_DRAWS):
        mixed = torch.randperm(len(task.labels), generator=generator)
        of_labels = [mixed[task.labels[mixed] == label] for label in range(task.known.shape[-1])]
        rows = torch.cat([places[:per_label] for places in of_labels])
        for known, test in zip(task.known, task.test, strict=True):
            fit = WAYS[way](known[rows], task.labels[rows])
            found.append(loss(fit(test), task.test_labels))
    return float(np.mean(found))


def report(tasks: Mapping[str, Scores]) -> dict[str, Any]:
    """All figures."""
    ways = {
        name: {
            arm: {
                task: [round(figure, 3) for figure in arm_figures(scores, arm, choice)]
                for task, scores in tasks.items()
            }
            for arm in ARMS
        }
        for name, choice in CHOICES.items()
    }
    means = {
        name: {
            arm: [round(float(figure), 3) for figure in np.mean(list(by_task.values()), axis=0)]
            for arm, by_task in arms.items()
        }
        for name, arms in ways.items()
    }
    few = {
        way: {
            str(rows): {
                task: round(with_few_rows(scores, rows, way), 3) for task, scores in tasks.items()
            }
            for rows in FEW
        }
        for way in ("batch", "batch, then temperature", "matched")
    }
    return {"mean_test_loss_and_accuracy": means, "by_task": ways, "loss_with_rows_per_label": few}


# -- the file ---------------------------------------------------------------------------------


def read(path: Path) -> tuple[dict[str, Scores], dict[str, Any]]:
    """Reads a file of scores, and what it says of itself."""
    with np.load(path) as file:
        about = json.loads(str(file["about"]))
        tasks = {
            name: Scores(
                **{key: facts[key] for key in ("texts", "arms", "seeds")},
                known=torch.from_numpy(file[f"{name}/known"]).log_softmax(-1),
                labels=torch.tensor(facts["labels"]),
                test=torch.from_numpy(file[f"{name}/test"]).log_softmax(-1),
                test_labels=torch.tensor(facts["test_labels"]),
            )
            for name, facts in about["tasks"].items()
        }
    return tasks, about


def write(path: Path, tasks: Mapping[str, Scores], **about: Any) -> None:
    """Writes a file of scores."""
    arrays: dict[str, Any] = {}
    facts = {}
    for name, scores in tasks.items():
        arrays |= {f"{name}/known": scores.known.numpy(), f"{name}/test": scores.test.numpy()}
        facts[name] = {
            **{key: getattr(scores, key) for key in ("texts", "arms", "seeds")},
            "labels": scores.labels.tolist(),
            "test_labels": scores.test_labels.tolist(),
        }
    np.savez_compressed(path, about=json.dumps({**about, "tasks": facts}), **arrays)


def score(task: Task, root: Path, tuned: Model, texts: Mapping[str, Sequence[str]]) -> Scores:
    """Scores texts by arm on the rows of all seeds; leaves out those that do not fit."""
    cell = Cell("causal_prompt", tuned.name, task.name, 4, "0", 0, "none")
    run = spec(cell, tuned, task, len(task.labels), Calibration.NONE)
    places: dict[Row, int] = {}
    seeds = []
    for seed in SEEDS:
        data = load_task(run.task, seed, [root])
        train, selection = (
            [places.setdefault(row, len(places)) for row in data.rows(split)]
            for split in (Split.TRAIN, Split.SELECTION)
        )
        seeds.append((train, selection))
    data = replace(data, train=tuple(places), selection=())
    assert isinstance(run.objective, CausalPrompt)
    kind = kind_of(run.objective)
    objective = build(
        run.objective,
        BuildInputs(
            path=kind.path,
            task=data,
            costs=kind.costs(run.objective, data),
            device=torch.device("cpu"),
            abort=lambda: None,
            model_roots=None,
            cache_dir=default_cache_dir(),
            run=run,
        ),
    )
    problem = objective.problem
    assert isinstance(problem, CausalPromptProblem)
    start = objective.language.initial(torch.Generator().manual_seed(0))
    arms: dict[str, list[str]] = {}
    for arm, lines in texts.items():
        for line in lines:
            arms.setdefault(line, []).append(arm)
    found: dict[Split, list[Tensor]] = {Split.TRAIN: [], Split.TEST: []}
    for line in arms:
        point = objective.language.embed(Proposal(text=line), start).parameters.unsqueeze(0)
        for split, made in found.items():
            rows = torch.arange(problem.size(split))
            made.append(problem.batched_logits(point, split, rows)[0].log_softmax(-1))
    return Scores(
        list(arms),
        list(arms.values()),
        torch.stack(found[Split.TRAIN]),
        problem.labels[Split.TRAIN],
        torch.stack(found[Split.TEST]),
        problem.labels[Split.TEST],
        seeds,
    )


def main() -> None:
    """Reads or makes the scores, and prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--score", type=Path, metavar="OUT", help="score texts into this file")
    parser.add_argument("--scores", type=Path, default=RECORDED, metavar="FILE")
    parser.add_argument("--tasks", type=Path, metavar="DIR", help="folder of tasks")
    parser.add_argument("--only", default="tickets", metavar="NAMES")
    parser.add_argument("--tuned", type=Path, metavar="FILE")
    parser.add_argument("--texts", type=Path, help="JSON: task → arm → texts")
    asked = parser.parse_args()
    if asked.score:
        tuned = Model("tuned", str(asked.tuned.resolve()))
        texts = json.loads(asked.texts.read_text())
        with tempfile.TemporaryDirectory() as folder:
            tasks = prepare_tasks(asked.tasks, asked.only.split(","), Path(folder))
            made = {task.name: score(task, Path(folder), tuned, texts[task.name]) for task in tasks}
        write(asked.score, made, tuned_sha256=model_sha256(tuned.reference))
    scores, about = read(asked.score or asked.scores)
    about.pop("tasks")
    print(json.dumps({**report(scores), **about, "environment": environment("torch")}))


if __name__ == "__main__":
    main()
