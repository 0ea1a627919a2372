"""A soft prompt before each class name, with a frozen encoder.

A row is assigned to the class with the most similar embedding: an image by CLIP (CoOp, Zhou et al.,
IJCV 2022), a text by a text encoder on both sides. Rows are encoded once; a gradient step encodes
only class names.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from mentorgrad.domain.advice import TaskCard
from mentorgrad.domain.objective import LabelPrompt
from mentorgrad.domain.spec import LongTexts
from mentorgrad.errors import InvalidInput
from trainer_service import tensorfile
from trainer_service.costs import RowCosts
from trainer_service.encoding.clip import ClipEncoder
from trainer_service.encoding.embedding_cache import EmbeddingCache
from trainer_service.encoding.encoders import TextEncoder
from trainer_service.encoding.transfer import on_device
from trainer_service.objectives.build import BuildInputs
from trainer_service.objectives.classification import ClassificationProblem
from trainer_service.objectives.initial_prompt import initial_prompt
from trainer_service.objectives.label_prompt.images import image_loader
from trainer_service.objectives.label_prompt.result_cache import ResultCache
from trainer_service.objectives.long_texts import encoder_room, fitted_task
from trainer_service.objectives.model_file import as_metadata, document_bytes
from trainer_service.objectives.prompt_language import PromptLanguage
from trainer_service.objectives.torch_free import ARTIFACT, MODEL_FILE
from trainer_service.objectives.tuned import Tuned, TunedFiles, scores_at
from trainer_service.protocols import Objective
from trainer_service.tasks.data import Split, TaskData

_MAX_SEQUENCES = 1024
"""Maximum class names per forward pass without gradients."""

_MAX_DIFFERENTIATED = 256
"""Maximum class names per pass with gradients, which keep activations in memory."""

PATH = "spec.objective.label_prompt"
"""Path of the objective's fields in a request."""


