"""Frozen causal language models: input embeddings in, hidden states and logits out."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from mentorgrad.errors import InvalidInput, NotFound
from mentorgrad.model_refs import REASON, first_line
from trainer_service.encoding.causal_files import (
    context_tokens,
    require_causal_model,
    require_full_attention,
)
from trainer_service.encoding.dtypes import DTYPES, dtype_name, other_dtype
from trainer_service.encoding.encoders import load_tokenizer
from trainer_service.encoding.gguf_files import source_digest
from trainer_service.encoding.grouped_attention import use_grouped_attention
from trainer_service.encoding.line_tokens import LineTokens
from trainer_service.encoding.linear_layers import linear_layers
from trainer_service.encoding.memory import memory_for
from trainer_service.encoding.model_files import model_digest
from trainer_service.encoding.recomputing import recompute_layers
from trainer_service.encoding.weight_files import UNSUITABLE

_TOLERANCES = {torch.float32: 1e-3, torch.bfloat16: 5e-2, torch.float16: 1e-2}
"""Of the check of the logits, as a share of their largest."""


class CausalModel:
    """A causal language model of transformers with its tokenizer, frozen.

    Loads safetensors only, without network access and without running code of the model's
    repository. Nothing here computes a gradient of a weight; gradients reach input embeddings and
    cached keys and values.

    Args:
        folder: Folder with ``config.json``, ``tokenizer.json`` and safetensors weights; for a GGUF
            file, what `causal_folder` returns.
        device: Device of the weights.
        dtype: ``auto``, or a key of `dtypes.DTYPES`.
        check: Called between the parts of the work; may raise to abort.

    Raises:
        NotFound: One of the files is missing or unusable.
        InvalidInput: The model cannot be tuned (reason MODEL_UNSUITABLE).
        ResourceExhausted: There is not enough memory for the weights.
    """

    def __init__(
        self,
        folder: Path,
        device: torch.device,
        dtype: str = "auto",
        check: Callable[[], None] = lambda: None,
    ) -> None:
        require_causal_model(folder)
        self.device = device
        self.dtype = dtype_name(dtype, device)
        """Name of the weights' dtype."""
        self.digest = source_digest(folder) or model_digest(folder)
        """Hex SHA-256 of the GGUF file, or of weights, configuration and tokenizer."""
        check()
        self.tokenizer: Any = load_tokenizer(folder)
        check()
        with memory_for(
            f"load {folder.name} in {self.dtype} on {device.type}",
            "use a smaller model, or the dtype bfloat16",
        ):
            self.network: Any = _load(folder, DTYPES[self.dtype]).to(device)
            """The model of transformers."""
            check()
            vectors = _word_vectors(self.network)
        if self.tokenizer.vocab_size > len(vectors):
            raise _unsuitable(folder, "has more tokens in its tokenizer than word vectors")
        self.config: Any = self.network.config
        """The model's transformers configuration."""
        self.max_tokens = context_tokens(folder)
        """Maximum tokens of an input."""
        self.tokens = LineTokens(self.tokenizer, vectors)
        """The tokens and their vectors, float32, as `hidden` takes them."""
        self._name = folder.name
        self._takes_positions = "position_ids" in inspect.signature(self._base.forward).parameters
        self._require_known_logits(folder.name)

    @property
    def linear_layers(self) -> dict[str, nn.Module]:
        """The model's linear layers by name, for adapters."""
        return linear_layers(self.network)

    def recompute_layers(self, field: str) -> None:
        """Makes backward passes compute the activations of each layer again, to save memory; see
        `recomputing.recompute_layers`."""
        recompute_layers(self.network, f"{self._name} ({self.config.model_type})", field)

    @property
    def _base(self) -> Any:
        return self.network.base_model

    def hidden(
        self,
        inputs_embeds: Tensor,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Any = None,
        use_cache: bool = False,
    ) -> Tensor:
        """Returns the hidden states of the last layer, after its norm; differentiable.

        Args:
            inputs_embeds: [batch, tokens, width]: rows of `tokens.vectors` or vectors of that
                space; converted to the model's dtype.
            attention_mask: int64 [batch, cached + tokens]: 1 for a token, 0 for padding.
            position_ids: int64 [batch, tokens]. A model without them (ALiBi) derives positions
                from the mask.
            past_key_values: A cache of transformers; the tokens are appended to it in place.
            use_cache: Whether a cache is used.

        Returns:
            [batch, tokens, width] in the model's dtype.
        """
        positions = {"position_ids": position_ids} if self._takes_positions else {}
        output = self._base(
            inputs_embeds=inputs_embeds.to(self.network.dtype),
            attention_mask=attention_mask,
            past_key_values=past_key_values,
            use_cache=use_cache,
            **positions,
        )
        hidden: Tensor = output.last_hidden_state
        return hidden

    def output_rows(self, ids: Sequence[int] | Tensor) -> Tensor:
        """Rows of the output matrix, float32 [len(ids), width]."""
        rows: Tensor = self._head.weight[self._index(ids)]
        return rows.float()

    def label_logits(self, hidden: Tensor, ids: Sequence[int] | Tensor) -> Tensor:
        """Logits of some tokens: only their rows of the output matrix are multiplied, in float32.

        Args:
            hidden: [..., width], of `hidden`.
            ids: Token ids.

        Returns:
            float32 [..., len(ids)].
        """
        bias = self._head.bias[self._index(ids)].float() if self._has_bias else None
        return self._finished(functional.linear(hidden.float(), self.output_rows(ids), bias))

    def all_logits(self, hidden: Tensor) -> Tensor:
        """Logits of all tokens, multiplied in the model's dtype: [..., width] → float32
        [..., vocabulary]."""
        # torch multiplies a part of a larger tensor by a copy of the matrix per row of the batch.
        flat = hidden.reshape(-1, hidden.shape[-1])
        return self._finished(self._head(flat).float()).view(*hidden.shape[:-1], -1)

    @property
    def _head(self) -> Any:
        return self.network.get_output_embeddings()

    @property
    def _has_bias(self) -> bool:
        return getattr(self._head, "bias", None) is not None

    def _index(self, ids: Sequence[int] | Tensor) -> Tensor:
        return torch.as_tensor(ids, dtype=torch.int64, device=self.device)

    def _finished(self, products: Tensor) -> Tensor:
        """Logits from products with the output matrix, as Cohere, Granite and Gemma 2 scale them
        or limit them softly."""
        scale = getattr(self.config, "logit_scale", None)
        divisor = getattr(self.config, "logits_scaling", None)
        cap = getattr(self.config, "final_logit_softcapping", None)
        logits = products * scale if scale else products
        logits = logits / divisor if divisor else logits
        return torch.tanh(logits / cap) * cap if cap else logits

    @torch.no_grad()
    def _require_known_logits(self, model: str) -> None:
        """Checks on one short input that hidden states of *input embeddings*, multiplied by the
        output matrix, give the logits that the model itself gives for the tokens.

        It fails for a model that does to either what is not known here.
        """
        rows = len(self.tokens.vectors)
        ids = torch.linspace(0, rows - 1, steps=8, device=self.device).long().unsqueeze(0)
        positions = torch.arange(ids.shape[1], device=self.device).unsqueeze(0)
        expected = self.network(input_ids=ids, use_cache=False).logits.float()
        if not bool(expected.isfinite().all()):
            raise InvalidInput(
                f"the logits of {model} are not finite in {self.dtype}; {other_dtype(self.dtype)}",
                reason=UNSUITABLE,
            )
        hidden = self.hidden(
            functional.embedding(ids, self.tokens.vectors), torch.ones_like(ids), positions
        )
        tolerance = _TOLERANCES[self.network.dtype] * float(expected.abs().max())
        some = ids[0]
        agree = _close(self.all_logits(hidden), expected, tolerance) and _close(
            self.label_logits(hidden, some), expected[..., some], tolerance
        )
        if not agree:
            raise InvalidInput(
                f"{model} ({self.config.model_type}) makes its logits, or takes word embeddings, "
                "in a way that is not supported; use another model or the dtype float32",
                reason=UNSUITABLE,
            )


