"""Frozen text encoders: texts or *input embeddings* in, hidden states or unit vectors out."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from mentorgrad.errors import InvalidInput, NotFound
from mentorgrad.model_refs import REASON
from trainer_service.encoding.model_files import (
    UNSUITABLE,
    max_positions,
    max_text_tokens,
    model_digest,
    pooling,
    require_encoder,
)

_ROWS = 1024
"""Texts that are tokenised at once."""


class TextEncoder:
    """A Hugging Face text encoder with its tokenizer, frozen.

    Only safetensors are loaded, no code of the model's repository is run, the dtype is float32,
    and nothing goes to the network. On CUDA the forward runs in bfloat16 autocast.

    Args:
        path: Folder with ``config.json``, ``model.safetensors`` and ``tokenizer.json``.
        device: Where the weights live.
        check: Called between the batches of long work; may raise to end it.

    Raises:
        NotFound: The folder lacks one of these files.
        InvalidInput: The model is not a text encoder, or pools in a way that is not built in.
    """

    def __init__(
        self, path: Path, device: torch.device, check: Callable[[], None] = lambda: None
    ) -> None:
        self.path = path
        self.device = device
        self._check = check
        require_encoder(path)
        self.pooling = pooling(path)
        self.digest = model_digest(path)
        self._tokenizer = _load_tokenizer(path)
        self._model = _load_model(path).to(device)
        self.max_tokens = max_positions(path)
        self.max_text_tokens = max_text_tokens(path)
        table = self._model.get_input_embeddings()
        if table is None:
            raise InvalidInput(f"{path.name} has no word embeddings", reason=UNSUITABLE)
        self.config: Any = self._model.config
        """The model's, as transformers reads it."""
        self.hidden_size = int(self.config.hidden_size)
        """Length of a hidden state."""
        self.word_embeddings: Tensor = table.weight.detach()
        """float32 [vocabulary, width]; frozen."""
        if self._tokenizer.cls_token_id is None or self._tokenizer.sep_token_id is None:
            raise InvalidInput(f"{path.name} marks no start and end of a text", reason=UNSUITABLE)
        self.start_id: int = self._tokenizer.cls_token_id
        self.end_id: int = self._tokenizer.sep_token_id
        self.pad_id: int = self._tokenizer.pad_token_id or 0
        self.special_ids = frozenset(self._tokenizer.all_special_ids)
        self._plain = _plain_tokenizer(self._tokenizer)
        # Byte-level vocabularies spell a word after a space and one at the start in two ways; with
        # a leading space every word of a prompt is spelled alike.
        spaced, bare = (
            self._plain.encode(text, add_special_tokens=False).ids for text in (" word", "word")
        )
        self._lead = "" if spaced == bare else " "

    @property
    def width(self) -> int:
        """Length of a word embedding."""
        return self.word_embeddings.shape[1]

    @property
    def options(self) -> dict[str, str | int]:
        """What an embedding depends on besides its text."""
        return {
            "model": self.digest,
            "max_tokens": self.max_text_tokens,
            "pooling": self.pooling,
            "precision": "bfloat16" if self.device.type == "cuda" else "float32",
        }

    def vocabulary(self) -> dict[str, int]:
        """Token → id, as the tokenizer spells tokens."""
        return dict(self._tokenizer.get_vocab())

    def token_ids(self, text: str) -> list[int]:
        """Ids of a text without the marks of start and end, of any length."""
        return self.many_token_ids([text])[0]

    def many_token_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """`token_ids` of many texts at once."""
        led = [self._lead + text.strip() for text in texts]
        encoded = self._plain.encode_batch(led, add_special_tokens=False)
        return [list(item.ids) for item in encoded]

    def text_of(self, ids: Sequence[int]) -> str:
        """The text of some ids."""
        return self.many_texts_of([ids])[0]

    def many_texts_of(self, many: Sequence[Sequence[int]]) -> list[str]:
        """`text_of` of many at once."""
        texts = self._plain.decode_batch([list(ids) for ids in many], skip_special_tokens=False)
        return [str(text).strip() for text in texts]

    def input_rows(
        self, texts: Sequence[str], pairs: Sequence[str] | None, max_length: int
    ) -> tuple[list[list[int]], list[list[int]] | None]:
        """Token ids of whole inputs, marks included, and which of two texts each token is of.

        Args:
            texts: The texts, or the first ones.
            pairs: The second ones, if there are any.
            max_length: Where inputs are cut; of two texts, the longer one first.

        Returns:
            Ids, and segments for models that tell them apart.
        """
        ids: list[list[int]] = []
        segments: list[list[int]] = []
        for begin in range(0, len(texts), _ROWS):
            self._check()
            part = slice(begin, begin + _ROWS)
            encoded = self._tokenizer(
                list(texts[part]),
                list(pairs[part]) if pairs is not None else None,
                truncation="longest_first",
                max_length=max_length,
            )
            ids += encoded["input_ids"]
            segments += encoded.get("token_type_ids") or []
        told_apart = (getattr(self.config, "type_vocab_size", 0) or 0) > 1
        return ids, segments if told_apart and len(segments) == len(ids) else None

    @torch.no_grad()
    def encode(self, texts: Sequence[str], batch_size: int = 32) -> Tensor:
        """Texts → float32 [texts, width], unit vectors; longer texts are cut at the model's limit.

        Texts of like length share a batch, which is decided by the texts alone, so the result is
        the same every time.
        """
        embeddings = torch.empty(len(texts), self.hidden_size, device=self.device)
        order = sorted(range(len(texts)), key=lambda index: (len(texts[index]), index))
        for begin in range(0, len(order), batch_size):
            self._check()
            chosen = order[begin : begin + batch_size]
            batch = self._tokenizer(
                [texts[index] for index in chosen],
                padding="longest",
                truncation=True,
                max_length=self.max_text_tokens,
                return_tensors="pt",
            ).to(self.device)
            vectors = self._pooled(
                batch["attention_mask"],
                input_ids=batch["input_ids"],
            )
            embeddings[torch.tensor(chosen, device=self.device)] = vectors
        return embeddings

    def encode_embeddings(self, embeddings: Tensor, mask: Tensor) -> Tensor:
        """Word embeddings in the place of token ids → unit vectors; differentiable.

        The model itself adds positions and applies its first layer norm, once: what goes in are
        rows of `word_embeddings`, or vectors of that space, with the marks of start and end.

        Args:
            embeddings: float32 [batch, tokens, width].
            mask: int64 [batch, tokens]: 1 for a token, 0 for padding.

        Returns:
            float32 [batch, hidden size].
        """
        return self._pooled(mask, inputs_embeds=embeddings)

    def hidden(self, mask: Tensor, **inputs: Tensor) -> Tensor:
        """Hidden states of the last layer; differentiable.

        Args:
            mask: int64 [batch, tokens].
            **inputs: ``input_ids``, or ``inputs_embeds`` as in `encode_embeddings`, and
                ``token_type_ids`` for models that tell segments apart.

        Returns:
            float32 [batch, tokens, hidden size].
        """
        with self._autocast():
            hidden: Tensor = self._model(attention_mask=mask, **inputs).last_hidden_state
        return hidden.float()

    def _pooled(self, mask: Tensor, **inputs: Tensor) -> Tensor:
        hidden = self.hidden(mask, **inputs)
        if self.pooling == "cls":
            pooled = hidden[:, 0]
        else:
            weights = mask.unsqueeze(-1).to(hidden.dtype)
            pooled = (hidden * weights).sum(1) / weights.sum(1).clamp_min(1.0)
        return functional.normalize(pooled, dim=-1)

    def _autocast(self) -> contextlib.AbstractContextManager[Any]:
        if self.device.type == "cuda":
            return torch.autocast("cuda", dtype=torch.bfloat16)
        return contextlib.nullcontext()


def _load_tokenizer(path: Path) -> Any:
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(path, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise NotFound(f"{path.name} has no usable tokenizer", reason=REASON) from error


def _plain_tokenizer(tokenizer: Any) -> Any:
    """A copy that neither cuts nor pads, and does without a wrapper's overhead: a vocabulary is
    tens of thousands of calls."""
    from tokenizers import Tokenizer

    plain = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    plain.no_truncation()
    plain.no_padding()
    return plain


def _load_model(path: Path) -> Any:
    from transformers import AutoModel
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        model = AutoModel.from_pretrained(
            path,
            dtype=torch.float32,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
        )
    except OSError as error:
        raise NotFound(f"{path.name} has no model.safetensors", reason=REASON) from error
    except ValueError as error:
        raise InvalidInput(
            f"{path.name} is not a model this version of transformers knows",
            reason=UNSUITABLE,
        ) from error
    return model.eval().requires_grad_(False)
