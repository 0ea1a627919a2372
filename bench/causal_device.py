"""Share of a device's matrix rate that `causal_prompt` reaches, on random weights."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast
from transformers.utils import logging

from bench.causal_sides import DEMO_TASK, Ours, prompts_for, rows_of
from bench.paired import environment
from mentorgrad.domain.spec import Task
from trainer_service.encoding.causal_model import CausalModel
from trainer_service.encoding.dtypes import DTYPES, dtype_name
from trainer_service.tasks.load import load_task


@dataclass(frozen=True)
class Shape:
    """Sizes of a model of the kind of Qwen2.5."""

    layers: int
    hidden: int
    heads: int
    shared: int
    """Heads of keys and values."""
    inner: int
    vocabulary: int = 151_936

    @property
    def multiplications(self) -> int:
        """Per token that passes through the layers, without the attention."""
        size = self.hidden // self.heads
        attention = 2 * self.hidden * (self.hidden + size * self.shared)
        return self.layers * (attention + 3 * self.hidden * self.inner)

    def in_attention(self, tokens: int) -> int:
        """Per token that attends to `tokens` tokens."""
        return self.layers * 2 * self.hidden * tokens


SHAPES = {
    "0.5B": Shape(layers=24, hidden=896, heads=14, shared=2, inner=4864),
    "1.5B": Shape(layers=28, hidden=1536, heads=12, shared=2, inner=8960),
}


@dataclass(frozen=True)
class Load:
    """What is measured."""

    rows: int = 64
    text_tokens: int = 256
    prompt_tokens: int = 20
    points: int = 5
    """Prompts per step, as in a race."""
    matrix: int = 8192
    """Rows and columns of the product that the device's rate is measured by."""
    times: int = 10
    """Executions per figure, of which the median counts."""


def measured(
    device: torch.device, shapes: dict[str, Shape] | None = None, load: Load | None = None
) -> dict[str, Any]:
    """Shares of the matrix rate, by shape; see `Load`."""
    load = load or Load()
    dtype = DTYPES[dtype_name("auto", device)]
    rate = _matrix_rate(device, dtype, load)
    found = {}
    for name, shape in (shapes or SHAPES).items():
        with tempfile.TemporaryDirectory() as folder:
            save_random(Path(folder), shape, device, dtype)
            model = CausalModel(Path(folder), device)
        found[name] = _shares(model, shape, load, rate)
        del model
    return {
        **{f"step_share_{name}": result["step_share"] for name, result in found.items()},
        **found,
        "teraflops": float(f"{rate / 1e12:.4g}"),
        "load": vars(load),
        "dtype": dtype_name("auto", device),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "environment": environment("torch", "transformers"),
    }


def _shares(model: CausalModel, shape: Shape, load: Load, rate: float) -> dict[str, Any]:
    task = rows_of(model, load.rows, load.text_tokens)
    prompts = prompts_for(model, load.prompt_tokens)
    ours = Ours(model, task, prompts)
    many = prompts[:1].repeat(load.points, 1, 1)
    rows = torch.arange(load.rows)
    own = load.prompt_tokens + len(ours.inputs.tail) + len(ours.inputs.tree.tokens)
    whole = len(ours.inputs.own_ids(task.train[0])) + own
    forward = 2 * own * load.rows * (shape.multiplications + shape.in_attention(whole))
    work: dict[str, tuple[int, Callable[[], object]]] = {
        "evaluation": (forward, ours.evaluation),
        # Weights are frozen, so the way back takes as many operations as the way there.
        "step": (2 * forward, ours.step),
        "race": (
            2 * forward * load.points,
            lambda: float(ours.problem.gradients(many, rows)[0].sum()),
        ),
    }
    result = {}
    for name, (operations, run) in work.items():
        seconds = _seconds(run, load.times)
        result[f"{name}_share"] = round(operations / seconds / rate, 4)
        result[f"{name}_milliseconds"] = round(1e3 * seconds, 3)
    return result


def _matrix_rate(device: torch.device, dtype: torch.dtype, load: Load) -> float:
    """Floating-point operations per second of a large product."""
    size = load.matrix
    one, other = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    return 2 * size**3 / _seconds(lambda: float((one @ other)[0, 0]), load.times)


def _seconds(work: Callable[[], object], times: int) -> float:
    """Median seconds of `work`, which returns a host value, so the device has finished."""
    work()
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        work()
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)


def save_random(folder: Path, shape: Shape, device: torch.device, dtype: torch.dtype) -> None:
    """Saves a model with random weights, made on the device, and a tokenizer of the task."""
    task = load_task(Task(name=DEMO_TASK), 0, ())
    tokenizer = _tokenizer([row.text for row in task.train], task.labels)
    config = AutoConfig.for_model(
        "qwen2",
        num_hidden_layers=shape.layers,
        hidden_size=shape.hidden,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.shared,
        intermediate_size=shape.inner,
        vocab_size=max(shape.vocabulary, len(tokenizer)),
        max_position_embeddings=4096,
        tie_word_embeddings=True,
    )
    logging.disable_progress_bar()
    torch.manual_seed(0)
    with device:
        network = AutoModelForCausalLM.from_config(config, dtype=dtype)
    network.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _tokenizer(texts: Sequence[str], labels: Sequence[str]) -> Any:
    """A byte-level tokenizer with the texts' frequent words, and each label as one token."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=1024,
        special_tokens=["</s>"],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    often = " ".join(["", *labels] * 100)
    made.train_from_iterator([*texts, often], trainer)
    marks = {"eos_token": "</s>", "pad_token": "</s>", "unk_token": "</s>"}
    return PreTrainedTokenizerFast(tokenizer_object=made, **marks)
