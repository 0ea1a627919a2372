"""Models of a few thousand weights, made by the tests: encoders and causal language models of
several architectures."""

from __future__ import annotations

import string
from pathlib import Path
from typing import Any

import torch
from tokenizers import (
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import PreTrainedTokenizerFast

from trainer_service.encoding import tiny_clip

WORDS = [
    *("this", "that", "good", "bad", "movie", "film", "plot", "actor", "story", "score", "fine"),
    *("awful", "great", "poor", "slow", "fast", "dull", "bright", "warm", "cold", "long", "short"),
    *("rain", "sun", "bread", "cheese", "money", "bank", "river", "car", "train", "plane"),
]
TEXTS = [f"{a} {b} {c}" for a in WORDS[:6] for b in WORDS[6:10] for c in WORDS[10:14]]

SENTENCES = [
    "Text: the movie was good and the actor was great",
    "Text: a dull film with a poor plot and a slow story",
    "Answer: positive",
    "Answer: negative",
    "The answer is one of these words: good, bad, great, awful, fine, poor.",
    "My card was lost on the train and the bank wants money for a new card.",
    "Is this message about sport, business, science or the world?",
    "Long rain and cold wind in the north, warm sun in the south.",
    "They bought bread and cheese, then they drove the car along the river.",
    "What is the sentiment of this review? Say yes or no.",
]


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


def make_causal(
    folder: Path, kind: str = "llama", *, bos: bool = False, tied: bool = True, **fields: Any
) -> Path:
    """Saves a random causal language model with a byte-level BPE tokenizer.

    Args:
        folder: Where to.
        kind: ``llama``, ``qwen2``, ``gpt2``, ``gemma2`` (a sliding window in one of two layers),
            ``gemma3_text`` (scaled word vectors, sliding windows), ``mistral`` (a sliding window
            in all layers), ``cohere`` or ``granite`` (scaled logits), or ``mamba``.
        bos: Whether the tokenizer starts texts with ``<s>``.
        tied: Whether the output matrix is the word embeddings.
        **fields: Of its configuration.
    """
    from transformers import AutoConfig, AutoModelForCausalLM

    tokenizer = _trained_bytes(bos)
    sizes = _causal_sizes(kind, len(tokenizer)) | {"tie_word_embeddings": tied}
    config = AutoConfig.for_model(kind, **(sizes | fields))
    torch.manual_seed(1)
    model = AutoModelForCausalLM.from_config(config)
    with torch.no_grad():  # far enough from zero for logits to differ
        for parameter in model.parameters():
            parameter += 0.2 * torch.randn_like(parameter)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def make_clip(folder: Path, **fields: Any) -> Path:
    """Saves a random CLIP that knows `WORDS`; `fields` are of its text model's configuration."""
    return tiny_clip.make(folder, WORDS, **{"max_position_embeddings": 24, **fields})


def _causal_sizes(kind: str, vocabulary: int) -> dict[str, Any]:
    common = {"vocab_size": vocabulary, "pad_token_id": 2, "bos_token_id": 0, "eos_token_id": 1}
    if kind == "gpt2":
        return common | {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 128}
    if kind == "mamba":
        return common | {"hidden_size": 16, "num_hidden_layers": 2, "state_size": 4}
    common |= {
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "intermediate_size": 32,
        "max_position_embeddings": 128,
    }
    own: dict[str, dict[str, Any]] = {
        "gemma2": {"head_dim": 8, "sliding_window": 8},
        "gemma3_text": {"head_dim": 8, "sliding_window": 8},
        "mistral": {"sliding_window": 8},
        "cohere": {"logit_scale": 0.25},
        "granite": {"logits_scaling": 4.0},
    }
    return common | own.get(kind, {})


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


def _trained_bytes(bos: bool) -> Any:
    """A byte-level BPE tokenizer as GPT-2's, with tokens for the words of `SENTENCES`."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        special_tokens=["<s>", "</s>", "<pad>"],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    # Each sentence twice, for rare pairs to be merged too.
    tokenizer.train_from_iterator([*SENTENCES, " ".join(WORDS), " ".join(WORDS)] * 2, trainer)
    if bos:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="<s> $A", pair="<s> $A $B:1", special_tokens=[("<s>", 0)]
        )
    # Without an unknown token, the loader of some architectures adds one past the vocabulary.
    marks = {"eos_token": "</s>", "pad_token": "<pad>", "unk_token": "</s>"}
    marks |= {"bos_token": "<s>"} if bos else {}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **marks)