def _close(actual: Tensor, expected: Tensor, tolerance: float) -> bool:
    return actual.shape == expected.shape and bool(((actual - expected).abs() <= tolerance).all())


def _load(folder: Path, dtype: torch.dtype) -> Any:
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        network, report = AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=dtype,
            attn_implementation="sdpa",
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            output_loading_info=True,
        )
    except OSError as error:
        raise NotFound(f"{folder.name} has no usable weights", reason=REASON) from error
    except (ValueError, KeyError) as error:
        if "scaled_dot_product_attention" in str(error):
            raise _unsuitable(folder, "has an attention that torch's kernels lack") from error
        raise _unsuitable(folder, f"cannot be loaded: {first_line(error)}") from error
    if report["missing_keys"]:  # transformers gives them random numbers
        raise _unsuitable(folder, f"has no weights for {min(report['missing_keys'])}")
    # The loaded configuration has the defaults that the file may leave out.
    require_full_attention(folder.name, network.config.to_dict())
    if getattr(network, "_is_stateful", False) or network.get_output_embeddings() is None:
        raise _unsuitable(folder, "has recurrent layers or no output matrix")
    use_grouped_attention(network)
    return network.eval().requires_grad_(False)


def _unsuitable(folder: Path, message: str) -> InvalidInput:
    return InvalidInput(f"{folder.name} {message}", reason=UNSUITABLE)


def _word_vectors(network: Any) -> Tensor:
    """What the model's layers get for each token, float32 [vocabulary, width]: the embedding matrix
    itself, or a copy if it has another dtype or the model scales its rows (Gemma)."""
    module = network.get_input_embeddings()
    rows: Tensor = module.weight.detach()
    if type(module) is nn.Embedding:
        return rows.float()
    with torch.no_grad():
        vectors: Tensor = module(torch.arange(len(rows), device=rows.device))
    return vectors.float()
