"""The files of a tuned prompt."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from mentorgrad.domain.objective import Calibration, PromptPosition
from tests.support.numerics import CPU, NESTED, causal_on, causal_task, tiny_causal
from tests.support.tiny_models import make_causal
from trainer_service import tensorfile
from trainer_service.encoding.causal_model import CausalModel
from trainer_service.objectives.torch_free import ARTIFACT
from trainer_service.protocols import Objective
from trainer_service.tasks.data import Split

TREE: dict[str, Any] = {"labels": NESTED, "demonstrations": 1}
BEFORE: dict[str, Any] = {"position": PromptPosition.BEFORE_TEXT}


def built(labels: tuple[str, ...] = ("bad", "good"), **fields: Any) -> Objective:
    return causal_on(causal_task(labels), tiny_causal(), **fields)


def point(made: Objective, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return made.language.random_parameters(generator, torch.zeros(made.shape))


@pytest.mark.parametrize("fields", [TREE, BEFORE], ids=["tree", "before"])
def test_equal_parameters_give_equal_files(fields: dict[str, Any]) -> None:
    made = built(**fields)
    parameters = point(made)
    files = made.export(parameters)
    made.problem.score(point(made, 1)[None])
    assert made.export(parameters.clone()) == files
    assert built(**fields).export(parameters) == files
    assert made.export(point(made, 1))[ARTIFACT] != files[ARTIFACT]
    adapter = {"adapter_config.json", "adapter_model.safetensors"}
    own = {ARTIFACT, "model.json", "prompt.txt"}
    assert set(files) == (own | adapter if fields is BEFORE else own)


@pytest.mark.parametrize("fields", [{}, TREE, BEFORE], ids=["after", "tree", "before"])
def test_everything_that_is_needed_to_use_a_prompt_is_in_its_files(fields: dict[str, Any]) -> None:
    made = built(**fields)
    parameters = point(made)
    files = made.export(parameters)
    tensors, metadata = tensorfile.load(files[ARTIFACT])
    document = json.loads(files["model.json"])
    assert set(tensors) == {"prompt"}
    assert torch.equal(tensors["prompt"], parameters)
    read = {
        name: value if isinstance(document[name], str) else json.loads(value)
        for name, value in metadata.items()
    }
    assert read == document
    (words,) = made.language.project(parameters[None])
    (score,) = made.problem.score(parameters[None])
    assert files["prompt.txt"].decode() == f"{words.text}\n"
    assert document["text"] == words.text
    assert document["objective"] == "causal_prompt"
    assert document["model_sha256"] == tiny_causal().digest
    assert document["dtype"] == "float32"
    assert document["position"] == ("before_text" if fields is BEFORE else "after_text")
    labels = NESTED if fields is TREE else ("bad", "good")
    end = "\n" if fields is TREE else ""
    assert document["labels"] == list(labels)
    assert document["labels_terminated"] is (fields is TREE)
    decode = tiny_causal().tokenizer.decode
    assert [decode(ids) for ids in document["label_tokens"]] == [f" {w}{end}" for w in labels]
    assert document["calibration"] == "matched"
    assert document["prior"] == pytest.approx(score.prior, rel=1e-4)
    figures = {"loss": score.loss, "accuracy": score.accuracy, "rows": 24}
    assert document["selection"] == pytest.approx(figures)
    worded = document["selection_in_words"]
    assert document["loss_of_words"] == pytest.approx(worded["loss"] - score.loss)
    kept = 0 if fields is BEFORE else 24
    assert document["kept_rows"]["selection"] == kept
    assert made.problem.task is not None
    assert document["task_sha256"] == made.problem.task.digest


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({}, marks=pytest.mark.campaign),
        pytest.param(BEFORE, marks=pytest.mark.campaign),
        {"demonstrations": 1},
        BEFORE | {"demonstrations": 1},
    ],
    ids=["after", "before", "after_shown", "before_shown"],
)
def test_the_prompt_in_words_scores_again_what_was_recorded(fields: dict[str, Any]) -> None:
    """As a user would use it: its text in the recorded template, as one string."""
    made = built(**fields, calibration=Calibration.NONE)
    files = made.export(point(made))
    document = json.loads(files["model.json"])
    text = files["prompt.txt"].decode().removesuffix("\n")
    model = tiny_causal()
    template = document["template"].removesuffix(" {label}")
    first = [ids[0] for ids in document["label_tokens"]]
    assert made.problem.task is not None
    losses, hits = [], 0
    for row in made.problem.task.selection:
        whole = template.replace("{text}", row.text).replace("{prompt}", text)
        ids = torch.tensor([model.tokenizer(whole)["input_ids"]])
        with torch.no_grad():
            own = model.network(input_ids=ids).logits[0, -1, first].log_softmax(-1)
        losses.append(-float(own[row.label]))
        hits += int(own.argmax()) == row.label
    figures = document["selection_in_words"]
    assert figures["loss"] == pytest.approx(sum(losses) / len(losses), rel=1e-4)
    assert figures["accuracy"] == pytest.approx(hits / len(losses))


def test_a_prompt_of_words_loses_nothing_in_words() -> None:
    made = built(initial_text="random")
    start = made.language.initial(torch.Generator().manual_seed(0))
    document = json.loads(made.export(start)["model.json"])
    assert document["loss_of_words"] == pytest.approx(0.0, abs=1e-5)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing.*:FutureWarning")
@pytest.mark.parametrize(
    ("kind", "bos", "shown"),
    [
        ("llama", True, 1),
        pytest.param("gpt2", False, 0, marks=pytest.mark.campaign),
        ("qwen2", False, 0),
    ],
)
def test_peft_loads_a_prompt_in_front_of_the_text_with_equal_logits(
    tmp_path: Path, kind: str, bos: bool, shown: int
) -> None:
    """For single rows without padding: PEFT gives no position ids with a soft prompt."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    base, folder = make_causal(tmp_path / "base", kind, bos=bos), tmp_path / "run"
    folder.mkdir()
    model = CausalModel(base, CPU)
    made = causal_on(causal_task(), model, demonstrations=shown, **BEFORE)
    parameters = point(made)
    files = made.export(parameters)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    tuned = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), folder)
    document = json.loads(files["model.json"])
    behind = document["template"].removeprefix("{prompt}").removesuffix(" {label}")
    first = [ids[0] for ids in document["label_tokens"]]
    assert made.problem.task is not None
    expected = made.problem.logits(  # type: ignore[attr-defined]
        parameters[None], Split.TEST, torch.arange(6)
    )[0]
    assert expected.std() > 1e-2
    for row, mine in zip(made.problem.task.test, expected, strict=False):
        ids = model.tokenizer(behind.replace("{text}", row.text))["input_ids"]
        assert (ids[0] == model.tokenizer.bos_token_id) is bos
        with torch.no_grad():
            found = tuned(input_ids=torch.tensor([ids])).logits[0, -1, first]
        torch.testing.assert_close(found, mine, rtol=1e-4, atol=1e-4)
