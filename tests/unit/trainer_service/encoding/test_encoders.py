"""The encoder, its files and the cache of embeddings."""

from __future__ import annotations

import json
import shutil
import threading
from pathlib import Path

import pytest
import torch

from mentorgrad.errors import InvalidInput, NotFound
from tests.support.numerics import CPU, encoder
from trainer_service import tensorfile
from trainer_service.encoding.embedding_cache import EmbeddingCache
from trainer_service.encoding.encoders import TextEncoder
from trainer_service.encoding.model_files import (
    TokenCounter,
    max_positions,
    max_text_tokens,
    model_digest,
    require_encoder,
)


@pytest.mark.slow
def test_texts_become_unit_vectors_and_meaning_is_near() -> None:
    refund, money, weather = encoder().encode(
        ["I want a refund", "Please give me my money back", "It rains in the mountains"]
    )
    for vector in (refund, money, weather):
        assert float(vector.norm()) == pytest.approx(1.0, abs=1e-5)
    assert float(refund @ money) > float(refund @ weather) + 0.2


def test_the_order_of_texts_is_kept_and_batches_do_not_matter() -> None:
    texts = ["a much longer text than all of the others here", "short", "of middle length"] * 3
    together = encoder().encode(texts, batch_size=9)
    apart = torch.cat([encoder().encode([text]) for text in texts])
    assert torch.allclose(together, apart, atol=1e-5)


def test_input_embeddings_give_what_token_ids_give() -> None:
    """Positions and layer norm are applied by the model, once."""
    text = "where is my parcel"
    ids = [encoder().tokens.start_id, *encoder().tokens.token_ids(text), encoder().tokens.end_id]
    padded = torch.tensor([[*ids, encoder().tokens.pad_id, encoder().tokens.pad_id]])
    mask = torch.tensor([[1] * len(ids) + [0, 0]])
    vector = encoder().encode_embeddings(encoder().tokens.vectors[padded], mask)
    assert torch.allclose(vector, encoder().encode([text]), atol=1e-5)


def test_texts_longer_than_the_model_allows_are_cut() -> None:
    long = "word " * 5000
    assert torch.allclose(encoder().encode([long]), encoder().encode([long + "more"]))


def test_nothing_of_the_encoder_is_trained() -> None:
    embeddings = torch.randn(1, 4, encoder().tokens.width, requires_grad=True)
    vector = encoder().encode_embeddings(embeddings, torch.ones(1, 4, dtype=torch.int64))
    vector.sum().backward()
    assert embeddings.grad is not None
    assert encoder().tokens.vectors.grad is None


def test_what_the_folder_says() -> None:
    folder = encoder().path
    assert max_positions(folder) == 512
    assert max_text_tokens(folder) == 256
    assert TokenCounter(folder).count("where is my parcel") == 4
    assert model_digest(folder) == encoder().digest


def copy_of_folder(target: Path, *names: str) -> Path:
    target.mkdir()
    for name in names:
        shutil.copy(encoder().path / name, target / name)
    return target


@pytest.mark.parametrize(
    ("names", "missing"),
    [
        ((), "config.json is missing"),
        (("config.json",), "tokenizer.json is missing"),
        (("config.json", "tokenizer.json"), "no safetensors weights"),
    ],
)
def test_an_incomplete_folder_says_what_is_missing(
    tmp_path: Path, names: tuple[str, ...], missing: str
) -> None:
    folder = copy_of_folder(tmp_path / "model", *names)
    (folder / "pytorch_model.bin").write_bytes(b"pickled")
    with pytest.raises(NotFound, match=missing) as caught:
        TextEncoder(folder, CPU)
    assert caught.value.reason == "MODEL_NOT_FOUND"


def test_an_unknown_pooling_is_refused(tmp_path: Path) -> None:
    folder = copy_of_folder(tmp_path / "model", "config.json", "tokenizer.json")
    (folder / "model.safetensors").write_bytes(b"\x02" + bytes(7) + b"{}")
    (folder / "1_Pooling").mkdir()
    modes = {"pooling_mode_max_tokens": True, "pooling_mode_mean_tokens": False}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(modes))
    with pytest.raises(InvalidInput, match="pooling_mode_max_tokens"):
        require_encoder(folder)


