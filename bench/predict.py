"""Rows per second of `mentorgrad.Predictor`, relative to a plain loop over a model of transformers.

Prompts drawn at random on the texts of the built-in task: of `prompt_tuning` on the embedded
encoder, with a classifier, and of `causal_prompt` on the embedded language model. Ours:
`Predictor.load`, then `predict_proba` of all texts. The peer: the same prompt in a loop over a
model of transformers, in batches of so many texts, in the texts' order, padded to the longest of a
batch; of a language model, only the logits of the last positions. Both tokenise, and give
probabilities, which have to be equal.

    python -m bench.predict [--objective prompt_tuning|causal_prompt] [--blocks 10] [--rows 512]
                            [--batch 32] [--quick] [--device cpu]
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from bench.paired import abba, environment
from mentorgrad import Predictor
from mentorgrad.domain.objective import Calibration, CausalPrompt, PromptTuning
from mentorgrad.domain.spec import RunSpec, Task
from mentorgrad.model_refs import resolve
from trainer_service.encoding.dequantising import causal_folder
from trainer_service.model_settings import default_cache_dir
from trainer_service.objectives.build import build_objective
from trainer_service.objectives.input_template import Template
from trainer_service.objectives.torch_free import ARTIFACT, MODEL_FILE
from trainer_service.tasks.data import Row
from trainer_service.tasks.load import load_task

TASK = "tickets"
TOLERANCE = 1e-4
"""Of probabilities."""

Predict = Callable[[Sequence[str]], NDArray[np.float64]]


def write_result(folder: Path, spec: PromptTuning | CausalPrompt, device: torch.device) -> None:
    """Writes the files of a run whose prompt is drawn at random."""
    run = RunSpec(objective=spec, task=Task(TASK, shots=1, selection_rows=1))
    cache = default_cache_dir()
    objective = build_objective(run, device=device, model_roots=None, cache_dir=cache)
    generator = torch.Generator().manual_seed(0)
    start = objective.language.initial(generator)
    point = objective.language.random_parameters(generator, start)
    for name, content in objective.export(point).items():
        (folder / name).write_bytes(content)


class PlainLoop(ABC):
    """The files of a run in a loop over a model of transformers.

    Args:
        folder: The files.
        device: Of model and prompt.
        batch: Texts per pass.
    """

    def __init__(self, folder: Path, device: torch.device, batch: int) -> None:
        self._tensors = load_file(folder / ARTIFACT, device=str(device))
        self._document = json.loads((folder / MODEL_FILE).read_text())
        self._prompt = self._tensors["prompt"]
        self._batch = batch

    @torch.no_grad()
    def __call__(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """Probabilities [texts, labels]."""
        parts = [list(texts[at : at + self._batch]) for at in range(0, len(texts), self._batch)]
        found = [self._logits(part).double().softmax(-1) for part in parts]
        return np.concatenate([shares.numpy(force=True) for shares in found])

    @abstractmethod
    def _logits(self, texts: list[str]) -> Tensor:
        """Logits [texts, labels]."""


class PlainEncoder(PlainLoop):
    """A prompt in front of an encoder's input, and a classifier behind it."""

    def __init__(self, folder: Path, device: torch.device, batch: int) -> None:
        from transformers import AutoModel, AutoTokenizer

        super().__init__(folder, device, batch)
        model = resolve(self._document["model"])
        self._tokenizer = AutoTokenizer.from_pretrained(model)
        self._network: Any = AutoModel.from_pretrained(model, dtype=torch.float32).to(device).eval()
        config = self._network.config
        longest = min(self._document["max_length"], config.max_position_embeddings)
        self._room = longest - len(self._prompt)

    def _logits(self, texts: list[str]) -> Tensor:
        given = self._tokenizer(
            texts, padding=True, truncation=True, max_length=self._room, return_tensors="pt"
        ).to(self._prompt.device)
        words = self._network.get_input_embeddings()(given["input_ids"])
        prompt = self._prompt.expand(len(texts), -1, -1)
        present = given["attention_mask"]
        hidden = self._network(
            inputs_embeds=torch.cat([prompt, words], 1),
            attention_mask=torch.cat([present.new_ones(prompt.shape[:2]), present], 1),
        ).last_hidden_state[:, prompt.shape[1]]
        logits: Tensor = hidden @ self._tensors["head.weight"].T + self._tensors["head.bias"]
        return logits


class PlainLanguageModel(PlainLoop):
    """A prompt between text and label, of labels with one token each."""

    def __init__(self, folder: Path, device: torch.device, batch: int) -> None:
        from transformers import AutoModelForCausalLM, AutoTokenizer

        super().__init__(folder, device, batch)
        model = causal_folder(resolve(self._document["model"]), default_cache_dir())
        self._tokenizer = AutoTokenizer.from_pretrained(model)
        loaded: Any = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
        self._network = loaded.to(device).eval()
        self._template = Template(**self._document["template_parts"])
        tokens = self._document["label_tokens"]
        assert {len(label) for label in tokens} == {1}, "labels of one token"
        self._labels = torch.tensor([label[0] for label in tokens], device=device)

    def _logits(self, texts: list[str]) -> Tensor:
        heads = [self._template.head(Row(text, 0)) for text in texts]
        assert not self._template.tail(Row(texts[0], 0)), "the label follows the prompt"
        words = self._network.get_input_embeddings()
        rows = [
            torch.cat([words(torch.tensor(ids, device=self._prompt.device)), self._prompt])
            for ids in self._tokenizer(heads)["input_ids"]
        ]
        lengths = torch.tensor([len(row) for row in rows], device=self._prompt.device)
        given = pad_sequence(rows, batch_first=True)
        present = torch.arange(given.shape[1], device=given.device) < lengths.unsqueeze(1)
        hidden = self._network.model(
            inputs_embeds=given, attention_mask=present.long(), use_cache=False
        ).last_hidden_state
        last = hidden[torch.arange(len(rows), device=given.device), lengths - 1]
        logits: Tensor = self._network.lm_head(last)[:, self._labels]
        return logits


OBJECTIVES: dict[str, tuple[PromptTuning | CausalPrompt, type[PlainLoop]]] = {
    "prompt_tuning": (PromptTuning(), PlainEncoder),
    "causal_prompt": (CausalPrompt(calibration=Calibration.NONE), PlainLanguageModel),
}
"""Objective and peer of each comparison."""


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
    spec: PromptTuning | CausalPrompt,
    peer: type[PlainLoop],
    *,
    rows: int,
    batch: int,
    blocks: int,
    device: str = "cpu",
) -> dict[str, Any]:
    """The ratio, with absolute figures."""
    texts, where = texts_of(rows), torch.device(device)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_result(folder, spec, where)
        plain = peer(folder, where, batch)
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
    parser.add_argument("--objective", choices=OBJECTIVES, default="prompt_tuning")
    parser.add_argument("--blocks", type=int, default=10)
    parser.add_argument("--rows", type=int, default=512)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--quick", action="store_true", help="two blocks of 64 rows")
    given = parser.parse_args()
    rows, blocks = (64, 2) if given.quick else (given.rows, given.blocks)
    spec, peer = OBJECTIVES[given.objective]
    found = compared(spec, peer, rows=rows, batch=given.batch, blocks=blocks, device=given.device)
    print(json.dumps({"objective": given.objective, **found}))


if __name__ == "__main__":
    main()
