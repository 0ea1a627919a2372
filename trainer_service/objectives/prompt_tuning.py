"""The objective ``prompt_tuning``: a soft prompt before every input, frozen encoder, linear head.

The encoder's input is word embeddings: ``[prompt] [CLS] text [SEP]``. The encoder itself adds
positions and applies its first layer norm. Dropout is off, so a loss depends on the parameters and
the rows alone.

A parameter is one tensor [n_tokens + classes + 1, width]: the prompt's rows, the head's weights
(one row per class) and a last row with the biases. The width is that of the widest row; narrower
rows are padded with zeros that are never read (docs/decisions/0010).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from mentorgrad.domain.advice import PositionHints, Proposal, TaskCard
from mentorgrad.domain.run import Score
from mentorgrad.domain.spec import PromptTuning, Readout
from mentorgrad.errors import InvalidInput
from trainer_service import tensorfile
from trainer_service.encoding.encoders import TextEncoder
from trainer_service.objectives.classification import (
    losses_and_hits,
    mean_scores,
    raw_parameters,
)
from trainer_service.objectives.gradients import gradients_of
from trainer_service.objectives.peft_export import PeftExport
from trainer_service.objectives.prompt_vocabulary import PromptVocabulary
from trainer_service.objectives.token_batches import TokenBatch, TokenRows
from trainer_service.objectives.torch_free import ARTIFACT, LEAST_TEXT_TOKENS, prompt_tuning_length
from trainer_service.protocols import Baseline, Embedded, Projected
from trainer_service.tasks.data import TaskData, majority_share

_HEAD_STD = 0.02
"""Standard deviation of the head's initial weights, as in transformers."""

_MOST_TOKENS = 16_384
"""Maximum tokens (over candidates and rows) per forward pass without gradients."""

_MOST_DIFFERENTIATED = 4_096
"""Maximum tokens per pass with gradients, which keep activations in memory."""

_SPEC = "spec.objective.prompt_tuning"


class Pieces(NamedTuple):
    """The parts of a parameter tensor [..., rows, width]."""

    prompt: Tensor
    """[..., n_tokens, word width]."""
    weight: Tensor
    """[..., classes, hidden size]."""
    bias: Tensor
    """[..., classes]."""


