"""What a mentor is told of candidates beyond their words and scores, where it wants it.

Train rows are shown only where the spec says so (`mentor.exemplars`). To score a candidate on a
handful of them is no evaluation: the selection split is not looked at, and nothing is decided by
it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from mentorgrad.domain.advice import Batch, Exemplar
from mentorgrad.domain.spec import RunSpec
from trainer_service.mentors.fallback import FallbackMentor
from trainer_service.protocols import Objective, Scored
from trainer_service.seeds import generator
from trainer_service.tasks.data import Row

EXEMPLAR_CHARACTERS = 300
"""Where the text of a row that is shown is cut."""
_LABEL_CHARACTERS = 200


class MentorObservations:
    """Tells for one run.

    Args:
        spec: The run's.
        objective: Knows rows and meanings.
        mentor: Who is told.
    """

    def __init__(self, spec: RunSpec, objective: Objective, mentor: FallbackMentor) -> None:
        self._objective = objective
        self._mentor = mentor
        self._hides_labels = spec.mentor.hide_card
        self._chosen = balanced_rows(objective.rows, spec.mentor.exemplars, spec.seed)
        self._rows = torch.tensor(self._chosen, dtype=torch.int64, device=objective.device)

    def tell(self, stage: int, scored: Sequence[Scored]) -> None:
        """Tells of candidates that were scored."""
        wants = self._mentor.wants
        candidates = tuple(item.candidate for item in scored)
        embeddings = losses = None
        if scored and wants.embeddings:
            parameters = torch.stack([item.parameters for item in scored])
            texts = [candidate.text for candidate in candidates]
            embeddings = _array(self._objective.meanings(texts, parameters))
        if scored and self._shows_rows:
            parameters = torch.stack([item.parameters for item in scored])
            losses = _array(self._objective.row_losses(parameters, self._rows)[0])
        self._mentor.observe(
            Batch(
                stage=stage,
                candidates=candidates,
                embeddings=embeddings,
                exemplar_losses=losses,
            )
        )

    def exemplars(self, incumbent: Scored) -> tuple[Exemplar, ...]:
        """The rows that are shown, in the order of their losses in batches, and how the incumbent
        does on them; none where nobody wants any."""
        if not self._shows_rows:
            return ()
        losses, predicted = self._objective.row_losses(incumbent.parameters[None], self._rows)
        return tuple(
            Exemplar(
                text=self._objective.rows[index].joined.replace("\0", " ")[:EXEMPLAR_CHARACTERS],
                label=self._label(self._objective.rows[index].label),
                predicted=self._label(guess),
                loss=loss,
            )
            for index, loss, guess in zip(
                self._chosen, losses[0].tolist(), predicted[0].tolist(), strict=True
            )
        )

    @property
    def _shows_rows(self) -> bool:
        return bool(self._chosen) and self._mentor.wants.exemplars

    def _label(self, label: int) -> str:
        if self._hides_labels:
            return f"class {label + 1}"
        return self._objective.card.labels[label][:_LABEL_CHARACTERS]


def balanced_rows(rows: Sequence[Row], count: int, seed: int) -> list[int]:
    """Indices of rows drawn by seed, as many of each class as can be: class by class in turn, the
    classes in a drawn order."""
    source = generator(seed, "exemplars")
    waiting: dict[int, list[int]] = {}
    for index in torch.randperm(len(rows), generator=source).tolist():
        waiting.setdefault(rows[index].label, []).append(index)
    chosen: list[int] = []
    while len(chosen) < min(count, len(rows)):
        for indices in waiting.values():
            if indices and len(chosen) < count:
                chosen.append(indices.pop())
    return chosen


def _array(values: torch.Tensor) -> np.ndarray:
    return values.float().cpu().numpy()
