"""The real small model, dequantised: beside llama.cpp with the same file, and tuned by
causal_prompt."""

from __future__ import annotations

import json
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from mentorgrad.domain.objective import Calibration
from mentorgrad.model_refs import DEFAULT_MENTOR_MODEL, resolve
from service_common.llama.runtime import Runtime
from tests.support.numerics import CPU, causal_on
from tests.support.real_causal import smollm2_folder
from trainer_service.encoding.causal_model import CausalModel
from trainer_service.encoding.gguf_files import file_digest
from trainer_service.objectives.causal_prompt.problem import CausalPromptProblem
from trainer_service.protocols import Objective
from trainer_service.tasks.data import Row, Split, TaskData

ROWS = (
    Row("I loved every minute of it, and so did my children.", 1),
    Row("Dull.", 0),
    Row("Two hours of my life that I'll never get back!", 0),
    Row("A warm, funny, wonderful film", 1),
)
TASK = TaskData("films", "what is thought of a film", ("terrible", "great"), ROWS, ROWS, ROWS[:2])
PROMPT = "Is this review of a film terrible or great?"


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


def built(model: CausalModel, labels: tuple[str, ...] = TASK.labels) -> Objective:
    task = TaskData(TASK.name, TASK.description, labels, ROWS, ROWS, ROWS[:2])
    size = len(model.tokens.token_ids(PROMPT))
    fields = {"n_tokens": size, "initial_text": PROMPT, "calibration": Calibration.NONE}
    return causal_on(task, model, **fields)


@pytest.mark.campaign
def test_a_kept_text_scores_as_the_whole_string_does(model: CausalModel) -> None:
    """Of a prompt that is made of words, by the model's own forward pass over the string."""
    labels = ("not good at all", "not bad")
    made = built(model, labels)
    assert isinstance(made.problem, CausalPromptProblem)
    start = made.language.initial(torch.Generator().manual_seed(0))
    assert made.language.project(start[None])[0].text == PROMPT
    assert made.problem.kept_rows[Split.SELECTION] == len(ROWS)
    found = made.problem.logits(start[None], Split.SELECTION, torch.arange(len(ROWS)))[0]
    for row, mine in zip(ROWS[:2], found[:2].log_softmax(-1), strict=True):
        own = []
        for label in labels:
            front = f"Text: {row.text}\n{PROMPT}"
            ids = model.tokenizer(f"{front} {label}")["input_ids"]
            count = len(ids) - len(model.tokenizer(front)["input_ids"])
            with torch.no_grad():
                steps = model.network(input_ids=torch.tensor([ids])).logits[0].log_softmax(-1)
            own.append(steps[range(-count - 1, -1), ids[-count:]].sum())
        torch.testing.assert_close(mine, torch.stack(own).log_softmax(-1), rtol=1e-3, atol=1e-3)


@pytest.mark.campaign
def test_gradients_point_uphill_and_the_files_say_what_it_scores(model: CausalModel) -> None:
    made = built(model)
    start = made.language.initial(torch.Generator().manual_seed(0))
    rows = torch.arange(2)
    (loss,), (gradient,) = made.problem.gradients(start[None], rows)
    assert torch.isfinite(gradient).all()
    step = 0.1 * made.problem.unit * gradient / gradient.abs().max()
    points = torch.stack([start + step, start - step])
    uphill, downhill = made.problem.losses(points, rows).tolist()
    assert downhill < float(loss) < uphill
    document = json.loads(made.export(start)["model.json"])
    assert document["loss_of_words"] == pytest.approx(0.0, abs=1e-3)
    assert document["label_tokens"] == [model.tokenizer(f" {w}")["input_ids"] for w in TASK.labels]