class LabelPromptProblem(ClassificationProblem):
    """Losses of a soft prompt of shape [tokens, width], or [classes, tokens, width].

    Args:
        spec: Length, temperature, and whether each class has its own prompt.
        task: The sampled rows.
        encoder: The frozen encoder; the prompt is kept on its device. Rows of images need CLIP.
        costs: Forward rows of a pass.
        cache: Cache of the rows' embeddings.
        long_texts: What happens to texts that are too long.

    Raises:
        InvalidInput: The prompt is too long for the encoder, or a text is and that is an error; or
            an image cannot be used.
    """

    def __init__(
        self,
        spec: LabelPrompt,
        task: TaskData,
        encoder: TextEncoder,
        costs: RowCosts,
        cache: EmbeddingCache,
        long_texts: LongTexts = LongTexts.TRUNCATE,
    ) -> None:
        super().__init__(task, encoder.device)
        self._spec = spec
        self._encoder = encoder
        self.temperature = spec.temperature or encoder.temperature
        """Divisor of the cosine similarities."""
        self.costs = costs
        self._suffix, self._suffix_mask = self._label_suffix()
        length = 1 + spec.n_tokens + self._suffix.shape[1]
        if length > encoder.max_tokens:
            raise InvalidInput.field(
                f"{PATH}.n_tokens",
                f"prompt and longest label take {length} tokens; the encoder allows "
                f"{encoder.max_tokens}",
                reason="PROMPT_TOO_LONG",
            )
        prompt = (spec.n_tokens, encoder.tokens.width)
        self.shape = (len(task.labels), *prompt) if spec.per_class else prompt
        if isinstance(encoder, ClipEncoder):
            self.feature = "the embedding of the image, of norm 1"
            self._rows = {split: _images(encoder, task, split, cache) for split in Split}
        else:
            self.feature = "the embedding of the text, of norm 1"
            room = encoder_room(encoder, long_texts, encoder.max_text_tokens, joined=True)
            fitted, self.cut_texts = fitted_task(task, room)
            self._rows = {split: encoder.embed(fitted.texts(split), cache) for split in Split}
        self._recent: ResultCache | None = None  # created when train rows are first scored

    def _label_suffix(self) -> tuple[Tensor, Tensor]:
        """Embeddings [classes, length, width] and mask of the label and end token."""
        tokens = self._encoder.tokens
        rows = [[*ids, tokens.end_id] for ids in tokens.many_token_ids(self.task.labels)]
        length = max(map(len, rows))
        ids = torch.tensor([row + [tokens.pad_id] * (length - len(row)) for row in rows])
        mask = torch.tensor([[1] * len(row) + [0] * (length - len(row)) for row in rows])
        return tokens.vectors[ids.to(self.device)], mask.to(self.device)

    def _class_embeddings(self, points: Tensor) -> Tensor:
        """Encodes [k, *shape] as class embeddings: unit vectors [k, classes, hidden size]."""
        classes, tokens = len(self.task.labels), self._encoder.tokens
        prompts = points if self._spec.per_class else points.unsqueeze(1)
        count = len(prompts)
        prompts = prompts.expand(count, classes, self._spec.n_tokens, tokens.width)
        embeddings = torch.cat(
            [
                tokens.vectors[tokens.start_id].expand(count, classes, 1, tokens.width),
                prompts,
                self._suffix.expand(count, *self._suffix.shape),
            ],
            dim=2,
        ).flatten(0, 1)
        ones = self._suffix_mask.new_ones(classes, 1 + self._spec.n_tokens)
        mask = torch.cat([ones, self._suffix_mask], dim=1).repeat(count, 1)
        return self._encoder.encode_embeddings(embeddings, mask).view(count, classes, -1)

    def _compared(self, rows: Tensor, classes: Tensor) -> Tensor:
        """Logits [..., rows, classes] of rows [rows, d] and classes [..., classes, d]."""
        return rows @ classes.transpose(-1, -2) / self.temperature

    def logits(self, points: Tensor, split: Split, rows: Tensor) -> Tensor:
        """Logits [k, rows, classes]; see `ClassificationProblem`."""
        return self._compared(self._of_rows(split, rows), self._class_embeddings(points))

    def _of_rows(self, split: Split, rows: Tensor) -> Tensor:
        """Embeddings [n, hidden size] of rows [n]."""
        return self._rows[split][on_device(rows, self.device)]

    def scored_logits(self, points: Tensor, split: Split, rows: Tensor) -> Tensor:
        """Re-uses class embeddings once a mentor is shown train rows, since it is shown the losses
        of parameters that were scored just before."""
        if split is Split.TRAIN:
            self._recent = self._recent or ResultCache()
        if self._recent is None:
            return self.logits(points, split, rows)
        classes = self._recent.get(points, self._class_embeddings)
        return self._compared(self._of_rows(split, rows), classes)

    def batches(self, split: Split, rows: Tensor) -> Iterator[tuple[Tensor, int]]:
        """All rows in one batch: only class names are encoded."""
        at_once = max(1, _MAX_SEQUENCES // len(self.task.labels))
        yield torch.arange(len(rows)), at_once

    def points_at_once(self, rows: Tensor) -> int:
        """See `Problem`."""
        return _MAX_DIFFERENTIATED // len(self.task.labels)

    def features(self, split: Split) -> Tensor:
        """The embeddings of the rows, of norm 1."""
        return self._rows[split]

    def untuned_logits(self, split: Split) -> Tensor:
        """Logits of the label words, alone or in the prompt that was published with the task."""
        return self._compared(self._rows[split], self._encoder.encode(self.task.untuned_prompts))


def _images(encoder: ClipEncoder, task: TaskData, split: Split, cache: EmbeddingCache) -> Tensor:
    """Embeddings of the images of a split, of norm 1."""
    images = [row.image for row in task.rows(split) if row.image]
    return encoder.embed_images(
        [image.sha256 for image in images], image_loader(images, split), cache
    )


def _encoder(reference: str, inputs: BuildInputs, images: bool) -> TextEncoder:
    return inputs.image_encoder(reference) if images else inputs.encoder(reference)


def build(spec: LabelPrompt, inputs: BuildInputs) -> Objective:
    """Loads the encoder and embeds the rows.

    Raises:
        InvalidInput: The encoder or an image cannot be used, the prompt is too long, or
            `initial_text` is invalid.
    """
    task = inputs.rows
    encoder = _encoder(spec.encoder, inputs, task.has_images)
    long_texts = inputs.run.task.long_texts
    problem = LabelPromptProblem(spec, task, encoder, inputs.costs, inputs.cache, long_texts)
    initial = initial_prompt(spec, inputs, encoder.digest, problem.shape)
    language = PromptLanguage(
        spec,
        encoder.tokens,
        problem.shape,
        encoder.encode,
        PATH,
        task,
        start=initial and initial[1],
    )

    def export(parameters: Tensor) -> dict[str, bytes]:
        """The prompt as safetensors, and what is needed to rebuild the classifier."""
        (words,) = language.project(parameters.unsqueeze(0))
        document = inputs.document(
            spec,
            spec.encoder,
            encoder.digest,
            problem,
            words.text,
            text_tokens=list(words.ids),
            pooling=encoder.pooling,
            temperature=problem.temperature,
            template="[start] prompt label [end]",
        )
        return {
            ARTIFACT: tensorfile.save({"prompt": parameters}, as_metadata(document)),
            MODEL_FILE: document_bytes(document),
        }

    card = TaskCard(
        objective="label_prompt",
        description=task.description,
        labels=task.labels,
        proposal="a phrase that is put in front of each class name; "
        f"{'an image' if task.has_images else 'a text'} belongs to the class "
        "whose phrase and name together are nearest to it in meaning",
        place="in front of {label}",
    )
    return Objective(problem, language, export, card)


def reopen(files: TunedFiles, inputs: BuildInputs) -> Tuned:
    """Loads the encoder, to predict.

    Raises:
        InvalidInput: The encoder cannot be used.
        PreconditionFailed: It is not the one of the run.
    """
    spec = files.spec(LabelPrompt)
    encoder = _encoder(files.model, inputs, files.has_images)
    files.require_model(encoder.digest)
    prompt = files.tensors["prompt"]
    words = encoder.tokens.vectors[files.document["text_tokens"]].view_as(prompt)

    def problem(task: TaskData) -> LabelPromptProblem:
        uncached = EmbeddingCache(None)
        return LabelPromptProblem(spec, task, encoder, inputs.costs, uncached, files.long_texts)

    return Tuned(problem, scores_at(prompt), scores_at(words))
