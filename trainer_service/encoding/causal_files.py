"""Which causal language models can be tuned, read without torch and without loading the weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mentorgrad.errors import InvalidInput, NotFound
from mentorgrad.model_refs import REASON
from trainer_service.encoding.gguf_header import GgufHeader, read_gguf_header
from trainer_service.encoding.model_files import CAUSAL_HEADS, read_json
from trainer_service.encoding.weight_files import UNSUITABLE, require_weights

DEQUANTISED = frozenset(
    {
        *("llama", "qwen2", "qwen2moe", "qwen3", "qwen3moe", "falcon"),
        *("gpt2", "nemotron", "phi3", "stablelm", "starcoder2"),
    }
)
"""Architectures of GGUF files that transformers dequantises and whose layers attend to all tokens
before."""

# Model types with layers whose state is not a list of keys and values. Most do not say so in
# `layer_types`.
_RECURRENT = frozenset(
    {
        *("bailing_hybrid", "bamba", "falcon_h1", "falcon_mamba", "granitemoehybrid"),
        *("inkling2_text", "inkling_text", "jamba", "kimi_linear", "lfm2", "lfm2_moe", "lfm3"),
        *("mamba", "mamba2", "minimax", "nemotron_h", "olmo_hybrid", "plamo2", "qwen3_5"),
        *("qwen3_5_moe", "qwen3_5_moe_text", "qwen3_5_text", "qwen3_next", "qwen4_exp"),
        *("qwen4_exp_text", "recurrent_gemma", "rwkv", "xlstm", "zamba", "zamba2", "zaya"),
    }
)

_REMEDY = (
    "use a model whose layers attend to all tokens before, such as Llama, SmolLM2, Qwen2.5, Qwen3 "
    "or GPT-2"
)

_LENGTHS = ("max_position_embeddings", "n_positions", "max_seq_len", "seq_length", "n_ctx")


def require_causal_model(path: Path) -> None:
    """Checks that a folder, or a GGUF file, holds a causal language model that can be tuned.

    Raises:
        NotFound: A file is missing.
        InvalidInput: It is no such model, or its layers do not attend to all tokens before.
    """
    if path.is_file():
        _require_gguf(path.name, read_gguf_header(path))
    else:
        _require_files(path)
        config = read_json(path, "config.json")
        _require_head(path.name, config)
        require_full_attention(path.name, config)


def require_full_attention(model: str, config: Mapping[str, Any]) -> None:
    """Checks that each layer attends to all tokens before: the keys and values of a text then hold
    everything that a layer needs of it.

    Args:
        model: Its name, for the message.
        config: The configuration of transformers.

    Raises:
        InvalidInput: A layer has a sliding window, or is recurrent.
    """
    kind = config.get("model_type", "unknown")
    if kind in _RECURRENT:
        raise _unsuitable(f"{model} ({kind}) has recurrent layers; {_REMEDY}")
    others = _other_layers(config)
    if others:
        raise _unsuitable(f"{model} ({kind}) has layers with {others}; {_REMEDY}")


def context_tokens(path: Path) -> int:
    """Maximum tokens of an input, from a folder or a GGUF file; 2048 if the model does not say."""
    if path.is_file():
        return read_gguf_header(path).context_tokens or 2048
    config = read_json(path, "config.json")
    return next((int(config[name]) for name in _LENGTHS if config.get(name)), 2048)


def model_width(path: Path) -> int:
    """Length of a word vector, from a folder or a GGUF file; 0 if the model does not say."""
    if path.is_file():
        return read_gguf_header(path).width
    config = read_json(path, "config.json")
    names = ("word_embed_proj_dim", "hidden_size", "n_embd", "d_model")
    return next((int(config[name]) for name in names if config.get(name)), 0)


def _require_files(folder: Path) -> None:
    for name in ("config.json", "tokenizer.json"):
        if not (folder / name).is_file():
            files = sorted(file.name for file in folder.glob("*.gguf"))
            remedy = f"; to use a GGUF file, name it: {files[0]}" if files else ""
            raise NotFound(
                f"{folder.name} is not a causal language model: {name} is missing{remedy}",
                reason=REASON,
            )
    require_weights(folder)


def _require_head(model: str, config: Mapping[str, Any]) -> None:
    architecture = ", ".join(config.get("architectures") or ()) or "unknown"
    if not architecture.endswith(CAUSAL_HEADS):
        raise _unsuitable(
            f"{model} is not a causal language model: its architecture is {architecture}"
        )
    if config.get("quantization_config"):
        raise _unsuitable(
            f"{model} has quantised weights; use the model without quantisation, or a GGUF file"
        )


def _other_layers(config: Mapping[str, Any]) -> str:
    """What the layers have that do not attend to all tokens before; empty without such layers."""
    if config.get("layer_types"):
        kinds = sorted(set(config["layer_types"]) - {"full_attention", "attention"})
        return ", ".join(kind.replace("_", " ") for kind in kinds)
    if config.get("sliding_window") and config.get("use_sliding_window", True):
        return "a sliding window"
    return "local attention" if "local" in str(config.get("attention_types", "")) else ""


def _require_gguf(model: str, header: GgufHeader) -> None:
    architecture = header.architecture
    if header.parts > 1:
        raise _unsuitable(
            f"{model} is one of {header.parts} files of a model; merge them with llama-gguf-split"
        )
    if header.sliding_window:
        raise _unsuitable(f"{model} ({architecture}) has layers with a sliding window; {_REMEDY}")
    if architecture not in DEQUANTISED:
        raise _unsuitable(
            f"{model}: a GGUF file of the architecture {architecture or 'unknown'} cannot be "
            f"dequantised, only {', '.join(sorted(DEQUANTISED))}"
        )
    if header.scales_positions:
        raise _unsuitable(
            f"{model} scales its rotary positions, which is lost when a GGUF file is dequantised; "
            "use the model's safetensors"
        )
    if not header.tokenizer or "token_embd.weight" not in header.tensors:
        raise _unsuitable(f"{model} holds no tokenizer or no weights of a language model")


def _unsuitable(message: str) -> InvalidInput:
    return InvalidInput(message, reason=UNSUITABLE)
