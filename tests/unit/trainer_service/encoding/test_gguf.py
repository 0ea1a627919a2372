"""GGUF files as tuned models: read, dequantised once, kept, and refused."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gguf
import pytest
import torch

from mentorgrad.errors import InvalidInput, ResourceExhausted, Unsupported
from mentorgrad.installed import pip_line
from mentorgrad.model_refs import DEFAULT_MENTOR_MODEL, resolve
from tests.support.numerics import CPU
from tests.support.tiny_gguf import write_gguf
from tests.support.tiny_models import SENTENCES, make_causal
from trainer_service.encoding import dequantising
from trainer_service.encoding.causal_files import (
    DEQUANTISED,
    context_tokens,
    model_width,
    require_causal_model,
)
from trainer_service.encoding.causal_model import CausalModel
from trainer_service.encoding.dequantising import causal_folder
from trainer_service.encoding.gguf_files import file_digest, folder_so_far, is_whole, kept_folder
from trainer_service.encoding.gguf_header import read_gguf_header
from trainer_service.encoding.model_files import TokenCounter
from trainer_service.encoding.weight_files import UNSUITABLE

Saved = tuple[Path, Path]


@pytest.fixture(scope="module", params=[True, False], ids=["tied", "untied"])
def saved(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Saved:
    """A tiny Llama as transformers saves it, and as a GGUF file."""
    folder = tmp_path_factory.mktemp("saved")
    model = make_causal(folder / "model", tied=request.param)
    return model, write_gguf(folder / "tiny.gguf", model)


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_causal(tmp_path_factory.mktemp("llama"))


@pytest.fixture
def written(llama: Path, tmp_path: Path) -> Any:
    """Writes a GGUF file of the tiny Llama; fields as in `write_gguf`."""
    return lambda **fields: write_gguf(tmp_path / "tiny.gguf", llama, **fields)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """What is written instead of weights, one entry each time."""
    calls: list[Path] = []

    def write(file: Path, folder: Path, check: Any) -> None:
        calls.append(folder)
        (folder / "model.safetensors").write_bytes(b"weights")

    monkeypatch.setattr(dequantising, "_write", write)
    return calls


def test_a_dequantised_model_is_the_one_that_was_written(saved: Saved, tmp_path: Path) -> None:
    original, file = saved
    folder = causal_folder(file, tmp_path)
    assert folder == kept_folder(file, tmp_path) == causal_folder(file, tmp_path)
    assert folder.name == f"{file_digest(file)}-v1"
    before, after = CausalModel(original, CPU), CausalModel(folder, CPU)
    ids = torch.tensor([before.tokens.token_ids(SENTENCES[0])])
    assert torch.equal(before.network(ids).logits, after.network(ids).logits)
    for text in (*SENTENCES, " two  spaces\n\nAnswer: naïve 😀"):
        assert before.tokens.token_ids(text) == after.tokens.token_ids(text)
    tied = original.joinpath("config.json").read_text().count('"tie_word_embeddings": true')
    head, words = after.network.lm_head.weight, after.network.model.embed_tokens.weight
    assert (head is words) == bool(tied)
    assert after.digest == file_digest(file)
    assert "quantization_config" not in json.loads((folder / "config.json").read_text())
    assert [path.name for path in folder.parent.iterdir() if path.is_dir()] == [folder.name]


def test_without_a_cache_the_folder_is_a_temporary_one(
    written: Any, counted: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    at_exit: list[tuple[Any, Path]] = []
    monkeypatch.setattr(
        dequantising.atexit, "register", lambda call, path, **_: at_exit.append((call, path))
    )
    folder = causal_folder(written())
    ((remove, path),) = at_exit
    assert is_whole(folder)
    remove(path)
    assert not folder.exists()


def test_a_folder_is_returned_as_it_is(llama: Path, tmp_path: Path) -> None:
    assert causal_folder(llama, tmp_path) == llama


@pytest.mark.parametrize("damage", ["cut", "gone", "list", "half", "rubbish"])
def test_a_broken_folder_is_made_anew(
    damage: str, written: Any, counted: list[Path], tmp_path: Path
) -> None:
    file = written()
    folder = causal_folder(file, tmp_path)
    weights, listed = folder / "model.safetensors", folder / "dequantised.json"
    {
        "cut": lambda: weights.write_bytes(b"weigh"),
        "gone": weights.unlink,
        "list": listed.unlink,
        "half": lambda: listed.write_text('{"files": '),
        "rubbish": lambda: listed.write_text("[]"),
    }[damage]()
    assert not is_whole(folder)
    assert causal_folder(file, tmp_path) == folder
    assert is_whole(folder)
    assert len(counted) == 2
    assert [path for path in folder.parent.iterdir() if path.is_dir()] == [folder]


def _at_once(call: Any) -> list[Any]:
    results: list[Any] = []
    threads = [threading.Thread(target=lambda: results.append(call())) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return results


def test_of_two_at_once_one_writes_and_the_other_waits(
    written: Any, counted: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, write = written(), dequantising._write
    waited, checked = threading.Event(), threading.Event()

    def slow(*args: Any) -> None:
        waited.set()
        assert checked.wait(60)  # the other one waits by now
        write(*args)

    def second() -> Path:
        assert waited.wait(60)
        return causal_folder(file, tmp_path, checked.set)

    monkeypatch.setattr(dequantising, "_write", slow)
    order: Iterator[Any] = iter([lambda: causal_folder(file, tmp_path), second])
    first, other = _at_once(lambda: next(order)())
    assert first == other == kept_folder(file, tmp_path)
    assert len(counted) == 1


def test_without_locks_both_write_and_one_folder_stays(
    written: Any, counted: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, write, both = written(), dequantising._write, threading.Barrier(2, timeout=60)

    def together(*args: Any) -> None:
        both.wait()
        write(*args)

    monkeypatch.setattr(dequantising, "_alone", lambda *_: contextlib.nullcontext())
    monkeypatch.setattr(dequantising, "_write", together)
    first, other = _at_once(lambda: causal_folder(file, tmp_path))
    assert first == other == kept_folder(file, tmp_path)
    assert is_whole(first)
    assert len(counted) == 2
    assert [path for path in first.parent.iterdir() if path.is_dir()] == [first]


def test_the_loader_is_as_it_was_after_two_at_once() -> None:
    reader, inside, leave = gguf.GGUFReader, threading.Event(), threading.Event()

    def other() -> None:
        with dequantising._header_read_once():
            inside.set()
            leave.wait(60)

    second = threading.Thread(target=other)
    with dequantising._header_read_once():
        second.start()
        inside.wait(0.2)  # it must not come in; if it does, it leaves last
    leave.set()
    second.join(60)
    assert gguf.GGUFReader is reader


def test_who_waits_can_be_stopped(written: Any, counted: list[Path], tmp_path: Path) -> None:
    class Stopped(Exception):
        pass

    def stop() -> None:
        raise Stopped

    file = written()
    target = kept_folder(file, tmp_path)
    target.parent.mkdir(parents=True)
    with dequantising._alone(target, stop), pytest.raises(Stopped):
        causal_folder(file, tmp_path, stop)
    assert not counted


def test_what_was_written_in_part_is_removed(
    written: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full:
        def save_pretrained(self, folder: Path) -> None:
            (folder / "model.safetensors").write_bytes(b"half")
            raise OSError("No space left on device")

    monkeypatch.setattr(dequantising, "_read", lambda *_: Full())
    with pytest.raises(ResourceExhausted, match="No space left"):
        causal_folder(written(), tmp_path)
    assert not [path for path in (tmp_path / "models").iterdir() if path.is_dir()]


def test_what_a_killed_process_left_is_removed(
    written: Any, counted: list[Path], tmp_path: Path
) -> None:
    file = written()
    target = kept_folder(file, tmp_path)
    left = target.parent / f".{target.name}.half"
    left.mkdir(parents=True)
    (left / "model.safetensors").write_bytes(b"half")
    assert causal_folder(file, tmp_path) == target
    assert not left.exists()


def test_the_header_is_read_without_the_weights(written: Any) -> None:
    file = written()
    header = read_gguf_header(file)
    assert (header.architecture, header.tokenizer, header.parts) == ("llama", "gpt2", 1)
    assert (context_tokens(file), model_width(file)) == (128, 16)
    assert header.values["tokenizer.ggml.tokens"] > 400  # type: ignore[operator]
    assert "blk.1.ffn_down.weight" in header.tensors
    assert not header.sliding_window
    require_causal_model(file)


def test_the_default_file_is_suitable_by_its_reference() -> None:
    for roots in (None, ()):
        file = resolve(DEFAULT_MENTOR_MODEL, roots=roots)
        require_causal_model(file)
        assert (context_tokens(file), model_width(file)) == (8192, 576)


def test_a_file_below_the_roots_is_resolved(written: Any, tmp_path: Path) -> None:
    file = written()
    assert resolve("tiny.gguf", roots=[tmp_path]) == file
    with pytest.raises(InvalidInput):
        resolve("../tiny.gguf", roots=[tmp_path / "other"])


def test_the_folder_is_known_as_soon_as_it_is_kept(
    written: Any, llama: Path, tmp_path: Path
) -> None:
    file = written()
    assert folder_so_far(file, tmp_path) is None
    assert folder_so_far(file, None) is None
    assert causal_folder(file, tmp_path) == folder_so_far(file, tmp_path)
    assert folder_so_far(llama, tmp_path) == folder_so_far(llama, None) == llama
    counters = [TokenCounter(folder) for folder in (kept_folder(file, tmp_path), llama)]
    assert len({counter.count(SENTENCES[0]) for counter in counters}) == 1


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"architecture": "mamba"}, "architecture mamba cannot be dequantised, only .*llama"),
        ({"others": {"llama.attention.sliding_window": 64}}, r"\(llama\).*a sliding window; use"),
        ({"others": {"llama.rope.scaling.type": "yarn"}}, "scales its rotary positions"),
        ({"others": {"split.count": 3}}, "one of 3 files"),
        ({"leave_out": "token_embd.weight"}, "no weights"),
    ],
)
def test_an_unsuitable_file_is_refused_by_name(
    fields: dict[str, Any], why: str, written: Any
) -> None:
    file = written(**fields)
    with pytest.raises(InvalidInput, match=why) as refused:
        require_causal_model(file)
    assert refused.value.reason == UNSUITABLE
    assert "tiny.gguf" in refused.value.message


@pytest.mark.parametrize("content", [b"", b"GGUF", b"GGUF\x01\x00\x00\x00", b"PK" + bytes(100)])
def test_what_is_no_gguf_file_is_refused(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "model.bin"
    file.write_bytes(content)
    with pytest.raises(InvalidInput, match=r"model\.bin is not a GGUF file"):
        require_causal_model(file)


def test_a_file_cut_anywhere_in_its_header_is_refused(written: Any) -> None:
    file = written()
    whole = file.read_bytes()
    for end in range(8, 2000, 97):
        file.write_bytes(whole[:end])
        with pytest.raises(InvalidInput):
            read_gguf_header(file)


def test_a_file_that_lacks_weights_is_not_filled_with_random_numbers(
    written: Any, tmp_path: Path
) -> None:
    file = written(leave_out="blk.1.ffn_up.weight")
    with pytest.raises(InvalidInput, match=r"tiny\.gguf \(llama\) cannot be dequantised.*up_proj"):
        causal_folder(file, tmp_path)


def test_the_packages_that_read_gguf_are_named(
    written: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *args: None if name == "gguf" else find(name)
    )
    with pytest.raises(Unsupported, match=re.escape(pip_line("trainer"))) as missing:
        causal_folder(written(), tmp_path)
    assert missing.value.reason == "MISSING_EXTRA"


def test_transformers_knows_what_is_said_to_be_dequantised() -> None:
    from transformers.modeling_gguf_pytorch_utils import GGUF_SUPPORTED_ARCHITECTURES

    spelled = {name.replace("moe", "_moe") for name in DEQUANTISED}
    assert spelled <= set(GGUF_SUPPORTED_ARCHITECTURES)
