"""Frozen causal language models of several architectures, and those that are refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from mentorgrad.errors import InvalidInput, MentorgradError, NotFound, ResourceExhausted
from tests.support.numerics import CPU
from tests.support.tiny_models import make, make_causal
from trainer_service.encoding.causal_files import (
    context_tokens,
    model_width,
    require_causal_model,
    require_full_attention,
)
from trainer_service.encoding.causal_model import CausalModel
from trainer_service.encoding.dtypes import dtype_name
from trainer_service.encoding.memory import memory_for
from trainer_service.encoding.weight_files import UNSUITABLE

FULL: dict[str, dict[str, Any]] = {
    "llama": {},
    "qwen2": {},
    "gpt2": {},
    "cohere": {},
    "granite": {},
    "gemma3_text": {"layer_types": ["full_attention"] * 2, "final_logit_softcapping": 0.5},
}
"""Fields with which each kind attends to all tokens before."""


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_causal(tmp_path_factory.mktemp("llama"), bos=True)


@pytest.fixture
def changed(llama: Path, tmp_path: Path) -> Any:
    """The folder of a llama whose configuration has some fields changed."""

    def change(**fields: Any) -> Path:
        folder = tmp_path / "model"
        shutil.copytree(llama, folder)
        config = json.loads((folder / "config.json").read_text()) | fields
        (folder / "config.json").write_text(json.dumps(config))
        return folder

    return change


def _ids(model: CausalModel) -> Tensor:
    return torch.tensor([model.tokens.token_ids("Text: the movie was good Answer:")])


@pytest.mark.parametrize(
    ("kind", "tied"),
    [
        pytest.param(kind, tied, marks=pytest.mark.campaign if n and tied == n % 2 else ())
        for n, kind in enumerate(FULL)
        for tied in (True, False)
    ],
)
def test_word_vectors_and_output_rows_give_the_models_own_logits(
    kind: str, tied: bool, tmp_path: Path
) -> None:
    model = CausalModel(make_causal(tmp_path, kind, tied=tied, **FULL[kind]), CPU)
    ids = _ids(model)
    expected = model.network(input_ids=ids).logits
    vectors = model.tokens.vectors[ids].requires_grad_()
    hidden = model.hidden(vectors, torch.ones_like(ids), torch.arange(ids.shape[1]).unsqueeze(0))
    labels = [300, 7, 301]
    assert torch.allclose(model.all_logits(hidden), expected, atol=1e-5)
    logits = model.label_logits(hidden[:, -1], labels)
    assert torch.allclose(logits, expected[:, -1, labels], atol=1e-5)
    assert model.output_rows(labels).shape == (3, hidden.shape[-1])
    logits.sum().backward()  # type: ignore[no-untyped-call]
    assert vectors.grad is not None
    assert vectors.grad.abs().sum() > 0
    matrices = (model.network.get_input_embeddings(), model.network.get_output_embeddings())
    assert (matrices[0].weight is matrices[1].weight) == tied
    assert not any(weight.requires_grad for weight in model.network.parameters())


def test_a_cache_of_the_text_gives_what_the_whole_gives(llama: Path) -> None:
    from transformers import DynamicCache

    model = CausalModel(llama, CPU)
    ids = _ids(model)
    vectors, mask = model.tokens.vectors[ids], torch.ones_like(ids)
    positions = torch.arange(ids.shape[1]).unsqueeze(0)
    whole = model.hidden(vectors, mask, positions)
    cache = DynamicCache()
    model.hidden(vectors[:, :4], mask[:, :4], positions[:, :4], cache, use_cache=True)
    rest = model.hidden(vectors[:, 4:], mask, positions[:, 4:], cache, use_cache=True)
    assert torch.allclose(rest, whole[:, 4:], atol=1e-5)


def test_what_is_known_of_a_model(llama: Path, tmp_path: Path) -> None:
    model = CausalModel(llama, CPU)
    assert (model.dtype, model.max_tokens, model.tokens.width) == ("float32", 128, 16)
    assert (context_tokens(llama), model_width(llama)) == (128, 16)
    assert model.tokens.start_id == model.tokenizer.bos_token_id
    assert model.tokens.end_id == model.tokenizer.eos_token_id
    assert model.tokens.text_of(model.tokens.token_ids("good movie")) == "good movie"
    assert model.digest == CausalModel(llama, CPU).digest
    other = CausalModel(make_causal(tmp_path, "gpt2"), CPU)
    assert (other.max_tokens, model_width(tmp_path)) == (128, 16)
    assert other.tokens.start_id == other.tokens.end_id == other.tokenizer.eos_token_id
    assert other.digest != model.digest


def test_other_dtypes_have_float32_word_vectors_and_logits(llama: Path) -> None:
    model = CausalModel(llama, CPU, "bfloat16")
    assert model.network.dtype is torch.bfloat16
    assert model.tokens.vectors.dtype is torch.float32
    ids = _ids(model)
    hidden = model.hidden(model.tokens.vectors[ids])
    assert hidden.dtype is torch.bfloat16
    assert model.all_logits(hidden).dtype is model.label_logits(hidden, [3]).dtype is torch.float32
    assert dtype_name("auto", torch.device("cuda")) == "bfloat16"
    assert dtype_name("float16", CPU) == "float16"


def test_tokens_without_a_vector_are_no_words(llama: Path, tmp_path: Path) -> None:
    folder = tmp_path / "more"
    shutil.copytree(llama, folder)
    model = CausalModel(folder, CPU)
    model.tokenizer.add_special_tokens({"additional_special_tokens": ["<extra>"]})
    model.tokenizer.save_pretrained(folder)
    more = CausalModel(folder, CPU)
    assert len(more.tokenizer) > len(more.tokens.vectors)
    assert max(more.tokens.vocabulary().values()) < len(more.tokens.vectors)


def test_a_model_that_scales_its_logits_in_an_unknown_way_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_causal(tmp_path, "granite")
    monkeypatch.setattr(CausalModel, "_finished", lambda self, products: products)
    with pytest.raises(InvalidInput, match=r"\(granite\) makes its logits") as refused:
        CausalModel(folder, CPU)
    assert refused.value.reason == UNSUITABLE


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        ("gemma2", "sliding attention"),
        ("gemma3_text", "sliding attention"),
        ("mistral", "a sliding window"),
        ("mamba", "recurrent layers"),
    ],
)
def test_layers_that_do_not_attend_to_everything_are_refused(
    kind: str, why: str, tmp_path: Path
) -> None:
    folder = make_causal(tmp_path / "model", kind)
    with pytest.raises(InvalidInput, match=rf"\({kind}\) has .*{why}; use a model") as refused:
        require_causal_model(folder)
    assert refused.value.reason == UNSUITABLE


def test_a_sliding_window_by_default_is_found_when_the_model_is_loaded(tmp_path: Path) -> None:
    folder = make_causal(tmp_path / "model", "mistral")
    config = json.loads((folder / "config.json").read_text())
    for name in ("sliding_window", "layer_types"):
        config.pop(name, None)
    (folder / "config.json").write_text(json.dumps(config))
    require_causal_model(folder)
    with pytest.raises(InvalidInput, match="a sliding window"):
        CausalModel(folder, CPU)


def test_an_attention_that_torch_has_no_kernel_for_is_refused(tmp_path: Path) -> None:
    folder = make_causal(tmp_path, "gemma2", layer_types=["full_attention"] * 2)
    with pytest.raises(InvalidInput, match="an attention that torch's kernels lack"):
        CausalModel(folder, CPU)


@pytest.mark.parametrize(
    "fields",
    [
        {"sliding_window": 32, "use_sliding_window": False},
        {"sliding_window": None},
        {"sliding_window": 32, "layer_types": ["full_attention", "full_attention"]},
    ],
)
def test_a_sliding_window_that_no_layer_uses_is_allowed(fields: dict[str, Any]) -> None:
    require_full_attention("model", {"model_type": "qwen2", **fields})


def test_local_attention_is_refused() -> None:
    fields = {"model_type": "gpt_neo", "attention_types": [[["global", "local"], 12]]}
    with pytest.raises(InvalidInput, match="local attention"):
        require_full_attention("model", fields)


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"architectures": ["LlamaModel"]}, "not a causal language model.*LlamaModel"),
        ({"architectures": None}, "not a causal language model.*unknown"),
        ({"quantization_config": {"quant_method": "awq"}}, "quantised weights.*a GGUF file"),
    ],
)
def test_a_model_without_a_head_or_with_quantised_weights_is_refused(
    fields: dict[str, Any], why: str, changed: Any
) -> None:
    with pytest.raises(InvalidInput, match=why) as refused:
        require_causal_model(changed(**fields))
    assert refused.value.reason == UNSUITABLE


def test_an_encoder_is_no_causal_model(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="BertModel"):
        require_causal_model(make(tmp_path))


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors"])
def test_a_missing_file_is_named(name: str, changed: Any) -> None:
    folder = changed()
    (folder / name).unlink()
    (folder / "some.gguf").touch()
    with pytest.raises(NotFound, match="safetensors" if "model" in name else name) as missing:
        require_causal_model(folder)
    assert ("name it: some.gguf" in missing.value.message) == (name != "model.safetensors")


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"model_type": "no_such_type"}, InvalidInput),
        ({"num_hidden_layers": 3}, InvalidInput),  # no weights for the third
    ],
)
def test_what_cannot_be_loaded_is_an_error_of_the_model(
    fields: dict[str, Any], error: type[MentorgradError], changed: Any
) -> None:
    with pytest.raises(error, match="model "):
        CausalModel(changed(**fields), CPU)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"),
    ],
)
def test_a_lack_of_memory_names_what_would_do(error: Exception) -> None:
    with (
        pytest.raises(ResourceExhausted, match="not enough memory to load it; use a smaller model"),
        memory_for("load it", "use a smaller model"),
    ):
        raise error
    with pytest.raises(RuntimeError, match="shape"), memory_for("load it", "use another"):
        raise RuntimeError("shapes do not match")


def test_a_part_of_the_hidden_states_is_not_multiplied_by_copies_of_the_matrix(llama: Path) -> None:
    from torch.profiler import ProfilerActivity, profile

    model = CausalModel(llama, CPU)
    part = torch.randn(5, 9, 16)[:, 6:]
    with torch.no_grad(), profile(activities=[ProfilerActivity.CPU]) as profiler:
        logits = model.all_logits(part)
    assert torch.allclose(logits, model.all_logits(part.contiguous()), atol=1e-5)
    assert "aten::bmm" not in {event.key for event in profiler.key_averages()}
