"""Encoders of a few thousand weights, made by the tests: quick, and of several architectures."""

from __future__ import annotations

import string
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

WORDS = [
    *("this", "that", "good", "bad", "movie", "film", "plot", "actor", "story", "score", "fine"),
    *("awful", "great", "poor", "slow", "fast", "dull", "bright", "warm", "cold", "long", "short"),
    *("rain", "sun", "bread", "cheese", "money", "bank", "river", "car", "train", "plane"),
]
TEXTS = [f"{a} {b} {c}" for a in WORDS[:6] for b in WORDS[6:10] for c in WORDS[10:14]]


def make(folder: Path, kind: str = "bert", **fields: Any) -> Path:
    """Saves a random encoder with its tokenizer.

    Args:
        folder: Where to.
        kind: ``bert``, ``roberta`` (a byte-level vocabulary), ``distilbert``, ``electra`` (word
            embeddings narrower than hidden states) or ``modernbert``.
        **fields: Of its configuration.
    """
    from transformers import AutoConfig, AutoModel

    tokenizer = _byte_level() if kind == "roberta" else _word_pieces()
    config = AutoConfig.for_model(kind, **(_sizes(kind, len(tokenizer)) | fields))
    torch.manual_seed(1)
    model = AutoModel.from_config(config)
    for parameter in model.parameters():  # far enough from the start for hidden states to differ
        parameter.data += 0.2 * torch.randn_like(parameter)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _sizes(kind: str, vocabulary: int) -> dict[str, Any]:
    common: dict[str, Any] = {"vocab_size": vocabulary, "pad_token_id": 0}
    if kind == "distilbert":
        return common | {"dim": 16, "n_layers": 1, "n_heads": 2, "hidden_dim": 32}
    common |= {
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "max_position_embeddings": 40,
    }
    marks = {"bos_token_id": 2, "eos_token_id": 3, "cls_token_id": 2, "sep_token_id": 3}
    return (
        common
        | {"electra": {"embedding_size": 8}, "modernbert": marks}.get(kind, {})
        | ({"pad_token_id": 1, "max_position_embeddings": 42} if kind == "roberta" else {})
    )


def _wrapped(
    tokenizer: Tokenizer, pad: str, unknown: str, start: str, end: str, **others: Any
) -> Any:
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=pad,
        unk_token=unknown,
        cls_token=start,
        sep_token=end,
        **others,
    )


def _word_pieces() -> Any:
    letters = [f"##{letter}" for letter in string.ascii_lowercase]
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS, *string.ascii_lowercase, *letters]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    names = ["input_ids", "token_type_ids", "attention_mask"]
    return _wrapped(tokenizer, "[PAD]", "[UNK]", "[CLS]", "[SEP]", model_input_names=names)


def _byte_level() -> Any:
    tokens = ["<s>", "<pad>", "</s>", "<unk>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    merges: list[tuple[str, str]] = []
    for word in WORDS:
        for spelled in (f"Ġ{word}", word):
            built = spelled[0]
            for letter in spelled[1:]:
                if (built, letter) not in merges:
                    merges.append((built, letter))
                    tokens.append(built + letter)
                built += letter
    vocabulary = {token: index for index, token in enumerate(dict.fromkeys(tokens))}
    tokenizer = Tokenizer(models.BPE(vocabulary, merges, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.RobertaProcessing(
        ("</s>", 2), ("<s>", 0), trim_offsets=True, add_prefix_space=False
    )
    return _wrapped(tokenizer, "<pad>", "<unk>", "<s>", "</s>")
