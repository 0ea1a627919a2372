"""The baselines on rows whose answer is known by hand."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from torch import Tensor

from mentorgrad.domain.run import Baseline, Score
from trainer_service import tensorfile
from trainer_service.baselines.compute import baselines
from trainer_service.baselines.frozen_model import folds, log_softmax
from trainer_service.baselines.probe_file import read_probe
from trainer_service.objectives.classification import labels_of
from trainer_service.objectives.problem import Problem
from trainer_service.objectives.results import RowResults
from trainer_service.objectives.torch_free import PROBE_FILE
from trainer_service.running.stop_control import Stop, StopKind
from trainer_service.tasks.data import Row, Split, TaskData

pytestmark = pytest.mark.slow
"""scikit-learn takes a second to import."""

Values = dict[Split, Tensor]


class Given(Problem):
    """Rows with given features and untuned logits."""

    def __init__(
        self,
        labels: Sequence[Sequence[int]],
        features: Callable[[Split], Tensor | None] = lambda split: None,
        untuned: Callable[[Split], Tensor | None] = lambda split: None,
        classes: int = 2,
    ) -> None:
        rows = [
            tuple(Row(f"{split} {at}", label) for at, label in enumerate(of_split))
            for split, of_split in zip(Split, labels, strict=True)
        ]
        words = tuple(f"class {number}" for number in range(classes))
        self.task = TaskData("given", "", words, *rows)
        self._features, self._untuned = features, untuned

    def losses(self, points: Tensor, rows: Tensor) -> Tensor:
        raise AssertionError("no parameter is asked for")

    def results(self, points: Tensor, split: Split, rows: Tensor | None = None) -> RowResults:
        raise AssertionError("no parameter is asked for")

    def features(self, split: Split) -> Tensor | None:
        return self._features(split)

    def untuned_logits(self, split: Split) -> Tensor | None:
        return self._untuned(split)


def found(problem: Problem, check: Callable[[], None] = lambda: None) -> dict[str, Baseline]:
    return {item.name: item for item in baselines(problem, check)}


def score(baseline: Baseline) -> Score:
    assert baseline.test is not None, baseline.detail
    return baseline.test


def blobs(classes: int, rows: int, apart: float, seed: int = 0) -> tuple[Given, Values]:
    """`rows` rows per class and split around the classes' centres, `apart` times the noise away."""
    source = torch.Generator().manual_seed(seed)
    labels = [[row % classes for row in range(rows * classes)] for _ in Split]
    centres = torch.eye(classes, 8) * apart
    values = {
        split: centres[torch.tensor(of_split)] + torch.randn(len(of_split), 8, generator=source)
        for split, of_split in zip(Split, labels, strict=True)
    }
    return Given(labels, values.__getitem__, classes=classes), values


@pytest.mark.parametrize("classes", [2, 3])
def test_a_probe_classifies_further_rows_as_it_did_the_test_rows(classes: int) -> None:
    problem, values = blobs(classes, rows=6, apart=2.0)
    files: dict[str, bytes] = {}
    made = {item.name: item for item in baselines(problem, lambda: None, files.__setitem__)}
    (name,) = files
    assert name == PROBE_FILE
    logits = read_probe(files[name]).logits(values[Split.TEST].numpy())
    assert problem.task is not None
    labels = labels_of(problem.task.test, values[Split.TEST].device)
    (again,) = RowResults.of_logits(torch.from_numpy(logits)[None].float(), labels).scores()
    assert again.loss == pytest.approx(score(made["linear_probe"]).loss, rel=1e-6)
    assert again.accuracy == score(made["linear_probe"]).accuracy
    _, facts = tensorfile.load(files[name])
    assert json.loads(facts["labels"]) == list(problem.task.labels)
    assert facts["settings"] == made["linear_probe"].detail