class PromptTuningObjective:
    """An `Objective` over a soft prompt and a linear classifier.

    Args:
        spec: Encoder, length, readout.
        task: The sampled rows.
        encoder: The frozen encoder; the parameters are kept on its device.
        check: Called between batches when scoring; may raise to abort.

    Raises:
        InvalidInput: The prompt is too long for the encoder, or `initial_text` is invalid.
        Unsupported: peft is not installed.
    """

    has_words = True
    has_hints = True

    def __init__(
        self,
        spec: PromptTuning,
        task: TaskData,
        encoder: TextEncoder,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self._spec = spec
        self._task = task
        self._encoder = encoder
        self._check = check
        self.device = encoder.device
        self._classes = len(task.labels)
        width = max(encoder.width, encoder.hidden_size, self._classes)
        self.shape: tuple[int, ...] = (spec.n_tokens + self._classes + 1, width)
        self._export = PeftExport(encoder.config, spec.n_tokens, self._classes, spec.encoder)
        self._words = PromptVocabulary(encoder, spec.n_tokens, spec.projection)
        self._initial_ids = self._words.initial_ids(spec.initial_text, f"{_SPEC}.initial_text")
        self._train, self._selection, self._test = self._token_rows()
        self.train_rows = len(task.train)
        self.rows = task.train
        self.digest = task.digest
        self.card = TaskCard(
            objective="prompt_tuning", description=task.description, labels=task.labels
        )
        self.constraints = self._words.constraints

    def _token_rows(self) -> tuple[TokenRows, TokenRows, TokenRows]:
        longest = prompt_tuning_length(self._spec, self._encoder.max_tokens)
        room = longest - self._spec.n_tokens
        if room < LEAST_TEXT_TOKENS:
            raise InvalidInput.field(
                f"{_SPEC}.n_tokens",
                f"leaves {room} of {longest} tokens for the text; the minimum is "
                f"{LEAST_TEXT_TOKENS}",
                reason="PROMPT_TOO_LONG",
            )
        task = self._task
        train, selection, test = (
            TokenRows(rows, self._encoder, room) for rows in (task.train, task.selection, task.test)
        )
        if train.first_ids != {self._encoder.start_id}:
            raise InvalidInput.field(
                f"{_SPEC}.encoder",
                "the encoder's inputs do not begin with its CLS token",
                reason="MODEL_UNSUITABLE",
            )
        return train, selection, test

    # -- the model ----------------------------------------------------------------------------

    def _pieces(self, parameters: Tensor) -> Pieces:
        size, scale = self._spec.n_tokens, self._spec.head_scale
        return Pieces(
            prompt=parameters[..., :size, : self._encoder.width],
            weight=parameters[..., size:-1, : self._encoder.hidden_size] * scale,
            bias=parameters[..., -1, : self._classes] * scale,
        )

    def logits(self, parameters: Tensor, batch: TokenBatch) -> Tensor:
        """Logits [k, rows, classes] of parameters [k, *shape]; differentiable."""
        pieces = self._pieces(parameters)
        count, rows = len(parameters), len(batch.ids)
        words = self._encoder.word_embeddings[batch.ids]
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

    def _tokens(self, batch: TokenBatch) -> int:
        """Tokens of a batch for one candidate, prompts included."""
        return max(1, batch.ids.numel() + len(batch.ids) * self._spec.n_tokens)

    def _read(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """Reads out [batch, hidden size] from [batch, prompt and text, hidden size]."""
        if self._spec.readout is Readout.FIRST:
            return hidden[:, 0]
        if self._spec.readout is Readout.CLS:
            return hidden[:, self._spec.n_tokens]
        weights = mask.unsqueeze(-1).to(hidden.dtype)
        return (hidden[:, self._spec.n_tokens :] * weights).sum(1) / weights.sum(1)

    def gradients(self, parameters: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Mean cross-entropy, in nats, of the train rows [batch], and its gradients."""
        batch = self._train.take(rows)

        def losses(points: Tensor) -> Tensor:
            return losses_and_hits(self.logits(points, batch), batch.labels)[0].mean(1)

        at_once = _MOST_DIFFERENTIATED // self._tokens(batch)
        return gradients_of(losses, parameters, at_once)

    def score(self, parameters: Tensor) -> list[Score]:
        """Scores [k, *shape] on the whole selection split."""
        return self._score_on(parameters, self._selection)

    def test(self, parameters: Tensor) -> Score | None:
        """Scores [*shape] on *test*; None without test rows."""
        return self._score_on(parameters.unsqueeze(0), self._test)[0] if len(self._test) else None

    @torch.no_grad()
    def _score_on(self, parameters: Tensor, rows: TokenRows) -> list[Score]:
        """Scores in batches of rows and candidates, bounded by `_MOST_TOKENS`."""
        losses, hits = [], []
        for batch in rows.batches(_MOST_TOKENS, self._spec.n_tokens):
            parts = []
            for part in torch.split(parameters, max(1, _MOST_TOKENS // self._tokens(batch))):
                self._check()
                parts.append(losses_and_hits(self.logits(part, batch), batch.labels))
            losses.append(torch.cat([found for found, _ in parts]))
            hits.append(torch.cat([found for _, found in parts]))
        return mean_scores(torch.cat(losses, dim=1), torch.cat(hits, dim=1))

    @torch.no_grad()
    def row_losses(self, parameters: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """See `Objective`."""
        batch = self._train.take(rows)
        parts = torch.split(parameters, max(1, _MOST_TOKENS // self._tokens(batch)))
        logits = torch.cat([self.logits(part, batch) for part in parts])
        return losses_and_hits(logits, batch.labels)[0], logits.argmax(-1)

    def meanings(self, texts: Sequence[str], parameters: Tensor) -> Tensor:
        """The encoder's embeddings of the texts."""
        return self._encoder.encode(texts)

    def baseline(self) -> Baseline:
        """Majority-class accuracy on *test*; no zero-shot score, because the head is untrained."""
        return Baseline(zero_shot=None, majority_accuracy=majority_share(self._task.test))

    # -- words --------------------------------------------------------------------------------

    def _prompt(self, parameters: Tensor) -> Tensor:
        return parameters[..., : self._spec.n_tokens, : self._encoder.width]

    def project(self, parameters: Tensor) -> list[Projected]:
        """Projects the prompts of [k, *shape] to words."""
        found = self._words.nearest(self._prompt(parameters))
        return [
            Projected(text=self._words.text(ids), ids=tuple(ids), distance=distance)
            for ids, distance in zip(found.ids, found.distances, strict=True)
        ]

    def toward(self, start: Tensor, parameters: Tensor) -> list[str]:
        """Words nearest, by cosine, to the prompts' displacements from `start`."""
        found = self._words.toward(self._prompt(start), self._prompt(parameters))
        return [self._words.text(ids) for ids in found]

    def initial(self, generator: torch.Generator) -> Tensor:
        """Embeds `initial_text`, fills the rest with random whole words, and draws a small head."""
        start = torch.zeros(self.shape, device=self.device)
        ids = self._words.random_ids(generator, self._spec.n_tokens)
        self._prompt(start).copy_(self._words.vectors(ids))
        head = torch.randn(self._classes, self._encoder.hidden_size, generator=generator)
        weights = start[self._spec.n_tokens : -1, : self._encoder.hidden_size]
        weights.copy_(head * _HEAD_STD / self._spec.head_scale)
        return self.embed_ids(self._initial_ids, start) if self._initial_ids else start

    def random_proposal(self, generator: torch.Generator) -> Proposal:
        """Random whole words for every position."""
        return self._words.random_proposal(generator)

    def random_parameters(self, generator: torch.Generator, incumbent: Tensor) -> Tensor:
        """Samples a prompt with the mean and deviation of the whole words; keeps the head."""
        drawn = incumbent.detach().clone()
        prompt = self._prompt(drawn)
        prompt.copy_(self._words.random_vectors(generator, prompt.shape))
        return drawn

    def embed_ids(self, ids: Sequence[int], incumbent: Tensor) -> Tensor:
        """Embeds ids at the first positions; keeps the incumbent's other positions and head.

        Raises:
            ProposalRejected: There are more ids than positions.
        """
        self._words.require_room(ids)
        placed = incumbent.detach().clone()
        self._prompt(placed)[: len(ids)] = self._words.vectors(ids)
        return placed

    def embed(self, proposal: Proposal, incumbent: Tensor) -> Embedded:
        """Embeds words in the prompt, or raw parameters of the whole shape, head included.

        Raises:
            ProposalRejected: The proposal is empty, too long or malformed.
        """
        if proposal.parameters is not None:
            raw = raw_parameters(proposal, self.shape, self.device)
            return Embedded(parameters=raw, filled=tuple(range(self._spec.n_tokens)))
        ids = self._words.proposed_ids(proposal.text)
        return Embedded(self.embed_ids(ids, incumbent), tuple(range(len(ids))))

    def hints(self, parameters: Tensor, rows: Tensor, count: int) -> tuple[PositionHints, ...]:
        """See `Objective`; hints cover the prompt, not the head."""
        _, (gradient,) = self.gradients(parameters[None], rows)
        prompt = self._prompt(parameters.detach())
        return self._words.hints(prompt[None], self._prompt(gradient)[None], count)

    # -- the result ---------------------------------------------------------------------------

    def artifacts(self, parameters: Tensor) -> dict[str, bytes]:
        """Prompt and head as safetensors with metadata to rebuild the classifier, and as a PEFT
        adapter."""
        (words,) = self.project(parameters.unsqueeze(0))
        prompt, weight, bias = self._pieces(parameters.detach())
        metadata = {
            "objective": "prompt_tuning",
            "text": words.text,
            "encoder": self._spec.encoder,
            "encoder_sha256": self._encoder.digest,
            "readout": self._spec.readout.value,
            "max_length": str(self._spec.max_length),
            "labels": json.dumps(list(self._task.labels), ensure_ascii=False),
            "template": "prompt [start] text [end]",
            "task": self._task.name,
            "task_sha256": self._task.digest,
            "adapter": self._export.task_type,
        }
        tensors = {"prompt": prompt, "head.weight": weight, "head.bias": bias}
        return {
            ARTIFACT: tensorfile.save(tensors, metadata),
            **self._export.files(prompt, weight, bias),
        }
