"""CLIP (Radford et al., ICML 2021), frozen: texts and images as unit vectors of one space."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from mentorgrad.errors import InvalidInput
from mentorgrad.model_refs import first_line
from trainer_service.encoding.embedding_cache import EmbeddingCache
from trainer_service.encoding.encoders import TextEncoder
from trainer_service.encoding.model_files import PROCESSOR, require_clip
from trainer_service.encoding.weight_files import UNSUITABLE

if TYPE_CHECKING:
    from PIL.Image import Image

_IMAGES = 16
"""Images per forward pass."""

_MARK_OF_OLD = 2
"""Id of the end token in the configurations of the first published models, whatever it is."""


class ClipEncoder(TextEncoder):
    """CLIP with its tokenizer and its image processor, as `TextEncoder` is for texts alone.

    Args:
        path: Folder with ``config.json``, ``model.safetensors``, ``tokenizer.json`` and
            ``preprocessor_config.json``.
        device: Device of the weights.
        check: Called between batches; may raise to abort.

    Raises:
        NotFound: One of these files is missing or unusable.
        InvalidInput: The model is not CLIP or cannot be loaded, or its tokenizer or its image
            processor is another model's.
    """

    _require = staticmethod(require_clip)
    _marks = ("bos_token", "eos_token")

    def __init__(
        self, path: Path, device: torch.device, check: Callable[[], None] = lambda: None
    ) -> None:
        super().__init__(path, device, check)
        self.pooling = "end"
        self._processor = _load_processor(path, self.config.vision_config.image_size)
        # The learned factor of the similarities, for which the loss was trained.
        self.temperature = float(torch.exp(-self._model.logit_scale.float()))
        end = self._model.config.text_config.eos_token_id
        if self.tokens.end_id in (0, None) or end not in (_MARK_OF_OLD, self.tokens.end_id):
            raise InvalidInput(
                f"{path.name}: the end tokens of model and tokenizer differ", reason=UNSUITABLE
            )

    def _word_table(self) -> Any:
        return self._model.text_model.embeddings.token_embedding

    @property
    def hidden_size(self) -> int:
        """Length of an embedding."""
        return int(self.config.projection_dim)

    def embed_images(
        self, keys: Sequence[str], load: Callable[[int], Image], cache: EmbeddingCache
    ) -> Tensor:
        """Embeddings of images, read from a cache if it has them.

        Args:
            keys: Digest of each image.
            load: Index of an image → the image, in RGB.
            cache: The cache.

        Returns:
            Unit vectors, float32 [images, embedding size].
        """
        options = {name: self.options[name] for name in ("model", "precision")}
        return cache.get(keys, options, lambda _: self._images(len(keys), load)).to(self.device)

    @torch.no_grad()
    def _images(self, count: int, load: Callable[[int], Image]) -> Tensor:
        embeddings = torch.empty(count, self.hidden_size, device=self.device)
        for begin in range(0, count, _IMAGES):
            self._check()
            chosen = range(begin, min(begin + _IMAGES, count))
            pixels = self._processor([load(index) for index in chosen], return_tensors="pt")
            with self._autocast():
                seen = self._model.vision_model(pixel_values=pixels["pixel_values"].to(self.device))
                projected = self._model.visual_projection(seen.pooler_output)
            embeddings[begin : begin + _IMAGES] = functional.normalize(projected.float(), dim=-1)
        return embeddings

    def _pooled(self, mask: Tensor, **inputs: Tensor) -> Tensor:
        """The projected state of the end token, which attends to all tokens before it."""
        vectors = inputs.get("inputs_embeds")
        if vectors is None:
            vectors = self.tokens.vectors[inputs["input_ids"]]
        # The model looks for the end token in the ids, which are used for nothing else.
        last = mask.sum(1, keepdim=True) - 1
        ids = torch.zeros_like(mask).scatter(1, last, self.tokens.end_id)
        with self._autocast(), _giving(self._word_table(), vectors):
            read = self._model.text_model(input_ids=ids, attention_mask=mask)
            projected = self._model.text_projection(read.pooler_output)
        return functional.normalize(projected.float(), dim=-1)


def _load_processor(path: Path, side: int) -> Any:
    """Resizes and normalises images by Pillow, whether torchvision is installed or not.

    Args:
        path: The model's folder.
        side: Width and height of the model's images.

    Raises:
        InvalidInput: Its file cannot be used, or makes images of another size.
    """
    from PIL import Image

    try:
        from transformers.models.clip.image_processing_pil_clip import (
            CLIPImageProcessorPil as Processor,
        )
    except ImportError:  # before version 5 there was only that one
        from transformers import CLIPImageProcessor as Processor
    try:
        processor = Processor.from_pretrained(path, local_files_only=True)
        made = processor([Image.new("RGB", (2, 2))], return_tensors="pt")["pixel_values"].shape
    except Exception as error:  # a file of others can raise anything
        said = f"{path.name}: {PROCESSOR} cannot be used: {first_line(error)}"
        raise InvalidInput(said.replace(str(path), path.name), reason=UNSUITABLE) from error
    if made[-2:] != (side, side):
        raise InvalidInput(
            f"{path.name}: {PROCESSOR} makes images of {made[-2]} by {made[-1]} pixels; the model "
            f"takes {side} by {side}",
            reason=UNSUITABLE,
        )
    return processor


@contextmanager
def _giving(module: nn.Module, output: Tensor) -> Iterator[None]:
    """Has a module return an output: CLIP's text model takes token ids only."""
    handle = module.register_forward_hook(lambda *_: output)
    try:
        yield
    finally:
        handle.remove()
