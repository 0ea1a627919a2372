"""The objective ``label_prompt``: a soft prompt before each class name, with a frozen encoder.

A text is assigned to the class with the most similar embedding (CoOp, Zhou et al., IJCV 2022, with
a text encoder on both sides). Texts are encoded once; a gradient step encodes only class names.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import torch
from torch import Tensor

from mentorgrad.domain.advice import PositionHints, Proposal, ProposalStatus, TaskCard
from mentorgrad.domain.run import Score
from mentorgrad.domain.spec import LabelPrompt
from mentorgrad.errors import InvalidInput
from trainer_service import tensorfile
from trainer_service.encoding.embedding_cache import EmbeddingCache
from trainer_service.encoding.encoders import TextEncoder
from trainer_service.objectives.classification import (
    labels_of,
    losses_and_hits,
    mean_scores,
    raw_parameters,
)
from trainer_service.objectives.gradients import gradients_of
from trainer_service.objectives.prompt_vocabulary import PromptVocabulary
from trainer_service.objectives.result_cache import ResultCache
from trainer_service.objectives.torch_free import ARTIFACT
from trainer_service.protocols import Baseline, Embedded, Projected, ProposalRejected
from trainer_service.tasks.data import Row, TaskData, majority_share

CLASS_SEPARATOR = " | "
"""Separator between the classes' words if each class has its own prompt."""

_MAX_SEQUENCES = 1024
"""Maximum class names per forward pass without gradients."""

_MAX_DIFFERENTIATED = 256
"""Maximum class names per pass with gradients, which keep activations in memory."""

_SPEC = "spec.objective.label_prompt"


