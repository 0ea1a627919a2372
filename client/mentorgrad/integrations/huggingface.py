"""A PEFT soft prompt in a Hugging Face `Trainer`, with restarts proposed by a mentor.

with MentorClient(...).session(task=..., n_tokens=8) as session:
    trainer.add_callback(MentorCallback(session, selection=batches))
    trainer.train()
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor
from transformers import TrainerCallback

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

__all__ = ["MentorCallback", "Rules", "soft_prompt"]


class MentorCallback(TrainerCallback):  # type: ignore[misc]
    """Restarts the soft prompt of a PEFT model from a mentor's proposals.

    The mentor receives the steps that the `Trainer` logs (`logging_steps`). After each multiple of
    `stage_steps`, before the next step, the mentor is asked and a race decides (see
    `AdvisedPrompt`).

    Args:
        session: An open session.
        selection: Batches of the selection split in the form the model accepts, with labels, for
            example a `DataLoader`; iterated again for each score.
        score: Returns the score of the current model, instead of the mean loss over `selection`;
            called without gradients.
        rules: When the mentor is asked and how a restart is decided.
        tokenizer: Tokenizer of the model; None: the `Trainer`'s `processing_class`.

    Raises:
        InvalidInput: There is neither a selection that can be iterated again nor a score.
    """

    def __init__(
        self,
        session: MentorSession,
        selection: Iterable[Any] = (),
        *,
        score: Callable[[], Score] | None = None,
        rules: Rules | None = None,
        tokenizer: Any = None,
    ) -> None:
        check_scoring(score, selection)
        self.advised: AdvisedPrompt | None = None
        """Set when training begins."""
        self._session = session
        self._selection = selection
        self._score = score
        self._rules = rules or Rules()
        self._tokenizer = tokenizer

    def on_train_begin(self, args: Any, state: Any, control: Any, **parts: Any) -> None:
        """Finds the soft prompt, its vocabulary and its optimizer.

        Raises:
            InvalidInput: There is no tokenizer, or the model has no prompt tuning, or its prompt is
                not trained.
        """
        model, loader = parts["model"], parts["train_dataloader"]
        tokenizer = self._tokenizer or parts.get("processing_class")
        if tokenizer is None:
            raise InvalidInput.field(
                "tokenizer", "is required, here or as the Trainer's `processing_class`"
            )

        def loss(batch: Mapping[str, Any]) -> Tensor:
            found: Tensor | None = model(**_moved(batch, model.device)).loss
            if found is None:
                raise InvalidInput.field("batch", "the model gives no loss for it; it needs labels")
            return found

        def losses() -> Iterator[Tensor]:
            return batch_losses(loss, loader, args.train_batch_size)

        optimizer = parts["optimizer"]
        self.advised = AdvisedPrompt(
            self._session,
            soft_prompt(model),
            Words(model.get_base_model().get_input_embeddings().weight, tokenizer),
            getattr(optimizer, "optimizer", optimizer),
            score=self._score or (lambda: mean_loss(model, loss, self._selection)),
            losses=losses,
            rules=self._rules,
        )

    def on_log(
        self, args: Any, state: Any, control: Any, logs: Mapping[str, float] | None = None, **_: Any
    ) -> None:
        """Sends the logged step to the mentor."""
        if self.advised is not None and logs is not None and "loss" in logs:
            rate = logs.get("learning_rate", 0.0)
            self.advised.push(state.global_step, float(logs["loss"]), float(rate))

    def on_step_begin(self, args: Any, state: Any, control: Any, **parts: Any) -> None:
        """Asks the mentor at the end of a stage."""
        step = state.global_step
        if self.advised is not None and step and step % self._rules.stage_steps == 0:
            parts["model"].train()  # the next step does this too; an evaluation may have changed it
            self.advised.consult()


def soft_prompt(model: Any) -> Tensor:
    """Returns the soft prompt of a PEFT model, float [virtual tokens, width].

    Raises:
        InvalidInput: The active adapter of the model is not prompt tuning.
    """
    encoders = getattr(model, "prompt_encoder", {})
    adapter = getattr(model, "active_adapter", None)
    config = model.peft_config[adapter] if adapter in encoders else None
    if config is None or str(config.peft_type.value) != "PROMPT_TUNING":
        raise InvalidInput.field("model", "must be a PEFT model with prompt tuning")
    weight: Tensor = encoders[adapter].embedding.weight
    return weight


def _moved(batch: Mapping[str, Any], device: torch.device) -> dict[str, Any]:
    return {
        name: value.to(device) if isinstance(value, Tensor) else value
        for name, value in batch.items()
    }
