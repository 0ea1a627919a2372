"""A classifier with the conventions of scikit-learn, tuned in this process.

Requires the extra ``trainer``.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, column_or_1d

from mentorgrad.domain.spec import RunSpec, Task
from mentorgrad.installed import load_entry_point
from mentorgrad.predictor import Predictor

__all__ = ["MentorgradClassifier"]


class MentorgradClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Tunes a prompt on texts and classifies further ones.

    `fit` executes one run in this process. All texts are used: *selection* is drawn from them, up
    to 64 texts per class or half of a class; gradients see the others. ``classes_`` has the type of
    the labels that were given.

    Args:
        spec: The run; of its task, the description and the numbers of rows count. None: a run as
            `RunSpec` has it by default, on all texts.
        words: Label → label word, which the model reads; a label without one is its own text.
        description: One line that says what the texts are classified by; empty: that of `spec`,
            or the label words.
        use: ``prompt``, or ``words`` for the prompt in words.
        random_state: Seed of the run; None: that of `spec`.
        device: Torch device.
    """

    def __init__(
        self,
        spec: RunSpec | None = None,
        *,
        words: Mapping[Any, str] | None = None,
        description: str = "",
        use: str = "prompt",
        random_state: int | None = None,
        device: str = "cpu",
    ) -> None:
        self.spec = spec
        self.words = words
        self.description = description
        self.use = use
        self.random_state = random_state
        self.device = device

    def fit(self, X: Sequence[str], y: Sequence[Any]) -> Self:  # noqa: N803 - as scikit-learn's
        """Tunes the prompt.

        Args:
            X: Texts, [rows] or [rows, 1].
            y: Labels of any one type, [rows].

        Raises:
            ValueError: The texts or labels cannot be used.
            Unsupported: The extra ``trainer`` is not installed.
            MentorgradError: The run failed.
        """
        if y is None:
            raise ValueError("this classifier requires y to be passed, but the target y is None")
        texts, labels = _texts(X), column_or_1d(y, warn=True)
        check_classification_targets(labels)
        if labels.shape != (len(texts),):
            raise ValueError(f"there are {len(texts)} texts and labels of shape {labels.shape}")
        self.classes_, indices = np.unique(labels, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(f"labels of one class only: {self.classes_.tolist()}")
        known = self.words or {}
        words = [known.get(label, str(label)) for label in self.classes_.tolist()]
        spec = self.spec or RunSpec(task=Task("rows", shots=0))
        about = self.description or spec.task.description or f"one of: {', '.join(words)}"[:500]
        spec = replace(spec, task=replace(spec.task, description=about))
        if self.random_state is not None:
            spec = replace(spec, seed=int(self.random_state))
        fit = load_entry_point("mentorgrad.predictors", "fit", "trainer")
        self._predictor: Predictor | None = None
        self.files_ = fit(spec, texts, indices.tolist(), words, device=self.device)
        return self

    def predict_proba(self, X: Sequence[str]) -> NDArray[np.float64]:  # noqa: N803
        """Probabilities of the classes in the order of ``classes_``, [rows, classes]."""
        check_is_fitted(self, "files_")
        if self._predictor is None:
            self._predictor = self._loaded()
        return self._predictor.predict_proba(_texts(X))

    def predict(self, X: Sequence[str]) -> NDArray[Any]:  # noqa: N803
        """The most probable class of each text, [rows]."""
        shares = self.predict_proba(X)
        found: NDArray[Any] = self.classes_[shares.argmax(-1)]
        return found

    def _loaded(self) -> Predictor:
        with tempfile.TemporaryDirectory(prefix="mentorgrad-") as folder:
            for name, content in self.files_.items():
                (Path(folder) / name).write_bytes(content)
            return Predictor.load(folder, self.use, device=self.device)

    def __getstate__(self) -> dict[str, Any]:
        """Without the loaded model, which is loaded again when it is needed."""
        state: dict[str, Any] = super().__getstate__()
        return {**state, "_predictor": None}

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.two_d_array = False
        tags.input_tags.one_d_array = True
        tags.non_deterministic = False
        return tags


def _texts(given: Any) -> list[str]:
    values = np.asarray(given, dtype=object)
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim != 1:
        raise ValueError(f"X must hold texts, [rows] or [rows, 1], not shape {values.shape}")
    wrong = next((value for value in values if not isinstance(value, str)), None)
    if wrong is not None or any(value is None for value in values):
        raise ValueError(f"X must hold texts, not {type(wrong).__name__}")
    return [str(value) for value in values]
