"""CLIP as an encoder: what transformers computes, on both sides."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from mentorgrad.errors import InvalidInput, NotFound
from tests.support.numerics import CPU, tiny_encoder
from tests.support.tiny_models import make, make_clip
from trainer_service.encoding.clip import ClipEncoder
from trainer_service.encoding.embedding_cache import EmbeddingCache
from trainer_service.encoding.encoders import TextEncoder
from trainer_service.encoding.model_files import model_digest, require_clip, require_encoder
from trainer_service.encoding.projection import Vocabulary

TEXTS = ["good movie", "rain", "a long dull story on the train"]
COLOURS = [(200, 10, 10), (10, 200, 10), (0, 0, 0)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clip(tmp_path_factory.mktemp("models") / "clip")


@pytest.fixture(scope="module")
def clip(folder: Path) -> ClipEncoder:
    return ClipEncoder(folder, CPU)


def unit(vectors: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.normalize(vectors, dim=-1)


def picture(index: int) -> Image.Image:
    return Image.new("RGB", (24, 20), COLOURS[index])


@torch.no_grad()
def test_texts_and_images_are_encoded_as_by_transformers(folder: Path, clip: ClipEncoder) -> None:
    from transformers import AutoTokenizer, CLIPModel
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    model = CLIPModel.from_pretrained(folder).eval()
    words = AutoTokenizer.from_pretrained(folder)(TEXTS, padding=True, return_tensors="pt")
    texts = unit(model.get_text_features(**words).pooler_output)
    torch.testing.assert_close(clip.encode(TEXTS), texts, rtol=0.0, atol=1e-6)
    processor = CLIPImageProcessorPil.from_pretrained(folder)
    pixels = processor([picture(index) for index in range(3)], return_tensors="pt")
    images = unit(model.get_image_features(**pixels).pooler_output)
    found = clip.embed_images(["a", "b", "c"], picture, EmbeddingCache(None))
    torch.testing.assert_close(found, images, rtol=0.0, atol=1e-6)
    assert clip.temperature == pytest.approx(1.0 / float(model.logit_scale.exp()))


def test_input_embeddings_give_what_token_ids_give(clip: ClipEncoder) -> None:
    tokens = clip.tokens
    ids = [tokens.start_id, *tokens.token_ids("good movie"), tokens.end_id]
    padded = torch.tensor([[*ids, tokens.pad_id, tokens.pad_id]])
    vectors = tokens.vectors[padded].requires_grad_()
    (found,) = clip.encode_embeddings(vectors, torch.tensor([[1] * len(ids) + [0, 0]]))
    torch.testing.assert_close(found, clip.encode(["good movie"])[0], rtol=0.0, atol=1e-6)
    (gradient,) = torch.autograd.grad(found[0], vectors)
    norms = gradient[0].norm(dim=-1)
    assert float(norms[: len(ids)].min()) > 0.0
    assert float(norms[len(ids) :].max()) == 0.0, "what stands behind the end does not count"


def test_words_are_read_again_as_they_are_written(clip: ClipEncoder) -> None:
    ids = clip.tokens.token_ids("good movie in the rain")
    assert clip.tokens.text_of(ids) == "good movie in the rain"
    words = Vocabulary.of(clip.tokens, whole_words=True).words
    assert {"good", "movie"} <= set(words.values())


def test_images_are_encoded_once(clip: ClipEncoder, tmp_path: Path) -> None:
    cache = EmbeddingCache(tmp_path)
    loaded: list[int] = []

    def load(index: int) -> Image.Image:
        loaded.append(index)
        return picture(index)

    first = clip.embed_images(["a", "b"], load, cache)
    assert torch.equal(clip.embed_images(["a", "b"], load, cache), first)
    assert loaded == [0, 1]
    clip.embed_images(["a", "other"], load, cache)
    assert loaded == [0, 1, 0, 1]


def test_each_kind_of_encoder_is_refused_for_the_other(folder: Path, tmp_path: Path) -> None:
    text = make(tmp_path / "bert")
    require_clip(folder)
    require_encoder(text)
    with pytest.raises(InvalidInput, match="clip is CLIP, which is for images"):
        TextEncoder(folder, CPU)
    with pytest.raises(InvalidInput, match=r"bert \(bert\) is no encoder of images; use CLIP"):
        ClipEncoder(text, CPU)


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json"])
def test_a_file_that_is_missing_is_named(tmp_path: Path, name: str) -> None:
    folder = make_clip(tmp_path / "clip")
    (folder / name).unlink()
    with pytest.raises(NotFound, match=rf"{name} is missing"):
        ClipEncoder(folder, CPU)


def test_pickled_weights_are_not_loaded(tmp_path: Path) -> None:
    folder = make_clip(tmp_path / "clip")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(NotFound, match="has no safetensors weights; other formats are not loaded"):
        ClipEncoder(folder, CPU)


@pytest.mark.parametrize(
    ("name", "changes", "says"),
    [
        ("config.json", {"text_config": {"hidden_size": 8}}, "clip cannot be loaded"),
        (
            "preprocessor_config.json",
            {"image_mean": [1]},
            "preprocessor_config.json cannot be used",
        ),
        (
            "preprocessor_config.json",
            {"crop_size": {"height": 32, "width": 8}},
            "makes images of 32 by 8 pixels; the model takes 16 by 16",
        ),
    ],
)
def test_files_that_do_not_fit_each_other_are_refused(
    folder: Path, tmp_path: Path, name: str, changes: dict[str, Any], says: str
) -> None:
    broken = Path(shutil.copytree(folder, tmp_path / "clip"))
    (broken / name).write_text(json.dumps(json.loads((broken / name).read_text()) | changes))
    with pytest.raises(InvalidInput, match=re.escape(says)):
        ClipEncoder(broken, CPU)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("model.safetensors", "clip/model.safetensors is damaged, or was not downloaded whole"),
        ("preprocessor_config.json", "preprocessor_config.json cannot be used"),
    ],
)
def test_a_file_that_is_cut_off_is_named(
    folder: Path, tmp_path: Path, name: str, says: str
) -> None:
    broken = Path(shutil.copytree(folder, tmp_path / "clip"))
    (broken / name).write_bytes((broken / name).read_bytes()[:200])
    with pytest.raises(InvalidInput, match=re.escape(says)) as caught:
        ClipEncoder(broken, CPU)
    assert str(tmp_path) not in caught.value.message


def test_weights_that_are_missing_are_named(folder: Path, tmp_path: Path) -> None:
    broken = Path(shutil.copytree(folder, tmp_path / "clip"))
    file = broken / "model.safetensors"
    weights = load_file(file)
    kept = {name: weights[name] for name in weights if "vision" not in name}
    save_file(kept, file, metadata={"format": "pt"})
    with pytest.raises(InvalidInput, match=r"clip has no weights for vision_model\."):
        ClipEncoder(broken, CPU)


def test_an_incomplete_folder_says_what_is_missing(tmp_path: Path) -> None:
    folder = make_clip(tmp_path / "clip")
    digest = model_digest(folder)
    processor = folder / "preprocessor_config.json"
    processor.write_text(json.dumps(json.loads(processor.read_text()) | {"do_resize": False}))
    assert model_digest(folder) != digest, "how images are prepared is a part of the model"
    processor.unlink()
    with pytest.raises(NotFound, match=r"preprocessor_config\.json is missing"):
        ClipEncoder(folder, CPU)


def test_a_tokenizer_of_another_model_is_refused(tmp_path: Path) -> None:
    folder = make_clip(tmp_path / "clip", eos_token_id=7)
    with pytest.raises(InvalidInput, match="the end tokens of model and tokenizer differ"):
        ClipEncoder(folder, CPU)


@torch.no_grad()
def test_the_first_published_models_name_another_end_token(tmp_path: Path) -> None:
    from transformers import AutoTokenizer, CLIPModel

    folder = make_clip(tmp_path / "clip", eos_token_id=2)
    words = AutoTokenizer.from_pretrained(folder)(TEXTS, padding=True, return_tensors="pt")
    texts = CLIPModel.from_pretrained(folder).eval().get_text_features(**words).pooler_output
    found = ClipEncoder(folder, CPU).encode(TEXTS)
    torch.testing.assert_close(found, unit(texts), rtol=0.0, atol=1e-6)


def test_a_text_encoder_has_the_temperature_it_always_had() -> None:
    assert tiny_encoder("bert").temperature == 0.05
