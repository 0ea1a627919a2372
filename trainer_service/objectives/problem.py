"""The problem of an objective: the losses of parameters on rows, from which all scores are made."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property
from types import MappingProxyType

import torch
from torch import Tensor

from mentorgrad.domain.run import Score
from trainer_service.costs import RowCosts
from trainer_service.objectives.results import RowResults
from trainer_service.objectives.row_parts import RowParts
from trainer_service.objectives.row_questions import (
    ProcessGroup,
    QuestionKind,
    RowQuestion,
    answer_alone,
)
from trainer_service.tasks.data import CutTexts, Split, TaskData
from trainer_service.training_settings import TrainingSettings


class Problem(ABC):
    """Base of the problems. A subclass sets the attributes and implements `losses` and `results`.

    Nothing here changes the parameters passed in, or charges the budget: the caller does. On a CPU
    every method is deterministic given its inputs. Indices of rows are on the host, so that a batch
    is chosen and trimmed without a wait for the device.
    """

    shape: tuple[int, ...]
    """Shape of one parameter."""
    device: torch.device
    """Device of the parameters."""
    costs: RowCosts
    """Forward rows of a pass."""
    task: TaskData | None = None
    """The rows of the splits; None for an objective without data, which has one imaginary row."""
    has_gradients = True
    """Whether `losses` is differentiable."""
    unit: float = 1.0
    """What a learning rate or a perturbation of 1 amounts to: for prompts the root mean square of
    the word vectors, for others 1."""
    tuned_model: str = ""
    """A tuned model that could be another one when the run is resumed: the name that its server
    reports, or the file's name and SHA-256. Empty: the spec determines it."""
    cut_texts: CutTexts = MappingProxyType({})
    """The rows whose texts are cut because they are longer than the model's room for them."""
    train_lengths: Sequence[int] = ()
    """Tokens of each train row, if a pass pads its rows to the longest: the batches of steps are
    then made of rows of similar length. Empty: any rows make a batch."""
    feature: str = ""
    """What `features` are, for people; empty if there are none."""
    start_remedy: str = "try another initial text or seed"
    """What to change if the loss of a start is not finite, for the error."""
    group: ProcessGroup | None = None
    """The processes that answer questions about rows together; None: this one alone does."""

    @cached_property
    def parts(self) -> RowParts:
        """How many parts of a batch pass through the model one after the other."""
        return RowParts()

    @abstractmethod
    def losses(self, points: Tensor, rows: Tensor) -> Tensor:
        """[k, *shape], int64 train row indices [batch] → the mean loss of each parameter on these
        rows, float32 [k]; differentiable if `has_gradients`."""

    @abstractmethod
    def results(self, points: Tensor, split: Split, rows: Tensor | None = None) -> RowResults:
        """[k, *shape] → losses and predictions on rows of a split, without gradients.

        Args:
            points: The parameters.
            split: The split.
            rows: int64 row indices [n]; None: the whole split.
        """

    def points_at_once(self, rows: Tensor) -> int:
        """Maximum parameters per backward pass over these train rows, to limit memory."""
        return 1024

    def trained_part(self, step: int, settings: TrainingSettings | None = None) -> Tensor | None:
        """The numbers that the step after so many steps of the trajectory may change under these
        settings, bool [*shape]; None: all of them."""
        return None

    def begins_part(self, step: int) -> bool:
        """Whether `trained_part` is another one than in the step before, whatever the settings; the
        optimizer then begins with fresh moments."""
        return False

    def take_tokens(self) -> int:
        """Tokens that a served tuned model has processed since the last call; 0 if none are
        counted."""
        return 0

    def close(self) -> None:
        """Frees what the problem holds besides memory of torch."""
        return

    def features(self, split: Split) -> Tensor | None:
        """The frozen model's features of each row, which no parameter changes, float32
        [rows, width]; None if there are none. Baselines are fitted on them."""
        return None

    def untuned_logits(self, split: Split) -> Tensor | None:
        """Logits of each row without any tuning (zero-shot), float32 [rows, classes]; None if the
        objective needs tuning."""
        return None

    def size(self, split: Split) -> int:
        """Number of rows of a split; 1 for an objective without data, 0 for its test split."""
        if self.task is None:
            return int(split is not Split.TEST)
        return len(self.task.rows(split))

    def answer(self, question: RowQuestion) -> tuple[Tensor, ...]:
        """The answer to a question about rows, by all processes of the run."""
        if self.group is None:
            return answer_alone(self, question)
        return self.group.answer(question)

    def mean_losses(self, points: Tensor, rows: Tensor) -> Tensor:
        """[k, *shape], int64 train row indices [batch] → losses float32 [k], without gradients."""
        (losses,) = self.answer(RowQuestion(QuestionKind.LOSSES, points, rows))
        return losses

    def gradients(self, points: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """[k, *shape], int64 train row indices [batch] → losses float32 [k], and their gradients
        [k, *shape]."""
        losses, slopes = self.answer(RowQuestion(QuestionKind.GRADIENTS, points, rows))
        return losses, slopes

    def derivative(self, point: Tensor, direction: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """[*shape], [*shape], int64 train row indices [batch] → the loss and its derivative along
        the direction, scalars, computed in forward mode."""
        both = torch.stack([point, direction])
        loss, slope = self.answer(RowQuestion(QuestionKind.DERIVATIVE, both, rows))
        return loss, slope

    def score(self, points: Tensor, rows: Tensor | None = None) -> list[Score]:
        """[k, *shape] → k scores on the selection split, or on some of its rows."""
        return self.results(points, Split.SELECTION, rows).scores()

    def test(self, point: Tensor) -> Score | None:
        """[*shape] → score on *test*; None without test rows."""
        if not self.size(Split.TEST):
            return None
        return self.results(point.unsqueeze(0), Split.TEST).scores()[0]
