"""Runs of `causal_prompt` that a model or the memory ends, and what a worker keeps of texts."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from structlog.testing import capture_logs

from mentorgrad.domain.event import CandidatesScored
from mentorgrad.domain.objective import CausalPrompt, ModelDtype, PromptPosition
from mentorgrad.domain.run import RunState
from mentorgrad.domain.spec import Budget, DataFiles, MentorChoice, Optimizer, RunSpec, Stages, Task
from tests.support.tiny_models import make_causal
from tests.unit.trainer_service.running.test_alternation import Done
from trainer_service.encoding.causal_model import CausalModel
from trainer_service.job import WorkerJob
from trainer_service.objectives.causal_prompt.scorer import CausalScorer
from trainer_service.run_composition import run_parts

SPEC = RunSpec(
    objective=CausalPrompt("llama", n_tokens=3),
    task=Task("own", DataFiles("rows.jsonl"), "what it is", ("good", "bad"), 2, selection_rows=2),
    optimizer=Optimizer(batch_size=4),
    stages=Stages(count=2, steps=2),
    mentor=MentorChoice("random_tokens", proposals=2),
    budget=Budget(gradient_steps=12),
)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("root")
    make_causal(folder / "llama")
    rows = [{"text": f"movie {n} " + "good " * n, "label": n % 2} for n in range(12)]
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    return folder


def done(root: Path, mib: int = 2048, **fields: Any) -> Done:
    job = WorkerJob(
        run_id="-",
        store="-",
        data_roots=(str(root),),
        model_roots=(str(root),),
        state_cache_mib=mib,
    )
    objective = dataclasses.replace(SPEC.objective, **fields)
    return Done(dataclasses.replace(SPEC, objective=objective), run_parts(job))


@pytest.mark.parametrize(
    ("dtype", "remedy"),
    [
        ("float16", "set spec.objective.causal_prompt.dtype to bfloat16 or float32"),
        ("bfloat16", "set spec.objective.causal_prompt.dtype to float32"),
        ("float32", "use another model"),
    ],
)
def test_logits_that_are_not_finite_at_the_start_name_the_dtype_to_try(
    root: Path, dtype: str, remedy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As those of a model that overflows on long texts alone, not when it is loaded."""
    hidden = CausalScorer.hidden
    monkeypatch.setattr(CausalScorer, "hidden", lambda *args: hidden(*args) * torch.inf)
    ended = done(root, dtype=ModelDtype(dtype))
    assert ended.state is RunState.FAILED
    assert ended.run.reason == (
        "the selection loss is nan at step 0; the model's logits are not finite in "
        f"{dtype}: {remedy}"
    )
    assert not ended.all(CandidatesScored)


def test_a_lack_of_memory_for_the_texts_names_the_setting(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lacking(*args: Any, **fields: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with monkeypatch.context() as patched:
        patched.setattr(CausalScorer, "states", lacking)
        ended = done(root)
    assert ended.state is RunState.FAILED
    assert ended.run.reason == (
        "not enough memory to compute the keys and values of the texts; set "
        "spec.objective.causal_prompt.max_length, or start the trainer with a lower "
        "--state-cache-mib"
    )
    monkeypatch.setattr(CausalModel, "hidden", lacking)
    monkeypatch.setattr(CausalModel, "_require_known_logits", lambda *args: None)
    ended = done(root, position=PromptPosition.BEFORE_TEXT)
    assert ended.run.reason == (
        "not enough memory; try spec.optimizer.automatic_batch_size = true or "
        "spec.optimizer.batch_size = 2 or fewer than 2 for spec.mentor.proposals"
    )


@pytest.mark.parametrize(("mib", "kept"), [(2048, 4), (0, 0)])
def test_what_is_kept_of_the_texts_is_what_was_set(root: Path, mib: int, kept: int) -> None:
    with capture_logs() as logs:
        ended = done(root, mib)
    assert ended.state is RunState.SUCCEEDED
    written = json.loads(ended.store.read_artifact(ended.run_id, "model.json"))
    assert written["kept_rows"] == {"train": kept, "selection": kept}
    (said,) = [entry for entry in logs if entry["event"] == "text_states_kept"]
    assert (said["train_rows"], said["selection_rows"], said["all_rows"]) == (kept, kept, 8)
    assert said["limit"] == mib << 20
    # 2 layers of 2 x 1 head x 8 numbers in float32 per token.
    assert (said["bytes"] > 0) is (kept > 0)
    assert said["bytes"] % (2 * 2 * 8 * 4) == 0


def test_a_prompt_in_front_of_the_text_keeps_nothing(root: Path) -> None:
    with capture_logs() as logs:
        ended = done(root, position=PromptPosition.BEFORE_TEXT)
    assert ended.state is RunState.SUCCEEDED, ended.run.reason
    assert "text_states_kept" not in {entry["event"] for entry in logs}