def test_a_probe_is_scored_on_selection_by_one_that_has_not_seen_it() -> None:
    """Features that name each row: a probe that knew selection would be right there."""
    labels = [[0, 1, 0, 1], [1, 0, 1, 0], [0, 1]]
    rows = {
        split: torch.eye(10)[start : start + len(of_split)]
        for split, start, of_split in zip(Split, (0, 4, 8), labels, strict=True)
    }
    files: dict[str, bytes] = {}
    baselines(Given(labels, rows.__getitem__), lambda: None, files.__setitem__)
    _, facts = tensorfile.load(files[PROBE_FILE])
    held_out = json.loads(facts["selection"])
    assert held_out["rows"] == 4
    assert held_out["accuracy"] == 0.5
    assert held_out["loss"] == pytest.approx(math.log(2), abs=1e-3)


@pytest.mark.parametrize("classes", [pytest.param(2, marks=pytest.mark.campaign), 3])
def test_separable_classes_are_told_apart(classes: int) -> None:
    made = found(blobs(classes, 10, apart=20.0)[0])
    assert list(made) == ["majority", "linear_probe", "prototypes"]
    for name in ("linear_probe", "prototypes"):
        assert score(made[name]).accuracy == 1.0
        assert score(made[name]).loss < 0.1
        assert score(made[name]).rows == 10 * classes
        assert made[name].labelled_rows == 20 * classes
        assert "5-fold cross-validation" in made[name].detail
    assert score(made["majority"]).loss == pytest.approx(math.log(classes))


def test_features_that_say_nothing_lead_to_a_strong_penalty() -> None:
    made = found(blobs(3, 40, apart=0.0)[0])
    assert score(made["linear_probe"]).loss == pytest.approx(math.log(3), abs=0.05)
    assert score(made["prototypes"]).loss == pytest.approx(math.log(3), abs=0.1)


def test_the_majority_by_hand() -> None:
    majority = found(Given([[0, 0, 1], [0], [0, 0, 1, 1]]))["majority"]
    assert majority.labelled_rows == 4
    assert score(majority).accuracy == 0.5
    assert score(majority).loss == pytest.approx(-(math.log(0.75) + math.log(0.25)) / 2)
    assert score(majority).macro_f1 == pytest.approx((2 * 2 / (4 + 2) + 0) / 2)


def untuned(labels: Sequence[Sequence[int]]) -> Callable[[Split], Tensor]:
    """A model that gives a row's class three times the probability of the other."""
    values = {
        split: torch.nn.functional.one_hot(torch.tensor(of_split), 2).float() * math.log(3.0)
        for split, of_split in zip(Split, labels, strict=True)
    }
    return values.__getitem__


def test_zero_shot_by_hand() -> None:
    labels = [[0, 1], [0, 1], [0, 1, 1]]
    made = found(Given(labels, untuned=untuned(labels)))
    assert list(made) == ["majority", "zero_shot"], "without features nothing is fitted"
    assert score(made["zero_shot"]).loss == pytest.approx(-math.log(0.75))
    assert made["zero_shot"].labelled_rows == 0


def test_prototypes_trust_the_untuned_scores_where_features_say_nothing() -> None:
    labels = [[0, 1] * 10] * 3
    made = found(Given(labels, lambda split: torch.ones(20, 4), untuned(labels)))
    assert score(made["prototypes"]).accuracy == 1.0
    assert score(made["prototypes"]).loss < score(made["zero_shot"]).loss, "λ is above 1"
    assert "λ = 2 " in made["prototypes"].detail
    assert score(made["linear_probe"]).loss == pytest.approx(math.log(2), abs=1e-3)


def test_features_wider_than_the_rows_are_many_say_the_same() -> None:
    """A rotation into a wider space leaves prototypes as they were."""
    classes = 3
    narrow, values = blobs(classes, 6, apart=2.0)
    turned = torch.linalg.qr(torch.randn(60, 8, generator=torch.Generator().manual_seed(1)))[0]
    wide = Given(
        [[row.label for row in narrow.task.rows(split)] for split in Split],
        lambda split: values[split] @ turned.T,
        classes=classes,
    )
    one, other = (score(found(problem)["prototypes"]) for problem in (narrow, wide))
    assert one.loss == pytest.approx(other.loss, rel=1e-4)
    assert one.accuracy == other.accuracy


