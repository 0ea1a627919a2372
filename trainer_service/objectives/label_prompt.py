"""The objective ``label_prompt``: a soft prompt before each class name, frozen encoder.

A text belongs to the class whose embedding is nearest (CoOp, Zhou et al., IJCV 2022, with a text
encoder on both sides). Texts are encoded once; a step encodes a handful of class names.
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
"""Stands between the classes' words where each class has a prompt of its own."""

_MAX_SEQUENCES = 1024
"""Class names encoded in one forward."""

_MAX_DIFFERENTIATED = 256
"""The same with gradients, which keep what each layer made of them."""

_SPEC = "spec.objective.label_prompt"


class LabelPromptObjective:
    """An `Objective` over a soft prompt of shape [tokens, width], or [classes, tokens, width].

    Args:
        spec: Encoder, length, temperature and projection.
        task: The rows.
        encoder: The frozen encoder, on the device that the prompt shall live on.
        cache: Where embeddings of texts are kept.

    Raises:
        InvalidInput: The prompt does not fit the encoder, or `initial_text` the prompt.
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
                f"gives {length} tokens with the longest label; the encoder allows "
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

        self._recent: ResultCache | None = None  # created on the first call of `row_losses`
        self.train_rows = len(task.train)
        self.rows = task.train
        self.digest = task.digest
        self.card = TaskCard(
            objective="label_prompt", description=task.description, labels=task.labels
        )
        self.constraints = self._words.constraints

    # -- data ---------------------------------------------------------------------------------

    def _label_suffix(self) -> tuple[Tensor, Tensor]:
        """What follows the prompt: embeddings [classes, length, width] of label and end mark, and
        their mask."""
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
        """[k, *shape] → unit vectors [k, classes, hidden size]."""
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
        """[rows, d], [..., classes, d] → [..., rows, classes]."""
        return texts @ classes.transpose(-1, -2) / self._spec.temperature

    def gradients(self, parameters: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Of the mean cross-entropy, in nats, of train rows [batch]."""
        texts, labels = self._train[rows], self._train_labels[rows]

        def losses(points: Tensor) -> Tensor:
            logits = self._logits(texts, self._class_embeddings(points))
            return losses_and_hits(logits, labels)[0].mean(1)

        at_once = _MAX_DIFFERENTIATED // len(self._task.labels)
        return gradients_of(losses, parameters, at_once)

    def score(self, parameters: Tensor) -> list[Score]:
        """[k, *shape] → k scores on the whole selection split."""
        return self._score_on(parameters, self._selection, self._selection_labels)

    def test(self, parameters: Tensor) -> Score | None:
        """[*shape] → score on *test*; None without a test file."""
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
        """See `Objective`; the class names of what was scored just before are not encoded again."""
        self._recent = self._recent or ResultCache()
        chunk = max(1, _MAX_SEQUENCES // len(self._task.labels))
        parts = torch.split(parameters, chunk)
        classes = torch.cat([self._recent.get(part, self._class_embeddings) for part in parts])
        logits = self._logits(self._train[rows], classes)
        return losses_and_hits(logits, self._train_labels[rows])[0], logits.argmax(-1)

    def meanings(self, texts: Sequence[str], parameters: Tensor) -> Tensor:
        """What the encoder makes of the words."""
        return self._encoder.encode(texts)

    def _scores(self, texts: Tensor, classes: Tensor, labels: Tensor) -> list[Score]:
        return mean_scores(*losses_and_hits(self._logits(texts, classes), labels))

    @torch.no_grad()
    def baseline(self) -> Baseline:
        """The bare label words on *test*, and the share of its most frequent class."""
        if not len(self._test):
            return Baseline(zero_shot=None, majority_accuracy=None)
        classes = self._encoder.encode(self._task.labels).unsqueeze(0)
        return Baseline(
            zero_shot=self._scores(self._test, classes, self._test_labels)[0],
            majority_accuracy=majority_share(self._task.test),
        )

    # -- words --------------------------------------------------------------------------------

    def project(self, parameters: Tensor) -> list[Projected]:
        """[k, *shape] → k projections. Cheap for consecutive snapshots: see `projection`."""
        count = len(parameters)
        found = self._words.nearest(parameters.reshape(count, -1, self._encoder.width))
        return [
            Projected(text=self._text(ids), ids=tuple(ids), distance=distance)
            for ids, distance in zip(found.ids, found.distances, strict=True)
        ]

    def toward(self, start: Tensor, parameters: Tensor) -> list[str]:
        """[*shape], [k, *shape] → words nearest, by cosine, to the displacements."""
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
        """`initial_text`, and random whole words where it does not reach (or is not given)."""
        ids = self._words.random_ids(generator, self._flat_positions())
        start = self._words.vectors(ids).reshape(self.shape)
        return self.embed_ids(self._initial_ids, start) if self._initial_ids else start

    def _flat_positions(self) -> int:
        return self._spec.n_tokens * (len(self._task.labels) if self._spec.per_class else 1)

    def random_proposal(self, generator: torch.Generator) -> Proposal:
        """Random whole words for every position; the same for all classes."""
        return self._words.random_proposal(generator)

    def random_parameters(self, generator: torch.Generator, incumbent: Tensor) -> Tensor:
        """Normal, with the mean and spread that each coordinate has over the whole words."""
        return self._words.random_vectors(generator, self.shape)

    def embed_ids(self, ids: Sequence[int], incumbent: Tensor) -> Tensor:
        """Ids for the first positions (of every class), or for all positions of all classes.

        Raises:
            ProposalRejected: There are more ids than positions.
        """
        return self._place([list(ids)], incumbent).parameters

    def embed(self, proposal: Proposal, incumbent: Tensor) -> Embedded:
        """Raw parameters, or words; with a prompt for each class, ``words | words | ...`` fills
        each its own and plain words fill them all.

        Raises:
            ProposalRejected: Empty, too long, malformed.
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
                    f"{len(parts)} parts for {len(self._task.labels)} classes",
                )
        return self._place([self._words.proposed_ids(part) for part in parts], incumbent)

    def _place(self, parts: Sequence[Sequence[int]], incumbent: Tensor) -> Embedded:
        """Token vectors into a copy of the incumbent: one part for all classes or one for each."""
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
        """See `Objective`; summed over the classes where each has a prompt."""
        point = parameters.detach()
        _, (gradient,) = self.gradients(point[None], rows)
        by_prompt = (-1, self._spec.n_tokens, self._encoder.width)
        return self._words.hints(point.reshape(by_prompt), gradient.reshape(by_prompt), count)

    # -- the result ---------------------------------------------------------------------------

    def artifacts(self, parameters: Tensor) -> dict[str, bytes]:
        """The prompt, with all that is needed to build the classifier again."""
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
