"""The classifier with scikit-learn's conventions: with a stand-in for tuning, and once for real."""

from __future__ import annotations

import json
import pickle
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted, validate_data

from mentorgrad import Predictor, RunSpec, Stages, Task
from mentorgrad.domain.objective import LabelPrompt
from mentorgrad.integrations import sklearn as ours
from mentorgrad.integrations.sklearn import MentorgradClassifier

pytestmark = pytest.mark.slow
"""scikit-learn takes a second to import."""

TEXTS = [f"{word} film {n}" for n in range(6) for word in ("good", "bad")]
LABELS = [1, 0] * 6


class Told(Predictor):
    """A text with the second label word in it is of the second class."""

    def __init__(self, words: Sequence[str]) -> None:
        self.labels, self.is_paired, self.use, self.columns = tuple(words), False, "prompt", {}

    def predict_proba(
        self, texts: Sequence[str], pairs: Sequence[str] | None = None
    ) -> NDArray[np.float64]:
        shares = [0.75 if self.labels[1] in text else 0.25 for text in texts]
        return np.array([[1.0 - share, share] for share in shares]).reshape(-1, 2)


class Tuning:
    """What `fit` was called with; the files say the label words."""

    def __init__(self) -> None:
        self.calls: list[tuple[RunSpec, list[str], list[int], list[str]]] = []
        self.loads = 0

    def fit(
        self, spec: RunSpec, texts: list[str], labels: list[int], words: list[str], **_: Any
    ) -> dict[str, bytes]:
        self.calls.append((spec, texts, labels, words))
        return {"words": "|".join(words).encode()}

    def load(self, folder: str, use: str, **_: Any) -> Told:
        self.loads += 1
        return Told((Path(folder) / "words").read_text().split("|"))


@pytest.fixture
def tuning(monkeypatch: pytest.MonkeyPatch) -> Tuning:
    made = Tuning()
    monkeypatch.setattr(ours, "load_entry_point", lambda group, name, extra: made.fit)
    monkeypatch.setattr(Predictor, "load", made.load)
    return made


@pytest.mark.parametrize(
    ("labels", "kind"), [([3, 7], np.integer), (["no", "yes"], np.str_), ([False, True], np.bool_)]
)
def test_classes_have_the_type_that_was_given(
    tuning: Tuning, labels: list[Any], kind: type
) -> None:
    y = [labels[label] for label in LABELS]
    words = dict(zip(labels, ("bad", "good"), strict=True))
    made = MentorgradClassifier(words=words).fit(TEXTS, y)
    assert made.classes_.tolist() == labels
    assert isinstance(made.predict(TEXTS)[0], kind)
    assert made.predict(TEXTS).tolist() == y
    assert made.predict_proba(TEXTS[:2]).tolist() == [[0.25, 0.75], [0.75, 0.25]]
    assert made.score(TEXTS, y) == 1.0
    spec, texts, indices, told = tuning.calls[0]
    assert (texts, indices, told) == (TEXTS, LABELS, ["bad", "good"])
    assert (spec.task.shots, spec.task.description) == (0, "one of: bad, good")
    assert tuning.loads == 1


def test_labels_are_their_own_words_and_the_seed_is_set(tuning: Tuning) -> None:
    spec = RunSpec(task=Task("own", description="what it says", shots=2), seed=5)
    for state, seed in ((None, 5), (np.int64(9), 9)):
        MentorgradClassifier(spec, random_state=state).fit(TEXTS, LABELS)  # type: ignore[arg-type]
        assert tuning.calls[-1][0].seed == seed
        assert tuning.calls[-1][0].task.description == "what it says"
        assert tuning.calls[-1][3] == ["0", "1"]


def test_it_is_cloned_pickled_and_part_of_other_estimators(tuning: Tuning) -> None:
    from sklearn.base import clone
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.model_selection import GridSearchCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer

    words = {0: "bad", 1: "good"}
    made = MentorgradClassifier(RunSpec(task=Task("own", shots=0)), words=words)
    again = clone(made)
    assert again.get_params() == made.get_params()
    assert not hasattr(again, "classes_")
    made.fit(TEXTS, LABELS).predict(TEXTS)
    read = pickle.loads(pickle.dumps(made))
    assert read.predict(TEXTS).tolist() == LABELS
    lower = FunctionTransformer(lambda texts: [text.lower() for text in texts])
    upper = [text.upper() for text in TEXTS]
    assert make_pipeline(lower, made).fit(upper, LABELS).predict(upper).tolist() == LABELS
    search = GridSearchCV(made, {"random_state": [1, 2]}, cv=2, error_score="raise")
    assert search.fit(TEXTS, LABELS).best_score_ == 1.0
    sure = CalibratedClassifierCV(made, cv=2).fit(np.array(TEXTS, dtype=object), LABELS)
    assert sure.predict(np.array(TEXTS, dtype=object)).tolist() == LABELS


def test_numbers_that_are_no_classes_and_no_labels_are_refused(tuning: Tuning) -> None:
    made = MentorgradClassifier()
    with pytest.raises(ValueError, match="Unknown label type: continuous"):
        made.fit(TEXTS, np.linspace(0.1, 0.9, len(TEXTS)))
    with pytest.raises(ValueError, match="requires y to be passed"):
        made.fit(TEXTS, None)  # type: ignore[arg-type]