def test_without_a_second_row_of_a_class_the_settings_are_the_defaults() -> None:
    values = {split: torch.tensor([[1.0, 0.0], [0.0, 1.0]]) for split in Split}
    values[Split.SELECTION] = torch.empty(0, 2)
    made = found(Given([[0, 1], [], [0, 1]], values.__getitem__))
    assert made["linear_probe"].detail == "C = 1 (default: a class has one row)"
    assert made["prototypes"].detail == "τ = 8, λ = 0 (default: a class has one row)"
    assert [score(item).accuracy for item in made.values()] == [0.5, 1.0, 1.0]


def test_a_class_without_labelled_rows_is_named() -> None:
    values = {split: torch.zeros(2, 2) for split in Split}
    made = found(Given([[0, 0], [0, 0], [0, 1]], values.__getitem__, values.__getitem__))
    assert score(made["zero_shot"]).accuracy == 0.5
    for name in ("majority", "linear_probe", "prototypes"):
        assert made[name].test is None
        assert made[name].detail == "no labelled row is of class 'class 1'"


def test_a_class_missing_from_a_split_is_no_obstacle() -> None:
    _, values = blobs(2, 2, apart=20.0)
    order = torch.tensor([0, 2, 1, 3])  # rows by class
    halves = {
        Split.TRAIN: values[Split.TRAIN][order][:2],
        Split.SELECTION: values[Split.SELECTION][order][2:],
        Split.TEST: values[Split.TEST][order][2:],
    }
    made = found(Given([[0, 0], [1, 1], [1, 1]], halves.__getitem__))
    assert [score(item).accuracy for item in made.values()] == [0.0, 1.0, 1.0]
    assert "2-fold" in made["linear_probe"].detail


@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_features_that_are_not_finite_are_named(broken: float) -> None:
    problem = Given([[0, 1], [0, 1], [0, 1]], lambda split: torch.full((2, 3), broken))
    for name in ("linear_probe", "prototypes"):
        baseline = found(problem)[name]
        assert baseline.test is None
        assert "not finite" in baseline.detail


def test_a_model_that_fails_costs_its_baselines_alone() -> None:
    def failing(split: Split) -> Tensor:
        raise RuntimeError("out of memory")

    labels = [[0, 1]] * 3
    made = found(Given(labels, failing, untuned(labels)))
    assert made["prototypes"].test is None
    assert made["prototypes"].detail.startswith("could not be computed (RuntimeError)")
    assert score(made["zero_shot"]).accuracy == 1.0


def test_a_request_to_stop_is_respected() -> None:
    asked = []

    def check() -> None:
        asked.append(None)
        if len(asked) > 3:
            raise Stop(StopKind.PAUSE)

    with pytest.raises(Stop):
        found(blobs(2, 10, apart=1.0)[0], check)


def test_the_same_rows_give_the_same_baselines() -> None:
    one, other = (found(blobs(3, 12, apart=1.5)[0]) for _ in range(2))
    assert one == other
    assert 0.5 < (score(one["linear_probe"]).accuracy or 0.0) < 1.0


def test_without_test_rows_there_are_no_baselines() -> None:
    assert found(Given([[0, 1], [0, 1], []])) == {}


def test_folds_hold_every_row_out_once() -> None:
    labels = np.array([0] * 3 + [1] * 9)
    parts = list(folds(labels))
    assert len(parts) == 3, "as many as the smallest class has rows"
    assert sorted(np.concatenate([held for _, held in parts])) == list(range(12))
    assert all(set(labels[held]) == set(labels[fitted]) == {0, 1} for fitted, held in parts)
    assert list(folds(np.array([0, 1, 1]))) == []


def test_log_softmax_of_large_logits_is_finite() -> None:
    assert log_softmax(np.array([[1000.0, 0.0]])).tolist() == [[0.0, -1000.0]]
