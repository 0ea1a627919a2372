"""Metadata from an encoder's folder, read without torch and without loading the weights."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mentorgrad.errors import InvalidInput, NotFound
from mentorgrad.model_refs import REASON
from trainer_service.encoding.weight_files import UNSUITABLE, require_weights

POOLINGS = {"pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "cls"}
"""Maps the sentence-transformers configuration keys of the supported poolings to their names."""

PROCESSOR = "preprocessor_config.json"
"""File that says how images are resized and normalised."""

CAUSAL_HEADS = ("ForCausalLM", "LMHeadModel")
"""Ends of the names of architectures that continue a text."""

_CLIP_TEXT = {"max_position_embeddings": 77, "hidden_size": 512}
"""What CLIP's configuration may leave out."""

# RoBERTa-like models start positions after the padding index.
_OFFSET_POSITIONS = frozenset({"roberta", "xlm-roberta", "camembert", "mpnet"})


def read_json(folder: Path, name: str) -> dict[str, Any]:
    """Reads a JSON object from a model's folder; empty if the file does not exist.

    Raises:
        InvalidInput: The file is not valid JSON.
    """
    file = folder / name
    if not file.is_file():
        return {}
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except ValueError:
        raise InvalidInput(f"{folder.name}: {name} is not valid JSON", reason=UNSUITABLE) from None
    return content if isinstance(content, dict) else {}


def require_encoder(folder: Path) -> None:
    """Checks that a folder holds a text encoder that can be loaded.

    Raises:
        NotFound: A file is missing.
        InvalidInput: It is an encoder of images, or the model's pooling is not supported.
    """
    _require_files(folder, "a text encoder", "config.json", "tokenizer.json")
    if is_clip(folder):
        raise InvalidInput(
            f"{folder.name} is CLIP, which is for images; use a text encoder", reason=UNSUITABLE
        )
    pooling(folder)


def require_clip(folder: Path) -> None:
    """Checks that a folder holds CLIP, which encodes texts and images, and can be loaded.

    Raises:
        NotFound: A file is missing.
        InvalidInput: It is another model.
    """
    _require_files(folder, "an encoder of images", "config.json")
    if not is_clip(folder):
        kind = read_json(folder, "config.json").get("model_type", "unknown")
        raise InvalidInput(
            f"{folder.name} ({kind}) is no encoder of images; use CLIP",
            reason=UNSUITABLE,
        )
    _require_files(folder, "an encoder of images", "tokenizer.json", PROCESSOR)


def is_clip(folder: Path) -> bool:
    """Whether a folder's model is CLIP."""
    return read_json(folder, "config.json").get("model_type") == "clip"


def _require_files(folder: Path, what: str, *names: str) -> None:
    for name in names:
        if not (folder / name).is_file():
            raise NotFound(f"{folder.name} is not {what}: {name} is missing", reason=REASON)
    require_weights(folder)


def _text_config(folder: Path) -> dict[str, Any]:
    """Configuration of the model, or of that of its parts which encodes texts."""
    config = read_json(folder, "config.json")
    return config if not is_clip(folder) else _CLIP_TEXT | config.get("text_config", {})


def max_positions(folder: Path) -> int:
    """Maximum sequence length that the model's positions allow, in tokens."""
    config = _text_config(folder)
    limit = int(config.get("max_position_embeddings", 512))
    return limit - 2 if config.get("model_type") in _OFFSET_POSITIONS else limit


def embedding_width(folder: Path) -> int:
    """Size of a word embedding; in some models smaller than the hidden size."""
    config = _text_config(folder)
    return int(config.get("embedding_size") or hidden_width(folder))


def hidden_width(folder: Path) -> int:
    """Size of a hidden state."""
    config = _text_config(folder)
    return int(config.get("hidden_size") or config.get("dim") or 1)


def max_text_tokens(folder: Path) -> int:
    """Maximum tokens per text: the smaller of the sentence encoder's limit and `max_positions`."""
    own = read_json(folder, "sentence_bert_config.json").get("max_seq_length")
    return min(max_positions(folder), int(own)) if own else max_positions(folder)


def pooling(folder: Path) -> str:
    """Name of the model's pooling; ``mean`` unless its configuration says otherwise.

    Raises:
        InvalidInput: The pooling is not supported.
    """
    modes = read_json(folder, "1_Pooling/config.json")
    wanted = [name for name, on in modes.items() if name.startswith("pooling_mode_") and on is True]
    if not wanted:
        return "mean"
    if len(wanted) > 1 or wanted[0] not in POOLINGS:
        raise InvalidInput(
            f"{folder.name}: pooling {', '.join(wanted)} is not supported", reason=UNSUITABLE
        )
    return POOLINGS[wanted[0]]


def model_digest(folder: Path) -> str:
    """Hex SHA-256 over the weights, the configuration and the tokenizer; for an encoder of images,
    its preprocessing too."""
    digest = hashlib.sha256()
    names = ["config.json", "tokenizer.json", *sorted(p.name for p in folder.glob("*.safetensors"))]
    names += [PROCESSOR] if is_clip(folder) else []
    for name in names:
        with (folder / name).open("rb") as stream:
            digest.update(f"{name}\0".encode())
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()


def _unknown_token(model: Mapping[str, Any]) -> str | None:
    """What a tokenizer's model writes for what it does not know; None: it knows everything."""
    if (place := model.get("unk_id")) is not None:  # of unigrams
        return str(model["vocab"][place][0])
    return model.get("unk_token")


class TokenCounter:
    """Counts tokens with an encoder's tokenizer.

    Raises:
        InvalidInput: ``tokenizer.json`` cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        from tokenizers import Tokenizer

        try:
            tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        except Exception as error:  # the library raises plain Exception
            raise InvalidInput(
                f"{folder.name}: tokenizer.json cannot be read", reason=UNSUITABLE
            ) from error
        tokenizer.no_truncation()
        tokenizer.no_padding()
        self._tokenizer: Any = tokenizer
        self._folder = folder

    def require_marks(self) -> None:
        """Checks that texts get a start and an end token, as encoders have them.

        Raises:
            InvalidInput: It is the tokenizer of a language model.
        """
        heads = read_json(self._folder, "config.json").get("architectures") or ["unknown"]
        # Of other models, transformers may know marks that the file does not put around a text.
        if heads[0].endswith(CAUSAL_HEADS) and len(self._tokenizer.encode("").ids) < 2:
            raise InvalidInput(
                f"{self._folder.name} is a causal language model, not a text encoder: its "
                f"architecture is {heads[0]}",
                reason=UNSUITABLE,
            )

    def count(self, text: str) -> int:
        """Number of tokens of a text, without special tokens."""
        return len(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def unknown(self, texts: Iterable[str]) -> float:
        """Share of the tokens of some texts that the model does not know."""
        unknown = _unknown_token(json.loads(self._tokenizer.to_str())["model"])
        encoded = self._tokenizer.encode_batch(list(texts), add_special_tokens=False)
        tokens = [token for one in encoded for token in one.tokens]
        return tokens.count(unknown) / max(1, len(tokens))
