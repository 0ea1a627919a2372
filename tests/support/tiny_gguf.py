"""GGUF files of a few thousand weights, written by the tests as llama.cpp's converter does."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

_KEYS = {
    "context_length": "max_position_embeddings",
    "embedding_length": "hidden_size",
    "block_count": "num_hidden_layers",
    "feed_forward_length": "intermediate_size",
    "attention.head_count": "num_attention_heads",
    "attention.head_count_kv": "num_key_value_heads",
    "rope.dimension_count": "head_dim",
    "vocab_size": "vocab_size",
}


def write_gguf(
    file: Path,
    folder: Path,
    *,
    architecture: str = "llama",
    others: Mapping[str, Any] | None = None,
    leave_out: str = "none of them",
) -> Path:
    """Writes a Llama that `make_causal` saved as a GGUF file in float32.

    Args:
        file: Where to.
        folder: The saved model.
        architecture: What the file says that it is.
        others: Further keys and values.
        leave_out: Name of a tensor that is not written.
    """
    import gguf
    from safetensors.numpy import load_file

    config = json.loads((folder / "config.json").read_text())
    writer = gguf.GGUFWriter(file, architecture)
    writer.add_name("tiny")
    for key, name in _KEYS.items():
        writer.add_uint32(f"{architecture}.{key}", config[name])
    writer.add_float32(f"{architecture}.attention.layer_norm_rms_epsilon", config["rms_norm_eps"])
    for key, value in (others or {}).items():
        add = writer.add_string if isinstance(value, str) else writer.add_uint32
        add(key, value)
    _write_tokenizer(writer, folder)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config["num_hidden_layers"])
    for name, weights in load_file(folder / "model.safetensors").items():
        written = names.get_name(name, try_suffixes=(".weight",))
        if written != leave_out:
            writer.add_tensor(written, _arranged(name, weights, config))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


def _write_tokenizer(writer: Any, folder: Path) -> None:
    document = json.loads((folder / "tokenizer.json").read_text())
    vocabulary: dict[str, int] = document["model"]["vocab"]
    tokens = sorted(vocabulary, key=vocabulary.__getitem__)
    special = {token["content"] for token in document["added_tokens"]}
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types([3 if token in special else 1 for token in tokens])
    writer.add_token_merges([" ".join(pair) for pair in document["model"]["merges"]])
    writer.add_eos_token_id(vocabulary["</s>"])
    writer.add_pad_token_id(vocabulary["<pad>"])


def _arranged(name: str, weights: np.ndarray, config: dict[str, Any]) -> np.ndarray:
    """llama.cpp turns neighbouring pairs of numbers by rotary positions, and transformers the two
    halves of a head."""
    heads = {"q_proj": "num_attention_heads", "k_proj": "num_key_value_heads"}
    count = next((config[key] for part, key in heads.items() if part in name), None)
    if count is None:
        return weights
    halves = weights.reshape(count, 2, weights.shape[0] // count // 2, *weights.shape[1:])
    return np.ascontiguousarray(halves.swapaxes(1, 2).reshape(weights.shape))
