"""Rows per second of `mentorgrad.Predictor`, relative to a plain loop over a model of transformers.

The objective `prompt_tuning` on the embedded encoder: a prompt and a classifier, drawn at random,
on the texts of the built-in task. Ours: `Predictor.load`, then `predict_proba` of all texts. The
peer: the same prompt and classifier in a loop over `AutoModel`, in batches of as many texts, in the
texts' order, padded to the longest of a batch. Both tokenise, and give probabilities on the CPU,
which have to be equal.

    python -m bench.predict [--blocks 10] [--rows 512] [--batch 32] [--quick] [--device cpu]
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor

from bench.paired import abba, environment
from mentorgrad import Predictor
from mentorgrad.domain.spec import PromptTuning, RunSpec, Task
from mentorgrad.model_refs import resolve
from trainer_service.objectives.build import build_objective
from trainer_service.objectives.torch_free import ARTIFACT
from trainer_service.tasks.load import load_task

TASK = "tickets"
TOLERANCE = 1e-4
"""Of probabilities."""

Predict = Callable[[Sequence[str]], NDArray[np.float64]]


def write_result(folder: Path, spec: PromptTuning, device: torch.device) -> None:
    """Writes the files of a run whose prompt is drawn at random."""
    run = RunSpec(objective=spec, task=Task(TASK, shots=1, selection_rows=8))
    objective = build_objective(run, device=device, model_roots=None)
    generator = torch.Generator().manual_seed(0)
    start = objective.language.initial(generator)
    point = objective.language.random_parameters(generator, start)
    for name, content in objective.export(point).items():
        (folder / name).write_bytes(content)


class PlainLoop:
    """Prompt and classifier in front of and behind a model of transformers."""

    def __init__(self, folder: Path, spec: PromptTuning, device: torch.device, batch: int) -> None:
        from transformers import AutoModel, AutoTokenizer

        model = resolve(spec.encoder)
        self._tokenizer = AutoTokenizer.from_pretrained(model)
        self._network: Any = AutoModel.from_pretrained(model, dtype=torch.float32).to(device).eval()
        self._words = self._network.get_input_embeddings()
        tensors = load_file(folder / ARTIFACT, device=str(device))
        self._prompt = tensors["prompt"]
        self._weight, self._bias = tensors["head.weight"], tensors["head.bias"]
        longest = min(spec.max_length, self._network.config.max_position_embeddings)
        self._room = longest - len(self._prompt)
        self._batch = batch

    @torch.no_grad()
    def __call__(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """Probabilities [texts, labels]."""
        parts = [texts[at : at + self._batch] for at in range(0, len(texts), self._batch)]
        return np.concatenate([self._shares(part).numpy(force=True) for part in parts])

    def _shares(self, texts: Sequence[str]) -> Tensor:
        given = self._tokenizer(
            list(texts), padding=True, truncation=True, max_length=self._room, return_tensors="pt"
        ).to(self._prompt.device)
        words = self._words(given["input_ids"])
        prompt = self._prompt.expand(len(texts), -1, -1)
        mask = torch.cat(
            [given["attention_mask"].new_ones(prompt.shape[:2]), given["attention_mask"]], 1
        )
        hidden = self._network(
            inputs_embeds=torch.cat([prompt, words], 1), attention_mask=mask
        ).last_hidden_state[:, prompt.shape[1]]
        logits: Tensor = hidden @ self._weight.T + self._bias
        return logits.double().softmax(-1)


def texts_of(rows: int) -> list[str]:
    """Texts of the built-in task; more than it has are taken again from its beginning."""
    known = [row.text for row in load_task(Task(TASK, shots=0), 0, ()).train]
    return [known[index % len(known)] for index in range(rows)]


def rate(predict: Predict, texts: Sequence[str]) -> float:
    """Texts per second."""
    began = time.perf_counter()
    predict(texts)
    return len(texts) / (time.perf_counter() - began)


def compared(
    rows: int, batch: int, blocks: int, device: str = "cpu", encoder: str = ""
) -> dict[str, Any]:
    """The ratio, with absolute figures."""
    spec = PromptTuning(encoder) if encoder else PromptTuning()
    texts, where = texts_of(rows), torch.device(device)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_result(folder, spec, where)
        plain = PlainLoop(folder, spec, where, batch)
        with Predictor.load(folder, device=device) as predictor:
            ours: Predict = predictor.predict_proba
            apart = float(np.abs(ours(texts) - plain(texts)).max())
            assert apart < TOLERANCE, apart
            found = abba(lambda: rate(ours, texts), lambda: rate(plain, texts), blocks)
    return {
        "ratio": round(found.ratio, 3),
        "rows_per_second": found.rounded(),
        "difference": float(f"{apart:.2g}"),
        "rows": rows,
        "batch": batch,
        "threads": torch.get_num_threads(),
        "device": device,
        "environment": environment("torch", "transformers"),
    }


def main() -> None:
    """Runs the benchmark and prints the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--blocks", type=int, default=10)
    parser.add_argument("--rows", type=int, default=512)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--quick", action="store_true", help="two blocks of 64 rows")
    given = parser.parse_args()
    rows, blocks = (64, 2) if given.quick else (given.rows, given.blocks)
    print(json.dumps(compared(rows, given.batch, blocks, given.device)))


if __name__ == "__main__":
    main()
