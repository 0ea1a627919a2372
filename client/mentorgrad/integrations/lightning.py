"""A soft prompt in a Lightning module, with restarts proposed by a mentor.

with MentorClient(...).session(task=..., n_tokens=8) as session:
    advice = MentorCallback(session, words, loss=Tuned.loss, selection=batches)
    Trainer(callbacks=[advice]).fit(module, loader)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torch.utils.data import DataLoader

from mentorgrad.domain.run import Score
from mentorgrad.errors import InvalidInput
from mentorgrad.integrations.torch import (
    AdvisedPrompt,
    Rules,
    Words,
    batch_losses,
    check_scoring,
    mean_loss,
)
from mentorgrad.session import MentorSession

__all__ = ["MentorCallback", "Rules", "Words"]


class MentorCallback(Callback):  # type: ignore[misc]
    """Restarts the soft prompt of a module from a mentor's proposals.

    After each multiple of `stage_steps`, before the next step, the mentor is asked and a race
    decides (see `AdvisedPrompt`).

    Args:
        session: An open session.
        words: Vocabulary of the prompt's embedding space.
        loss: Takes the module and a batch and returns the batch's mean loss; must not log.
        selection: Batches of the selection split, iterated again for each score.
        score: Returns the score of the current module, instead of the mean loss over `selection`;
            called without gradients.
        prompt: Name of the module's soft prompt parameter, float [positions, width].
        rules: When the mentor is asked and how a restart is decided.

    Raises:
        InvalidInput: There is neither a selection that can be iterated again nor a score.
    """

    def __init__(
        self,
        session: MentorSession,
        words: Words,
        *,
        loss: Callable[[Any, Any], Tensor],
        selection: Iterable[Any] = (),
        score: Callable[[], Score] | None = None,
        prompt: str = "prompt",
        rules: Rules | None = None,
    ) -> None:
        check_scoring(score, selection)
        self.advised: AdvisedPrompt | None = None
        """Set when training begins."""
        self._session = session
        self._words = words
        self._loss = loss
        self._selection = selection
        self._score = score
        self._prompt = prompt
        self._rules = rules or Rules()
        self._asked = self._told = 0
        self._sum = 0.0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Finds the soft prompt and its optimizer.

        Raises:
            InvalidInput: The train loader is not a single `DataLoader` with a batch size. Races
                draw their batches from it.
        """
        loader = trainer.train_dataloader
        rows = loader.batch_size if isinstance(loader, DataLoader) else None
        if rows is None:
            raise InvalidInput.field("train_dataloader", "must be one DataLoader with a batch_size")

        def loss(batch: Any) -> Tensor:
            moved = pl_module.transfer_batch_to_device(batch, pl_module.device, 0)
            return self._loss(pl_module, moved)

        def losses() -> Iterator[Tensor]:
            return batch_losses(loss, loader, rows)

        self._asked, self._told, self._sum = 0, trainer.global_step, 0.0
        self.advised = AdvisedPrompt(
            self._session,
            pl_module.get_parameter(self._prompt),
            self._words,
            trainer.optimizers[0],
            score=self._score or (lambda: mean_loss(pl_module, loss, self._selection)),
            losses=losses,
            rules=self._rules,
        )

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Asks the mentor at the end of a stage."""
        step = trainer.global_step
        # With gradient accumulation, several batches have the same step number; a race after the
        # first of them would drop its gradient.
        if self.advised is not None and step > self._asked and step % self._rules.stage_steps == 0:
            self._asked = step
            self.advised.consult()

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Sends the step to the mentor after its last batch."""
        loss = outputs["loss"] if isinstance(outputs, Mapping) else outputs
        if self.advised is None or loss is None:
            return
        self._sum += float(loss)  # Lightning divides by the number of batches per step
        if trainer.global_step > self._told:
            rate = trainer.optimizers[0].param_groups[0]["lr"]
            self.advised.push(trainer.global_step, self._sum, float(rate))
            self._told, self._sum = trainer.global_step, 0.0
