"""Frozen text encoders: texts or *input embeddings* in, hidden states or unit vectors out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from mentorgrad.errors import InvalidInput, NotFound
from mentorgrad.model_refs import REASON, first_line
from trainer_service.encoding.dtypes import DTYPES, other_dtype
from trainer_service.encoding.embedding_cache import EmbeddingCache
from trainer_service.encoding.grouped_attention import use_grouped_attention
from trainer_service.encoding.linear_layers import linear_layers
from trainer_service.encoding.model_files import (
    is_clip,
    max_positions,
    max_text_tokens,
    model_digest,
    pooling,
    require_encoder,
)
from trainer_service.encoding.recomputing import recompute_layers
from trainer_service.encoding.token_table import TokenTable
from trainer_service.encoding.weight_files import UNSUITABLE

_ROWS = 1024
"""Texts per tokenizer call."""


class TextEncoder:
    """A Hugging Face text encoder with its tokenizer, frozen.

    Loads safetensors only, without network access and without running code of the model's
    repository.

    Args:
        path: Folder with ``config.json``, ``model.safetensors`` and ``tokenizer.json``.
        device: Device of the weights.
        check: Called between batches; may raise to abort.
        dtype: Of weights and activations: ``float32``, ``bfloat16`` or ``float16``. ``auto``:
            float32, and on CUDA under bfloat16 autocast.

    Raises:
        NotFound: One of these files is missing or unusable.
        InvalidInput: The model is not a text encoder, or its pooling is not supported.
    """

    temperature = 0.05
    """Divisor of cosine similarities before a softmax, unless a spec says otherwise."""
    _require = staticmethod(require_encoder)
    _marks = ("cls_token", "sep_token")
    """Tokens that the tokenizer must have: of the start and the end."""

    def __init__(
        self,
        path: Path,
        device: torch.device,
        check: Callable[[], None] = lambda: None,
        dtype: str = "auto",
    ) -> None:
        self.path = path
        self.device = device
        self._check = check
        self._require(path)
        self.pooling = pooling(path)
        self.digest = model_digest(path)
        self._tokenizer = load_tokenizer(path)
        self._model = _load_model(path).to(device)
        self.max_tokens = max_positions(path)
        self.max_text_tokens = max_text_tokens(path)
        table = self._word_table()
        if table is None:
            raise InvalidInput(f"{path.name} has no word embeddings", reason=UNSUITABLE)
        if None in (getattr(self._tokenizer, name) for name in self._marks):
            named = " and ".join(name.removesuffix("_token").upper() for name in self._marks)
            raise InvalidInput(
                f"{path.name}: the tokenizer has no {named} tokens", reason=UNSUITABLE
            )
        self.config: Any = self._model.config
        """The model's transformers configuration."""
        self.tokens = TokenTable(self._tokenizer, table.weight.detach())
        """The tokens and their vectors, float32."""
        self._is_mixed = dtype == "auto" and device.type == "cuda"
        self._is_converted = dtype not in ("auto", "float32")
        if self._is_converted:
            self._model.to(DTYPES[dtype])  # the tokens' vectors stay as they are
            use_grouped_attention(self._model)
        self.dtype = dtype if self._is_converted else "bfloat16" if self._is_mixed else "float32"
        """Name of the activations' dtype."""

    def _word_table(self) -> Any:
        """The module that maps token ids to vectors."""
        return self._model.get_input_embeddings()

    @property
    def hidden_size(self) -> int:
        """Length of a hidden state, and of a text's embedding."""
        return int(self.config.hidden_size)

    @property
    def linear_layers(self) -> dict[str, nn.Module]:
        """The model's linear layers by name, for adapters."""
        return linear_layers(self._model)

    def recompute_layers(self, field: str) -> None:
        """Makes backward passes compute the activations of each layer again, to save memory; see
        `recomputing.recompute_layers`."""
        recompute_layers(self._model, f"{self.path.name} ({self.config.model_type})", field)

    def start_remedy(self, field: str) -> str:
        """What to do about losses that are not finite before any step; empty in float32.

        Args:
            field: Path of the dtype in the request.
        """
        if self.dtype == "float32":
            return ""
        return (
            f"the encoder's numbers are not finite in {self.dtype}: "
            f"{other_dtype(self.dtype, field)}"
        )

    @property
    def options(self) -> dict[str, str | int]:
        """Everything that an embedding depends on besides its text."""
        return {
            "model": self.digest,
            "max_tokens": self.max_text_tokens,
            "pooling": self.pooling,
            "precision": f"{self.dtype} weights" if self._is_converted else self.dtype,
        }

    def input_rows(
        self, texts: Sequence[str], pairs: Sequence[str] | None, max_length: int
    ) -> tuple[list[list[int]], list[list[int]] | None]:
        """Tokenises whole inputs, with special tokens.

        Args:
            texts: The texts, or the first ones.
            pairs: The second texts; None without.
            max_length: Maximum tokens per input; truncates the longer text of a pair first.

        Returns:
            Token ids, and token type ids; None for models without token types.
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
        has_types = (getattr(self.config, "type_vocab_size", 0) or 0) > 1
        return ids, segments if has_types and len(segments) == len(ids) else None

    @torch.no_grad()
    def encode(self, texts: Sequence[str], batch_size: int = 32) -> Tensor:
        """Encodes texts as unit vectors, float32 [texts, hidden size].

        Texts are truncated at the model's limit. Batches group texts of similar length and depend
        on the texts alone, so the result is reproducible.
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

    def embed(self, texts: Sequence[str], cache: EmbeddingCache) -> Tensor:
        """`encode`, with the texts' embeddings read from a cache if it has them."""
        return cache.get(texts, self.options, self.encode).to(self.device)

    def encode_embeddings(self, embeddings: Tensor, mask: Tensor) -> Tensor:
        """Encodes input embeddings as unit vectors; differentiable.

        The inputs are rows of `tokens.vectors` or vectors of that space, with the embeddings of
        the start and end tokens. The model adds positions and applies its first layer norm itself.

        Args:
            embeddings: float32 [batch, tokens, width].
            mask: int64 [batch, tokens]: 1 for a token, 0 for padding.

        Returns:
            float32 [batch, hidden size].
        """
        return self._pooled(mask, inputs_embeds=embeddings)

    def hidden(self, mask: Tensor, **inputs: Any) -> Tensor:
        """Returns the hidden states of the last layer; differentiable.

        Args:
            mask: int64 [batch, tokens].
            **inputs: ``input_ids``, or ``inputs_embeds`` as in `encode_embeddings`,
                ``token_type_ids`` for models with token types, and ``past_key_values``, a cache of
                transformers whose keys and values stand in front; `mask` covers them.

        Returns:
            float32 [batch, tokens, hidden size].
        """
        if "inputs_embeds" in inputs:
            inputs["inputs_embeds"] = inputs["inputs_embeds"].to(self._model.dtype)
        with self._autocast():
            hidden: Tensor = self._model(attention_mask=mask, **inputs).last_hidden_state
        return hidden.float()

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self._is_mixed)

    def _pooled(self, mask: Tensor, **inputs: Tensor) -> Tensor:
        hidden = self.hidden(mask, **inputs)
        if self.pooling == "cls":
            pooled = hidden[:, 0]
        else:
            weights = mask.unsqueeze(-1).to(hidden.dtype)
            pooled = (hidden * weights).sum(1) / weights.sum(1).clamp_min(1.0)
        return functional.normalize(pooled, dim=-1)


def load_tokenizer(path: Path) -> Any:
    """Loads a tokenizer of transformers, without network access or a repository's code.

    Raises:
        NotFound: The folder has none that can be used.
    """
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(path, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise NotFound(f"{path.name} has no usable tokenizer", reason=REASON) from error


def _load_model(path: Path) -> Any:
    from transformers import AutoModel
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        model, report = AutoModel.from_pretrained(
            path,
            output_loading_info=True,
            dtype=torch.float32,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
        )
    except OSError as error:
        raise NotFound(f"{path.name} has no model.safetensors", reason=REASON) from error
    except ValueError as error:
        raise InvalidInput(
            f"{path.name}: this version of transformers does not support the model",
            reason=UNSUITABLE,
        ) from error
    except Exception as error:  # damaged weights, or those of another configuration
        raise InvalidInput(
            f"{path.name} cannot be loaded: {first_line(error)}", reason=UNSUITABLE
        ) from error
    missing = report["missing_keys"]  # transformers gives them random numbers
    if missing and is_clip(path):  # of text encoders, a pooler that nobody reads may be missing
        raise InvalidInput(f"{path.name} has no weights for {min(missing)}", reason=UNSUITABLE)
    return model.eval().requires_grad_(False)
