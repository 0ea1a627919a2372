"""A tuned prompt on rows that its run has not seen: what an objective is reopened as."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor

from mentorgrad.domain.spec import LongTexts
from mentorgrad.errors import DataLoss, PreconditionFailed
from mentorgrad.serialization import from_dict
from trainer_service.objectives.classification import ClassificationProblem
from trainer_service.objectives.torch_free import ARTIFACT
from trainer_service.tasks.data import Split, TaskData

S = TypeVar("S")

Scores = Callable[[Any], Tensor]
"""A problem → the scores of the labels on its *test* rows, without calibration, float32
[rows, classes]."""


@dataclass(frozen=True, eq=False)
class TunedFiles:
    """What a run left."""

    document: Mapping[str, Any]
    """``model.json``."""
    tensors: Mapping[str, Tensor]
    """Those of ``prompt.safetensors``, on the device that is predicted on."""
    model: str
    """Reference of the frozen model."""

    def spec(self, kind: type[S]) -> S:
        """The run's objective.

        Raises:
            InvalidInput: It has fields that are not known here.
        """
        return from_dict(kind, self.document["spec"], "spec")

    @property
    def long_texts(self) -> LongTexts:
        """What happened to texts that are too long."""
        return LongTexts(self.document.get("long_texts", LongTexts.TRUNCATE))

    @property
    def has_images(self) -> bool:
        """Whether rows are images."""
        return bool(self.document.get("images"))

    def require_model(self, digest: str) -> None:
        """Checks that a model is the one that was tuned.

        Raises:
            PreconditionFailed: It is another one (reason MODEL_CHANGED).
        """
        tuned = self.document["model_sha256"]
        if digest != tuned:
            raise PreconditionFailed(
                f"{self.model} is not the model that was tuned: its SHA-256 is {digest}, and "
                f"that of the run's model was {tuned}",
                reason="MODEL_CHANGED",
            )


@dataclass(frozen=True, eq=False)
class Tuned:
    """A tuned prompt, ready for rows."""

    problem: Callable[[TaskData], ClassificationProblem]
    """Rows as the *test* split of a task without other rows → the run's problem on them."""
    prompt: Scores
    """Scores under the prompt itself."""
    words: Scores
    """Scores under the prompt in words."""
    close: Callable[[], None] = lambda: None
    """Frees what is held besides memory of torch."""


def scores_at(point: Tensor) -> Scores:
    """The scores under a parameter [*shape]."""

    def scores(problem: ClassificationProblem) -> Tensor:
        if tuple(point.shape) != problem.shape:
            raise DataLoss(
                f"{ARTIFACT} holds a prompt of shape {list(point.shape)}; the run's objective has "
                f"{list(problem.shape)}"
            )
        rows = torch.arange(problem.size(Split.TEST))
        return problem.batched_logits(point.unsqueeze(0), Split.TEST, rows)[0]

    return scores
