"""Sends candidates to the mentor, with embeddings and exemplars if the mentor asks for them.

Exemplars are train rows that the mentor is shown, only if the spec says so (`mentor.exemplars`).
Computing a candidate's losses on these few rows does not count as an evaluation, because the
selection split is not used and no decision depends on the losses; it does count in forward rows.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from mentorgrad.domain.advice import Batch, Exemplar
from mentorgrad.domain.spec import RunSpec
from trainer_service.mentors.fallback import FallbackMentor
from trainer_service.objectives.results import RowResults
from trainer_service.protocols import Objective, Scored
from trainer_service.seeds import balanced_rows
from trainer_service.tasks.data import Split

EXEMPLAR_CHARACTERS = 300
"""Maximum characters of an exemplar's text; longer texts are cut."""
_LABEL_CHARACTERS = 200


class MentorObservations:
    """Sends the candidates of one run.

    Args:
        spec: The run's spec.
        objective: Provides train rows, losses and embeddings.
        mentor: The mentor.
    """

    def __init__(self, spec: RunSpec, objective: Objective, mentor: FallbackMentor) -> None:
        self._objective = objective
        self._mentor = mentor
        self._hides_labels = spec.mentor.hide_card
        task = objective.problem.task
        self._train = task.train if task is not None else ()
        self._chosen = balanced_rows(self._train, spec.mentor.exemplars, spec.seed, "exemplars")
        self._rows = torch.tensor(self._chosen, dtype=torch.int64)

    def tell(self, stage: int, scored: Sequence[Scored]) -> None:
        """Sends scored candidates of a stage to the mentor."""
        wants = self._mentor.wants
        candidates = tuple(item.candidate for item in scored)
        embeddings = losses = None
        if scored and wants.embeddings:
            parameters = torch.stack([item.parameters for item in scored])
            texts = [candidate.text for candidate in candidates]
            embeddings = _array(self._objective.language.meanings(texts, parameters))
        if scored and self._shows_rows:
            parameters = torch.stack([item.parameters for item in scored])
            losses = _array(self._results(parameters).losses)
        self._mentor.observe(
            Batch(
                stage=stage,
                candidates=candidates,
                embeddings=embeddings,
                exemplar_losses=losses,
            )
        )

    def exemplars(self, incumbent: Scored) -> tuple[Exemplar, ...]:
        """The exemplars with the incumbent's losses and predictions, in the order of
        `Batch.exemplar_losses`; empty if the spec or the mentor asks for none."""
        if not self._shows_rows:
            return ()
        results = self._results(incumbent.parameters[None])
        guesses = [] if results.predicted is None else results.predicted[0].tolist()
        return tuple(
            Exemplar(
                text=self._train[index].joined.replace("\0", " ")[:EXEMPLAR_CHARACTERS],
                label=self._label(self._train[index].label),
                predicted=self._label(guess),
                loss=loss,
            )
            for index, loss, guess in zip(
                self._chosen, results.losses[0].tolist(), guesses, strict=True
            )
        )

    @property
    def exemplar_rows(self) -> int:
        """Number of train rows that the mentor is shown now; their losses have to be charged for
        each parameter."""
        return self.chosen_rows if self._shows_rows else 0

    @property
    def chosen_rows(self) -> int:
        """Number of train rows that the spec allows to be shown."""
        return len(self._chosen)

    @property
    def _shows_rows(self) -> bool:
        return bool(self._chosen) and self._mentor.wants.exemplars

    def _results(self, parameters: torch.Tensor) -> RowResults:
        return self._objective.problem.results(parameters, Split.TRAIN, self._rows)

    def _label(self, label: int) -> str:
        if self._hides_labels:
            return f"class {label + 1}"
        return self._objective.card.labels[label][:_LABEL_CHARACTERS]


def _array(values: torch.Tensor) -> np.ndarray:
    return values.float().cpu().numpy()
