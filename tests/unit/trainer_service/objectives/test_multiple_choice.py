"""`multiple_choice`: what it adds to `prompt_tuning`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from mentorgrad.domain.objective import MultipleChoice
from mentorgrad.domain.spec import Optimizer, RunSpec, Task
from mentorgrad.errors import InvalidInput
from tests.contract.test_predictors import drawn, opened, write
from tests.support import tiny_models
from tests.support.numerics import (
    CPU,
    built_on,
    choice_task,
    multiple_choice_on,
    objective,
    tiny_encoder,
    tune,
)
from trainer_service.encoding.encoders import TextEncoder
from trainer_service.objectives.kinds import CheckInputs, Findings
from trainer_service.objectives.multiple_choice import KIND
from trainer_service.objectives.multiple_choice.problem import MultipleChoiceProblem
from trainer_service.objectives.token_batches import TokenRows
from trainer_service.tasks.data import Row, Split, TaskData


def test_a_choice_is_scored_with_the_text_by_itself() -> None:
    built, encoder = objective("multiple_choice"), tiny_encoder("bert")
    assert isinstance(built.problem, MultipleChoiceProblem)
    point = drawn(built)
    rows = torch.tensor([7, 0, 3])
    with torch.no_grad():
        found = built.problem.logits(point.unsqueeze(0), Split.TEST, rows)[0]
        prompt, weight, bias = built.problem.pieces(point)
        for place, index in enumerate(rows.tolist()):
            row = built.problem.task.test[index]
            for choice, text in enumerate(row.choices):
                ((ids,), (types,)) = encoder.input_rows([row.text], [text], 100)  # type: ignore[misc]
                inputs = torch.cat([prompt, encoder.tokens.vectors[torch.tensor(ids)]])
                hidden = encoder.hidden(
                    torch.ones(1, len(inputs), dtype=torch.long),
                    inputs_embeds=inputs.unsqueeze(0),
                    token_type_ids=torch.tensor([[0] * len(prompt) + types]),
                )
                expected = hidden[0, len(prompt)] @ weight.T + bias
                torch.testing.assert_close(
                    found[place, choice].view(1), expected, atol=1e-5, rtol=0.0
                )


def test_what_a_run_left_predicts_other_rows(tmp_path: Path) -> None:
    built = objective("multiple_choice")
    point = drawn(built)
    folder = write(tmp_path / "result", built.export(point))
    assert isinstance(built.problem, MultipleChoiceProblem)
    rows = built.problem.task.test[:5]
    texts, pairs = [row.text for row in rows], [row.pair for row in rows]
    expected = built.problem.logits(point.unsqueeze(0), Split.TEST, torch.arange(5))[0].softmax(-1)
    with opened(folder, "multiple_choice") as predictor:
        found = predictor.predict_proba(texts, pairs)
        np.testing.assert_allclose(found, expected.detach().numpy(), atol=1e-4)
        turned = ["\n".join(pair.split("\n")[::-1]) for pair in pairs]
        np.testing.assert_allclose(
            predictor.predict_proba(texts, turned), found[:, ::-1], atol=1e-4
        )
        with pytest.raises(InvalidInput, match=r"texts\[1\]: has 2 choices, not 3"):
            predictor.predict_proba(texts[:2], [pairs[0], "one\ntwo"])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing.*:FutureWarning")
def test_peft_loads_the_adapter_with_equal_logits(tmp_path: Path) -> None:
    from peft import PeftModel
    from transformers import AutoModelForTokenClassification

    base = tiny_models.make(tmp_path / "base")
    encoder, task = TextEncoder(base, CPU), choice_task()
    built = built_on(encoder, MultipleChoice(n_tokens=3), task)
    point = drawn(built)
    folder = write(tmp_path / "run", built.export(point))
    rows = [Row(row.text, 0, choice) for row in task.test for choice in row.choices]
    batch = TokenRows(rows, encoder, 100).take(torch.arange(len(rows)))
    bare = AutoModelForTokenClassification.from_pretrained(base, num_labels=1)
    with torch.no_grad():
        found = PeftModel.from_pretrained(bare, folder)(
            input_ids=batch.ids, attention_mask=batch.mask, token_type_ids=batch.segments
        ).logits[:, 3]
    assert isinstance(built.problem, MultipleChoiceProblem)
    expected = built.problem.logits(point[None], Split.TEST, torch.arange(len(task.test)))[0]
    torch.testing.assert_close(found.view(-1, 3), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.slow
def test_gradient_steps_learn_which_choice_is_right() -> None:
    built = objective("multiple_choice")
    start, *_, end = tune(built, Optimizer(learning_rate=0.05), 30, seed=0)
    before, after = built.problem.score(torch.stack([start, end]))
    assert after.loss < before.loss - 0.05


def refused(task: TaskData) -> str:
    findings = Findings()
    inputs = CheckInputs(KIND.path, task, None, findings, RunSpec(MultipleChoice(), Task("own")))
    KIND.check(MultipleChoice(), inputs)
    with pytest.raises(InvalidInput) as caught:
        findings.settle()
    assert caught.value.reason == "CHOICES_MISSING"
    with pytest.raises(InvalidInput) as late:
        multiple_choice_on(task)
    assert late.value.violations == caught.value.violations
    (violation,) = caught.value.violations
    assert violation.field == "spec.task"
    return violation.description


def test_rows_need_a_choice_per_label() -> None:
    task = choice_task()
    single = replace(task, test=(*task.test, Row("which", 0)))
    assert refused(single).startswith(f"row {len(single.test)} of test has 0 choices, not 3, one")
    short = replace(task, train=(Row("which", 0, "this\n\nthat"), *task.train))
    assert refused(short).startswith("row 1 of train has 2 choices, not 3")


def test_a_row_costs_a_pass_per_choice() -> None:
    assert KIND.costs(MultipleChoice(), choice_task()).per_row == 3