class LabelPromptObjective:
    """An `Objective` over a soft prompt of shape [tokens, width], or [classes, tokens, width].

    Args:
        spec: Encoder, length, temperature and projection.
        task: The sampled rows.
        encoder: The frozen encoder; the prompt is kept on its device.
        cache: Cache of text embeddings.

    Raises:
        InvalidInput: The prompt is too long for the encoder, or `initial_text` is invalid.
    """

    has_words = True
    has_hints = True

    def __init__(
        self, spec: LabelPrompt, task: TaskData, encoder: TextEncoder, cache: EmbeddingCache
    ) -> None:
        self._spec = spec
        self._task = task
        self._encoder = encoder
        self.device = encoder.device
        classes = len(task.labels)
        self._suffix, self._suffix_mask = self._label_suffix()
        length = 1 + spec.n_tokens + self._suffix.shape[1]
        if length > encoder.max_tokens:
            raise InvalidInput.field(
                f"{_SPEC}.n_tokens",
                f"prompt and longest label take {length} tokens; the encoder allows "
                f"{encoder.max_tokens}",
                reason="PROMPT_TOO_LONG",
            )
        prompt = (spec.n_tokens, encoder.width)
        self.shape: tuple[int, ...] = (classes, *prompt) if spec.per_class else prompt
        self._words = PromptVocabulary(encoder, spec.n_tokens, spec.projection)
        self._initial_ids = self._words.initial_ids(spec.initial_text, f"{_SPEC}.initial_text")

        self._train = self._embed_rows(task.train, cache)
        self._selection = self._embed_rows(task.selection, cache)
        self._test = self._embed_rows(task.test, cache)
        self._train_labels = labels_of(task.train, self.device)
        self._selection_labels = labels_of(task.selection, self.device)
        self._test_labels = labels_of(task.test, self.device)

        self._recent: ResultCache | None = None  # created when `row_losses` is first called
        self.train_rows = len(task.train)
        self.rows = task.train
        self.digest = task.digest
        self.card = TaskCard(
            objective="label_prompt", description=task.description, labels=task.labels
        )
        self.constraints = self._words.constraints

    # -- data ---------------------------------------------------------------------------------

    def _label_suffix(self) -> tuple[Tensor, Tensor]:
        """Embeddings [classes, length, width] and mask of the label and end token."""
        encoder = self._encoder
        rows = [[*ids, encoder.end_id] for ids in encoder.many_token_ids(self._task.labels)]
        length = max(map(len, rows))
        ids = torch.tensor([row + [encoder.pad_id] * (length - len(row)) for row in rows])
        mask = torch.tensor([[1] * len(row) + [0] * (length - len(row)) for row in rows])
        return encoder.word_embeddings[ids.to(self.device)], mask.to(self.device)

    def _embed_rows(self, rows: Sequence[Row], cache: EmbeddingCache) -> Tensor:
        texts = [row.joined for row in rows]
        return cache.get(texts, self._encoder.options, self._encoder.encode).to(self.device)

    # -- the model ----------------------------------------------------------------------------

    def _class_embeddings(self, parameters: Tensor) -> Tensor:
        """Encodes [k, *shape] as class embeddings: unit vectors [k, classes, hidden size]."""
        classes, width = len(self._task.labels), self._encoder.width
        prompts = parameters if self._spec.per_class else parameters.unsqueeze(1)
        count = len(prompts)
        prompts = prompts.expand(count, classes, self._spec.n_tokens, width)
        start = self._encoder.word_embeddings[self._encoder.start_id]
        embeddings = torch.cat(
            [
                start.expand(count, classes, 1, width),
                prompts,
                self._suffix.expand(count, *self._suffix.shape),
            ],
            dim=2,
        ).flatten(0, 1)
        ones = self._suffix_mask.new_ones(classes, 1 + self._spec.n_tokens)
        mask = torch.cat([ones, self._suffix_mask], dim=1).repeat(count, 1)
        return self._encoder.encode_embeddings(embeddings, mask).view(count, classes, -1)

    def _logits(self, texts: Tensor, classes: Tensor) -> Tensor:
        """Logits [..., rows, classes] of texts [rows, d] and classes [..., classes, d]."""
        return texts @ classes.transpose(-1, -2) / self._spec.temperature

    def gradients(self, parameters: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Mean cross-entropy, in nats, of the train rows [batch], and its gradients."""
        texts, labels = self._train[rows], self._train_labels[rows]

        def losses(points: Tensor) -> Tensor:
            logits = self._logits(texts, self._class_embeddings(points))
            return losses_and_hits(logits, labels)[0].mean(1)

        at_once = _MAX_DIFFERENTIATED // len(self._task.labels)
        return gradients_of(losses, parameters, at_once)

    def score(self, parameters: Tensor) -> list[Score]:
        """Scores [k, *shape] on the whole selection split."""
        return self._score_on(parameters, self._selection, self._selection_labels)

    def test(self, parameters: Tensor) -> Score | None:
        """Scores [*shape] on *test*; None without test rows."""
        if not len(self._test):
            return None
        return self._score_on(parameters.unsqueeze(0), self._test, self._test_labels)[0]

    @torch.no_grad()
    def _score_on(self, parameters: Tensor, texts: Tensor, labels: Tensor) -> list[Score]:
        chunk = max(1, _MAX_SEQUENCES // len(self._task.labels))
        scores = []
        for part in torch.split(parameters, chunk):
            classes = self._class_embeddings(part)
            if self._recent is not None:
                self._recent.keep(part, classes)
            scores.extend(self._scores(texts, classes, labels))
        return scores

    @torch.no_grad()
    def row_losses(self, parameters: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """See `Objective`; re-uses the class embeddings of recently scored parameters."""
        self._recent = self._recent or ResultCache()
        chunk = max(1, _MAX_SEQUENCES // len(self._task.labels))
        parts = torch.split(parameters, chunk)
        classes = torch.cat([self._recent.get(part, self._class_embeddings) for part in parts])
        logits = self._logits(self._train[rows], classes)
        return losses_and_hits(logits, self._train_labels[rows])[0], logits.argmax(-1)

    def meanings(self, texts: Sequence[str], parameters: Tensor) -> Tensor:
        """The encoder's embeddings of the texts."""
        return self._encoder.encode(texts)

    def _scores(self, texts: Tensor, classes: Tensor, labels: Tensor) -> list[Score]:
        return mean_scores(*losses_and_hits(self._logits(texts, classes), labels))

    @torch.no_grad()
    def baseline(self) -> Baseline:
        """Zero-shot score of the bare label words on *test*, and its majority-class accuracy."""
        if not len(self._test):
            return Baseline(zero_shot=None, majority_accuracy=None)
        classes = self._encoder.encode(self._task.labels).unsqueeze(0)
        return Baseline(
            zero_shot=self._scores(self._test, classes, self._test_labels)[0],
            majority_accuracy=majority_share(self._task.test),
        )

    # -- words --------------------------------------------------------------------------------

    def project(self, parameters: Tensor) -> list[Projected]:
        """Projects [k, *shape] to words; fast for consecutive snapshots (`encoding.projection`)."""
        count = len(parameters)
        found = self._words.nearest(parameters.reshape(count, -1, self._encoder.width))
        return [
            Projected(text=self._text(ids), ids=tuple(ids), distance=distance)
            for ids, distance in zip(found.ids, found.distances, strict=True)
        ]

    def toward(self, start: Tensor, parameters: Tensor) -> list[str]:
        """Words nearest, by cosine, to the displacements of [k, *shape] from `start`."""
        width = self._encoder.width
        found = self._words.toward(
            start.reshape(-1, width), parameters.reshape(len(parameters), -1, width)
        )
        return [self._text(ids) for ids in found]

    def _text(self, ids: Sequence[int]) -> str:
        size = self._spec.n_tokens
        parts = [ids[begin : begin + size] for begin in range(0, len(ids), size)]
        return CLASS_SEPARATOR.join(self._words.text(part) for part in parts)

    def initial(self, generator: torch.Generator) -> Tensor:
        """Embeds `initial_text`; random whole words fill the remaining positions."""
        ids = self._words.random_ids(generator, self._flat_positions())
        start = self._words.vectors(ids).reshape(self.shape)
        return self.embed_ids(self._initial_ids, start) if self._initial_ids else start

    def _flat_positions(self) -> int:
        return self._spec.n_tokens * (len(self._task.labels) if self._spec.per_class else 1)

    def random_proposal(self, generator: torch.Generator) -> Proposal:
        """Random whole words for every position; the same for all classes."""
        return self._words.random_proposal(generator)

    def random_parameters(self, generator: torch.Generator, incumbent: Tensor) -> Tensor:
        """Samples normal noise with the per-coordinate mean and deviation of the whole words."""
        return self._words.random_vectors(generator, self.shape)

    def embed_ids(self, ids: Sequence[int], incumbent: Tensor) -> Tensor:
        """Embeds ids at the first positions (of every class), or at all positions of all classes.

        Raises:
            ProposalRejected: There are more ids than positions.
        """
        return self._place([list(ids)], incumbent).parameters

    def embed(self, proposal: Proposal, incumbent: Tensor) -> Embedded:
        """Embeds raw parameters or words.

        With one prompt per class, ``words | words | ...`` sets each class's prompt, and words
        without a separator set all of them.

        Raises:
            ProposalRejected: The proposal is empty, too long or malformed.
        """
        if proposal.parameters is not None:
            raw = raw_parameters(proposal, self.shape, self.device)
            return Embedded(parameters=raw, filled=tuple(range(self._flat_positions())))
        parts = [proposal.text]
        if self._spec.per_class and CLASS_SEPARATOR.strip() in proposal.text:
            parts = proposal.text.split(CLASS_SEPARATOR.strip())
            if len(parts) != len(self._task.labels):
                raise ProposalRejected(
                    ProposalStatus.MALFORMED,
                    f"got {len(parts)} parts for {len(self._task.labels)} classes",
                )
        return self._place([self._words.proposed_ids(part) for part in parts], incumbent)

    def _place(self, parts: Sequence[Sequence[int]], incumbent: Tensor) -> Embedded:
        """Writes token vectors into a copy of the incumbent; one part, or one per class."""
        size, flat = self._spec.n_tokens, self._flat_positions()
        if len(parts) == 1 and len(parts[0]) == flat:
            parts = [parts[0][begin : begin + size] for begin in range(0, flat, size)]
        self._words.require_room(max(parts, key=len))
        prompts = flat // size
        spread = list(parts) * prompts if len(parts) == 1 else list(parts)
        placed = incumbent.detach().clone().reshape(prompts, size, -1)
        filled: list[int] = []
        for index, part in enumerate(spread):
            placed[index, : len(part)] = self._words.vectors(part)
            filled.extend(range(index * size, index * size + len(part)))
        return Embedded(parameters=placed.reshape(self.shape), filled=tuple(filled))

    def hints(self, parameters: Tensor, rows: Tensor, count: int) -> tuple[PositionHints, ...]:
        """See `Objective`; with one prompt per class, scores are summed over the classes."""
        point = parameters.detach()
        _, (gradient,) = self.gradients(point[None], rows)
        by_prompt = (-1, self._spec.n_tokens, self._encoder.width)
        return self._words.hints(point.reshape(by_prompt), gradient.reshape(by_prompt), count)

    # -- the result ---------------------------------------------------------------------------

    def artifacts(self, parameters: Tensor) -> dict[str, bytes]:
        """The prompt as safetensors, with metadata to rebuild the classifier."""
        (words,) = self.project(parameters.unsqueeze(0))
        metadata = {
            "objective": "label_prompt",
            "text": words.text,
            "encoder": self._spec.encoder,
            "encoder_sha256": self._encoder.digest,
            "pooling": self._encoder.pooling,
            "labels": json.dumps(list(self._task.labels), ensure_ascii=False),
            "temperature": repr(self._spec.temperature),
            "template": "[start] prompt label [end]",
            "task": self._task.name,
            "task_sha256": self._task.digest,
        }
        return {ARTIFACT: tensorfile.save({"prompt": parameters}, metadata)}
