"""What a text encoder's folder says of it, read without torch and without the weights."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from mentorgrad.errors import InvalidInput, NotFound
from mentorgrad.model_refs import REASON

UNSUITABLE = "MODEL_UNSUITABLE"
"""Reason of a model that is there and cannot be used."""

POOLINGS = {"pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "cls"}
"""Poolings that are built in, by their names in a sentence encoder's configuration."""

# RoBERTa and its kin count positions from behind the padding index.
_OFFSET_POSITIONS = frozenset({"roberta", "xlm-roberta", "camembert", "mpnet"})


def read_json(folder: Path, name: str) -> dict[str, Any]:
    """A JSON object in a model's folder; empty if there is no such file.

    Raises:
        InvalidInput: It is not JSON.
    """
    file = folder / name
    if not file.is_file():
        return {}
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except ValueError:
        raise InvalidInput(f"{folder.name}: {name} is not JSON", reason=UNSUITABLE) from None
    return content if isinstance(content, dict) else {}


def require_encoder(folder: Path) -> None:
    """Checks that a folder holds a text encoder that can be loaded.

    Raises:
        NotFound: A file is missing.
        InvalidInput: It pools in a way that is not built in.
    """
    for name in ("config.json", "tokenizer.json"):
        if not (folder / name).is_file():
            raise NotFound(f"{folder.name} is not a text encoder: no {name}", reason=REASON)
    if not any(folder.glob("*.safetensors")):
        raise NotFound(
            f"{folder.name} has no safetensors weights; others are not loaded", reason=REASON
        )
    pooling(folder)


def max_positions(folder: Path) -> int:
    """Longest sequence that a model's positions allow."""
    config = read_json(folder, "config.json")
    limit = int(config.get("max_position_embeddings", 512))
    return limit - 2 if config.get("model_type") in _OFFSET_POSITIONS else limit


def embedding_width(folder: Path) -> int:
    """Length of a word embedding; some models have narrower ones than their hidden states."""
    config = read_json(folder, "config.json")
    return int(config.get("embedding_size") or hidden_width(folder))


def hidden_width(folder: Path) -> int:
    """Length of a hidden state."""
    config = read_json(folder, "config.json")
    return int(config.get("hidden_size") or config.get("dim") or 1)


def max_text_tokens(folder: Path) -> int:
    """Where texts are cut: the sentence encoder's own limit, or that of the positions."""
    own = read_json(folder, "sentence_bert_config.json").get("max_seq_length")
    return min(max_positions(folder), int(own)) if own else max_positions(folder)


def pooling(folder: Path) -> str:
    """Mean over the tokens, unless a sentence encoder says otherwise.

    Raises:
        InvalidInput: A pooling that is not built in.
    """
    modes = read_json(folder, "1_Pooling/config.json")
    wanted = [name for name, on in modes.items() if name.startswith("pooling_mode_") and on is True]
    if not wanted:
        return "mean"
    if len(wanted) > 1 or wanted[0] not in POOLINGS:
        raise InvalidInput(
            f"{folder.name} pools by {', '.join(wanted)}, which is not built in", reason=UNSUITABLE
        )
    return POOLINGS[wanted[0]]


def model_digest(folder: Path) -> str:
    """SHA-256, in hexadecimal, over the weights, the configuration and the tokenizer."""
    digest = hashlib.sha256()
    names = ["config.json", "tokenizer.json", *sorted(p.name for p in folder.glob("*.safetensors"))]
    for name in names:
        with (folder / name).open("rb") as stream:
            digest.update(f"{name}\0".encode())
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()


class TokenCounter:
    """An encoder's tokenizer, only to count with.

    Raises:
        InvalidInput: ``tokenizer.json`` cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        from tokenizers import Tokenizer

        try:
            tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        except Exception as error:  # the library raises nothing narrower
            raise InvalidInput(
                f"{folder.name}: tokenizer.json cannot be read", reason=UNSUITABLE
            ) from error
        tokenizer.no_truncation()
        tokenizer.no_padding()
        self._tokenizer: Any = tokenizer

    def count(self, text: str) -> int:
        """Tokens of a text, without the marks of start and end."""
        return len(self._tokenizer.encode(text, add_special_tokens=False).ids)
