"""A CLIP of a few thousand random weights: it shows that a run on images works, and nothing else.

python -m trainer_service.encoding.tiny_clip FOLDER
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import pre_tokenizers
from transformers import CLIPConfig, CLIPModel, CLIPTokenizer
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

WORDS = (
    *("photo", "picture", "drawing", "small", "large", "bright", "dark", "old", "new", "round"),
    *("red", "green", "blue", "near", "far", "sharp", "soft", "this", "that", "with"),
)
"""Words of the default tokenizer, which a run projects to."""

_PIXELS = 16
_SIZES = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "projection_dim": 12,
}


def make(folder: Path, words: Sequence[str] = WORDS, **fields: Any) -> Path:
    """Saves a random CLIP for images of 16 by 16 pixels, with tokenizer and image processor.

    Args:
        folder: Where to; created if it does not exist.
        words: Words that are tokens; others consist of letters.
        **fields: Of the configuration of the text model.

    Returns:
        The folder.
    """
    tokenizer = _tokenizer(words)
    marks = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    text = {"vocab_size": len(tokenizer), "max_position_embeddings": 77, "pad_token_id": 1}
    config = CLIPConfig(
        text_config=_SIZES | text | marks | fields,
        vision_config=_SIZES | {"image_size": _PIXELS, "patch_size": _PIXELS // 2},
        projection_dim=_SIZES["projection_dim"],
    )
    torch.manual_seed(1)
    model = CLIPModel(config)
    with torch.no_grad():  # far enough from zero for embeddings to differ
        for name, parameter in model.named_parameters():
            if name != "logit_scale":
                parameter += 0.2 * torch.randn_like(parameter)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    size = {"height": _PIXELS, "width": _PIXELS}
    CLIPImageProcessorPil(size={"shortest_edge": _PIXELS}, crop_size=size).save_pretrained(folder)
    return folder


def _tokenizer(words: Sequence[str]) -> Any:
    """CLIP's own tokenizer, with the letters and the words; a token that ends a word is marked."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = [*alphabet, *(f"{letter}</w>" for letter in alphabet)]
    merges: dict[tuple[str, str], None] = {}
    for word in words:
        built, *rest = [*word[:-1], f"{word[-1]}</w>"]
        for piece in rest:
            merges[built, piece] = None
            built += piece
            tokens.append(built)
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    vocabulary = {token: index for index, token in enumerate(dict.fromkeys(tokens))}
    return CLIPTokenizer(vocab=vocabulary, merges=list(merges))


if __name__ == "__main__":
    make(Path(sys.argv[1]))