def test_broken_json_is_named(tmp_path: Path) -> None:
    folder = copy_of_folder(tmp_path / "model", "tokenizer.json")
    (folder / "config.json").write_text("{")
    with pytest.raises(InvalidInput, match=r"config\.json is not valid JSON"):
        max_positions(folder)


# -- the cache --------------------------------------------------------------------------------


class Counting:
    """Encodes a text as its length, and counts."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, texts: object) -> torch.Tensor:
        self.calls += 1
        return torch.tensor([[float(len(text)), 1.0] for text in texts])  # type: ignore[attr-defined]


def test_the_same_texts_are_encoded_once(tmp_path: Path) -> None:
    compute = Counting()
    first = EmbeddingCache(tmp_path).get(["a", "bb"], {"model": "m"}, compute)
    again = EmbeddingCache(tmp_path).get(["a", "bb"], {"model": "m"}, compute)
    assert torch.equal(first, again)
    assert compute.calls == 1


def test_what_is_read_lies_where_what_is_computed_lies(tmp_path: Path) -> None:
    # Sums over numbers at odd addresses round differently: a run would not repeat itself.
    compute = Counting()
    first = EmbeddingCache(tmp_path).get(["a", "bb"], {"model": "m"}, compute)
    again = EmbeddingCache(tmp_path).get(["a", "bb"], {"model": "m"}, compute)
    assert first.data_ptr() % 64 == again.data_ptr() % 64 == 0
    tensors, _ = tensorfile.load(tensorfile.save({"x": first, "y": again}, {"odd": "length"}))
    assert [tensor.data_ptr() % 64 for tensor in tensors.values()] == [0, 0]


@pytest.mark.parametrize(
    ("texts", "options"),
    [
        (["bb", "a"], {"model": "m"}),
        (["a", "bb"], {"model": "n"}),
        (["a", "bb"], {"model": "m", "max_tokens": 9}),
        (["a"], {"model": "m"}),
    ],
)
def test_anything_else_is_encoded_anew(
    tmp_path: Path, texts: list[str], options: dict[str, str | int]
) -> None:
    compute = Counting()
    cache = EmbeddingCache(tmp_path)
    cache.get(["a", "bb"], {"model": "m"}, compute)
    found = cache.get(texts, options, compute)
    assert compute.calls == 2
    assert found[:, 0].tolist() == [float(len(text)) for text in texts]


@pytest.mark.parametrize("damage", [b"", b"nonsense", b"\xff" * 100])
def test_a_damaged_file_is_encoded_again_and_mended(tmp_path: Path, damage: bytes) -> None:
    compute, cache = Counting(), EmbeddingCache(tmp_path)
    first = cache.get(["a"], {}, compute)
    (file,) = tmp_path.rglob("*.safetensors")
    file.write_bytes(damage)
    assert torch.equal(cache.get(["a"], {}, compute), first)
    cache.get(["a"], {}, compute)
    assert compute.calls == 2


def test_many_writers_leave_one_good_file(tmp_path: Path) -> None:
    texts = [f"text {n}" for n in range(200)]
    threads = [
        threading.Thread(target=EmbeddingCache(tmp_path).get, args=(texts, {}, Counting()))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 1
    unused = Counting()
    assert EmbeddingCache(tmp_path).get(texts, {}, unused).shape == (200, 2)
    assert unused.calls == 0


def test_a_cache_that_cannot_be_written_is_only_slower(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    compute = Counting()
    cache = EmbeddingCache(blocked)
    assert cache.get(["a"], {}, compute).shape == (1, 2)
    assert cache.get(["a"], {}, compute).shape == (1, 2)
    assert compute.calls == 2
    assert EmbeddingCache(None).get(["a"], {}, compute).shape == (1, 2)