def test_what_cannot_be_used_is_a_value_error(tuning: Tuning) -> None:
    from sklearn.exceptions import NotFittedError

    made = MentorgradClassifier()
    with pytest.raises(NotFittedError):
        made.predict(TEXTS)
    for texts, labels, words in (
        (TEXTS, LABELS[:-1], "12 texts"),
        (TEXTS, [1] * len(TEXTS), "one class only"),
        ([1, 2], [0, 1], "not int"),
        (["a", None], [0, 1], "not NoneType"),
        (np.zeros((2, 2)), [0, 1], "not shape"),
        ("text", [0, 1], "not shape"),
    ):
        with pytest.raises(ValueError, match=words):
            made.fit(texts, labels)  # type: ignore[arg-type]
    column = np.array(TEXTS, dtype=object)[:, None]
    made.fit(column, LABELS)
    assert tuning.calls[-1][1] == TEXTS


class OnNumbers(MentorgradClassifier):
    """Rows of numbers as texts: the checks of scikit-learn know no texts."""

    def fit(self, X: Any, y: Any) -> Self:  # type: ignore[override]  # noqa: N803
        return super().fit(numbers_as_texts(validate_data(self, X)), y)

    def predict_proba(self, X: Any) -> NDArray[np.float64]:  # noqa: N803
        check_is_fitted(self, "files_")
        return super().predict_proba(numbers_as_texts(validate_data(self, X, reset=False)))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.string = tags.input_tags.one_d_array = False
        tags.input_tags.two_d_array = True
        return tags


def numbers_as_texts(rows: NDArray[Any]) -> list[str]:
    return [" ".join(map(repr, row)) for row in rows.astype(float).tolist()]


class Centroids(Predictor):
    """The nearer the mean of a label's rows, the more probable it is."""

    def __init__(self, folder: Path) -> None:
        found = json.loads((folder / "centroids").read_text())
        self.labels, self.is_paired, self.use, self.columns = tuple(found), False, "prompt", {}
        self._means = np.array(list(found.values()))

    def predict_proba(
        self, texts: Sequence[str], pairs: Sequence[str] | None = None
    ) -> NDArray[np.float64]:
        rows = np.array([list(map(float, text.split())) for text in texts])
        near = np.exp(-np.linalg.norm(rows[:, None] - self._means, axis=-1))
        return near / near.sum(-1, keepdims=True)


def fit_centroids(
    spec: RunSpec, texts: list[str], labels: list[int], words: list[str], **_: Any
) -> dict[str, bytes]:
    rows, numbers = np.array([list(map(float, text.split())) for text in texts]), np.array(labels)
    means = {word: rows[numbers == at].mean(0).tolist() for at, word in enumerate(words)}
    return {"centroids": json.dumps(means).encode()}


EXPECTED_FAILURES = {
    "check_dict_unchanged": "the model is loaded when it is first predicted with, and kept",
}
"""Checks of scikit-learn that fail, with the reason of each."""


def test_the_checks_of_scikit_learn_pass_but_those_with_a_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from sklearn.exceptions import SkipTestWarning
    from sklearn.utils.estimator_checks import check_estimator

    monkeypatch.setattr(ours, "load_entry_point", lambda group, name, extra: fit_centroids)
    monkeypatch.setattr(Predictor, "load", lambda folder, use, **_: Centroids(Path(folder)))
    with pytest.warns(SkipTestWarning):  # of an estimator whose input has no two dimensions
        check_estimator(MentorgradClassifier())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = check_estimator(
            OnNumbers(), expected_failed_checks=EXPECTED_FAILURES, on_fail=None, on_skip=None
        )
    wrong = {r["check_name"]: r["exception"] for r in results if r["status"] == "failed"}
    assert wrong == {}
    assert len([r for r in results if r["status"] == "passed"]) > 40
    failed = {r["check_name"] for r in results if r["status"] == "xfail"}
    assert failed == EXPECTED_FAILURES.keys()


def test_a_run_is_executed_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The functions that the entry points name, with a random encoder."""
    from tests.support.tiny_models import TEXTS as MANY
    from tests.support.tiny_models import make
    from trainer_service.prediction import fitting, predictor

    monkeypatch.setattr(ours, "load_entry_point", lambda group, name, extra: fitting.fit)
    monkeypatch.setattr(
        Predictor, "load", lambda folder, use, device: predictor.load(Path(folder), use)
    )
    labels = ["yes" if "good" in text or "bad" in text else "no" for text in MANY]
    spec = RunSpec(
        LabelPrompt(str(make(tmp_path / "encoder")), n_tokens=2),
        Task("own", shots=0, selection_rows=4),
        stages=Stages(count=1, steps=2),
    )
    made = MentorgradClassifier(spec).fit(MANY, labels)
    shares = made.predict_proba(MANY[:5])
    assert shares.shape == (5, 2)
    assert {"model.json", "prompt.safetensors"} <= made.files_.keys()
    again = pickle.loads(pickle.dumps(made))
    np.testing.assert_array_equal(again.predict_proba(MANY[:5]), shares)
