"""A soft prompt before every input of a frozen encoder, and a linear head.

The encoder's input is word embeddings: ``[prompt] [CLS] text [SEP]``. The encoder itself adds
positions and applies its first layer norm. Dropout is off, so a loss depends on the parameters and
the rows alone.

A parameter is one tensor [n_tokens + classes + 1, width]: the prompt's rows, the head's weights
(one row per class) and a last row with the biases. The width is that of the widest row; narrower
rows are padded with zeros that are never read (docs/decisions/0010).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from mentorgrad.domain.objective import PromptTuning, Readout
from mentorgrad.domain.spec import LongTexts
from mentorgrad.errors import InvalidInput
from mentorgrad.schema import snake_case
from trainer_service.costs import RowCosts
from trainer_service.encoding.embedding_cache import EmbeddingCache
from trainer_service.encoding.encoders import TextEncoder
from trainer_service.objectives.classification import ClassificationProblem
from trainer_service.objectives.linear_head import random_head
from trainer_service.objectives.long_texts import TextRoom, encoder_room, fitted_task
from trainer_service.objectives.prompt_tuning import LEAST_TEXT_TOKENS, prompt_tuning_length
from trainer_service.objectives.token_batches import (
    MOST_DIFFERENTIATED,
    TokenBatch,
    TokenRows,
    most_tokens,
)
from trainer_service.tasks.data import CutTexts, Split, TaskData


class Pieces(NamedTuple):
    """The parts of a parameter tensor [..., rows, width]."""

    prompt: Tensor
    """[..., n_tokens, word width]."""
    weight: Tensor
    """[..., outputs, hidden size]."""
    bias: Tensor
    """[..., outputs]."""


class PromptTuningProblem(ClassificationProblem):
    """Losses of a soft prompt and a linear classifier.

    Args:
        spec: Length, readout, maximum input length.
        task: The sampled rows.
        encoder: The frozen encoder; the parameters are kept on its device.
        costs: Forward rows of a pass.
        cache: Cache of text embeddings.
        check: Called between batches when scoring; may raise to abort.
        long_texts: What happens to texts that are too long.

    Raises:
        InvalidInput: The prompt is too long for the encoder, or a text is and that is an error.
    """

    feature = "the embedding of the text without a prompt, of norm 1"
    template = "prompt [start] text [end]"
    """The encoder's input, for people."""
    proposal = (
        "a phrase that is put in front of every text; a classifier with trained weights "
        "reads both and names the class of the text"
    )
    """What a mentor proposes."""

    def __init__(
        self,
        spec: PromptTuning,
        task: TaskData,
        encoder: TextEncoder,
        costs: RowCosts,
        cache: EmbeddingCache,
        check: Callable[[], None] = lambda: None,
        long_texts: LongTexts = LongTexts.TRUNCATE,
    ) -> None:
        super().__init__(task, encoder.device)
        self._spec = spec
        self._path = f"spec.objective.{snake_case(type(spec).__name__)}"
        self._encoder = encoder
        self.costs = costs
        self._cache = cache
        self._check = check
        self._long_texts = long_texts
        self.start_remedy = encoder.start_remedy(f"{self._path}.dtype") or self.start_remedy
        self._outputs = self.outputs(task)
        width = max(encoder.tokens.width, encoder.hidden_size, self._outputs)
        self.shape = (spec.n_tokens + self._outputs + 1, width)
        self._rows = self._token_rows()
        inputs = self._inputs(torch.arange(len(task.train)))
        self.train_lengths = self._rows[Split.TRAIN].sizes(inputs)

    @staticmethod
    def outputs(task: TaskData) -> int:
        """Outputs of the head: one per class."""
        return len(task.labels)

    def _fitted(self, room: TextRoom) -> tuple[TaskData, CutTexts]:
        """The encoder's inputs as rows, and the rows whose texts are cut."""
        return fitted_task(self.task, room)

    def _inputs(self, rows: Tensor) -> Tensor:
        """int64 row indices [n] → indices of the rows' inputs, [n] or [n, inputs per row]."""
        return rows

    def _token_rows(self) -> dict[Split, TokenRows]:
        longest = prompt_tuning_length(self._spec, self._encoder.max_tokens)
        room = longest - self._spec.n_tokens
        if room < LEAST_TEXT_TOKENS:
            raise InvalidInput.field(
                f"{self._path}.n_tokens",
                f"leaves {room} of {longest} tokens for the text; the minimum is "
                f"{LEAST_TEXT_TOKENS}",
                reason="PROMPT_TOO_LONG",
            )
        texts = encoder_room(self._encoder, self._long_texts, room, joined=False)
        fitted, self.cut_texts = self._fitted(texts)
        rows = {split: TokenRows(fitted.rows(split), self._encoder, room) for split in Split}
        first = set[int]().union(*(of_split.first_ids for of_split in rows.values()))
        if first - {self._encoder.tokens.start_id}:
            raise InvalidInput.field(
                f"{self._path}.encoder",
                "the encoder's inputs do not begin with its CLS token",
                reason="MODEL_UNSUITABLE",
            )
        return rows

    def pieces(self, parameters: Tensor) -> Pieces:
        """Prompt, weights and biases of parameters [..., *shape]."""
        size, scale = self._spec.n_tokens, self._spec.head_scale
        return Pieces(
            prompt=parameters[..., :size, : self._encoder.tokens.width],
            weight=parameters[..., size:-1, : self._encoder.hidden_size] * scale,
            bias=parameters[..., -1, : self._outputs] * scale,
        )

    def batch_logits(self, parameters: Tensor, batch: TokenBatch) -> Tensor:
        """Outputs [k, inputs, outputs] of parameters [k, *shape]; differentiable."""
        pieces = self.pieces(parameters)
        count, rows = len(parameters), len(batch.ids)
        words = self._encoder.tokens.vectors[batch.ids]
        prompts = pieces.prompt.unsqueeze(1).expand(-1, rows, -1, -1)
        inputs = {
            "inputs_embeds": torch.cat([prompts, words.expand(count, -1, -1, -1)], dim=2).flatten(
                0, 1
            )
        }
        if batch.segments is not None:  # the prompt gets token type 0, as in PEFT
            inputs["token_type_ids"] = self._behind_prompt(batch.segments, 0).repeat(count, 1)
        mask = self._behind_prompt(batch.mask, 1).repeat(count, 1)
        read = self._read(self._encoder.hidden(mask, **inputs), batch.mask.repeat(count, 1))
        return torch.baddbmm(pieces.bias.unsqueeze(1), read.view(count, rows, -1), pieces.weight.mT)

    def _behind_prompt(self, values: Tensor, fill: int) -> Tensor:
        return functional.pad(values, (self._spec.n_tokens, 0), value=fill)

    def _read(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """Reads out [batch, hidden size] from [batch, prompt and text, hidden size]."""
        if self._spec.readout is Readout.FIRST:
            return hidden[:, 0]
        if self._spec.readout is Readout.CLS:
            return hidden[:, self._spec.n_tokens]
        weights = mask.unsqueeze(-1).to(hidden.dtype)
        return (hidden[:, self._spec.n_tokens :] * weights).sum(1) / weights.sum(1)

    def joined(self, pieces: Pieces) -> Tensor:
        """The parameter [*shape] of such pieces; the inverse of `pieces`."""
        made = torch.zeros(self.shape, device=self.device)
        prompt, weight, bias = self.pieces(made)
        scale = self._spec.head_scale
        made[: self._spec.n_tokens, : prompt.shape[-1]] = pieces.prompt
        made[self._spec.n_tokens : -1, : weight.shape[-1]] = pieces.weight / scale
        made[-1, : bias.shape[-1]] = pieces.bias / scale
        return made

    def logits(self, points: Tensor, split: Split, rows: Tensor) -> Tensor:
        """Logits [k, rows, classes]; see `ClassificationProblem`."""
        batch = self._rows[split].take(self._inputs(rows).flatten())
        return self.batch_logits(points, batch).view(len(points), len(rows), -1)

    def scored_logits(self, points: Tensor, split: Split, rows: Tensor) -> Tensor:
        """`logits`, interrupted by a request to stop."""
        self._check()
        return self.logits(points, split, rows)

    def batches(self, split: Split, rows: Tensor) -> Iterator[tuple[Tensor, int]]:
        """Rows of similar length, as many as `most_tokens` allows."""
        spent, most = self._spec.n_tokens, most_tokens(self.device)
        inputs = self._inputs(rows)
        for where, longest in self._rows[split].batches(inputs, most, spent):
            yield where, max(1, most // (inputs[where].numel() * (longest + spent)))

    def points_at_once(self, rows: Tensor) -> int:
        """See `Problem`."""
        inputs = self._inputs(rows).flatten()
        tokens = len(inputs) * (self._rows[Split.TRAIN].longest(inputs) + self._spec.n_tokens)
        return MOST_DIFFERENTIATED // tokens

    def features(self, split: Split) -> Tensor | None:
        """The encoder's embeddings of the texts without a prompt, of norm 1."""
        most = self._encoder.max_text_tokens
        room = encoder_room(self._encoder, self._long_texts, most, joined=True)
        rows, _ = room.fitted(self.task.rows(split), split)
        return self._encoder.embed([row.joined for row in rows], self._cache)

    def fill_head(
        self,
        parameters: Tensor,
        generator: torch.Generator,
        given: tuple[Tensor, Tensor] | None = None,
    ) -> None:
        """Puts a given head (weights and biases), or a small random one, into new parameters
        [*shape], in place."""
        if given is not None:
            prompt = self.pieces(parameters).prompt
            parameters.copy_(self.joined(Pieces(prompt, *given)))
            return
        hidden, scale = self._encoder.hidden_size, self._spec.head_scale
        weights = parameters[self._spec.n_tokens : -1, :hidden]
        weights.copy_(random_head(self._outputs, hidden, scale, generator))
