"""The real small model, dequantised, beside llama.cpp with the same file."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from mentorgrad.model_refs import DEFAULT_MENTOR_MODEL, resolve
from service_common.llama.runtime import Runtime
from tests.support.numerics import CPU
from tests.support.real_causal import smollm2_folder
from trainer_service.encoding.causal_model import CausalModel
from trainer_service.encoding.gguf_files import file_digest

TEXTS = (
    "Text: the movie was good\nAnswer:",
    " My card hasn't arrived, and it's been 12 days!",
    "Grüße, 你好 🦋\n\ttabs  two spaces",
    "<|im_start|>user\nHello<|im_end|>\n",
)


@pytest.fixture(scope="module")
def model() -> CausalModel:
    torch.set_num_threads(1)
    return CausalModel(smollm2_folder(), CPU)


@pytest.fixture(scope="module")
def runtime() -> Iterator[Runtime]:
    made = Runtime(resolve(DEFAULT_MENTOR_MODEL), threads=1, gpu_layers=None, context=256)
    yield made
    made.close()


@pytest.mark.slow
def test_texts_have_the_tokens_that_llama_cpp_has(model: CausalModel, runtime: Runtime) -> None:
    for text in TEXTS:
        ids = model.tokenizer(text, add_special_tokens=False)["input_ids"]
        assert ids == runtime.tokenize(text)


@pytest.mark.slow
def test_logits_are_those_of_llama_cpp(model: CausalModel, runtime: Runtime) -> None:
    for text in TEXTS:
        ids = runtime.tokenize(text)
        runtime.cut(0, 0)
        expected = runtime.read(ids, 0, 0).copy()
        with torch.no_grad():
            hidden = model.hidden(model.tokens.vectors[torch.tensor([ids])])
            logits = model.all_logits(hidden)[0, -1].numpy()
        # llama.cpp rounds hidden states to eight bits as well.
        assert np.corrcoef(logits, expected)[0, 1] > 0.99


@pytest.mark.slow
def test_the_words_and_the_output_are_one_matrix(model: CausalModel) -> None:
    head, words = model.network.lm_head.weight, model.network.model.embed_tokens.weight
    assert head is words
    assert model.tokens.vectors.data_ptr() == words.data_ptr()
    assert (model.max_tokens, model.tokens.width) == (8192, 576)
    assert model.digest == file_digest(resolve(DEFAULT_MENTOR_MODEL))
