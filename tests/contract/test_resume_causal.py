"""Whole runs with a language model: every way to go, and a resumed one is as one never stopped."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from mentorgrad.domain.advice import ProposalRequest
from mentorgrad.domain.objective import (
    Calibration,
    CausalPrompt,
    Lora,
    PrefixTuning,
    PromptPosition,
)
from mentorgrad.domain.run import RunState
from mentorgrad.domain.spec import (
    Acceptance,
    Budget,
    Criterion,
    DataFiles,
    MentorChoice,
    MentorMode,
    Optimizer,
    Policy,
    RunSpec,
    Stages,
    Task,
)
from run_store.protocols import RunStore
from run_store.temporary_store import TemporaryRunStore
from tests.contract.test_resume import StopsAt, create, go
from tests.contract.test_resume_overlapped import AfterSteps
from tests.support import tiny_models
from tests.support.effective_log import effective, run_files
from tests.support.numerics import DEVICES, NESTED, built_on, causal_task, tiny_causal
from trainer_service.baselines import compute
from trainer_service.job import WorkerJob
from trainer_service.mentors.controls import RandomTokens
from trainer_service.objectives.build import DEFAULT_STATE_BYTES
from trainer_service.objectives.torch_free import ARTIFACT
from trainer_service.protocols import Objective, Scored
from trainer_service.run_composition import run_parts
from trainer_service.running.execution import Parts
from trainer_service.running.stop_control import StopKind
from trainer_service.tasks.data import Split

SPEC = RunSpec(
    objective=CausalPrompt("tiny", n_tokens=3),
    task=Task(
        name="own",
        data=DataFiles("train.jsonl", test="test.jsonl"),
        labels=("bad", "good"),
        description="what is said",
        shots=4,
        selection_rows=4,
    ),
    optimizer=Optimizer(learning_rate=0.3, batch_size=4),
    stages=Stages(count=2, steps=4, candidates=2),
    mentor=MentorChoice("random_tokens", proposals=4),
    acceptance=Acceptance(finalists=1, probe_steps=2),
    seed=5,
)


def interrupted(store: RunStore, run_id: str, how: Parts, n: int) -> None:
    """A worker that dies; another that is asked to pause; and one that ends the run."""
    assert go(store, run_id, StopsAt(n, StopKind.LOST), how) is RunState.RUNNING
    store.transition(run_id, RunState.INTERRUPTED, "the worker died", attempt=1)
    assert go(store, run_id, StopsAt(n), how) in (RunState.PAUSED, RunState.SUCCEEDED)
    if store.get_run(run_id).state is RunState.PAUSED:
        assert go(store, run_id, StopsAt(), how) is RunState.SUCCEEDED


# -- from the files of a model ----------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.usefixtures("cheap_baselines")
@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    "position",
    [
        PromptPosition.AFTER_TEXT,
        pytest.param(PromptPosition.BEFORE_TEXT, marks=pytest.mark.campaign),
    ],
)
def test_a_run_goes_on_exactly(tmp_path: Path, position: PromptPosition, device: Any) -> None:
    tiny_models.make_causal(tmp_path / "tiny")
    for split in (Split.TRAIN, Split.TEST):
        rows = [{"text": row.text, "label": row.label} for row in causal_task().rows(split)]
        (tmp_path / f"{split}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    roots = {"data_roots": (str(tmp_path),), "model_roots": (str(tmp_path),)}
    how = run_parts(WorkerJob(run_id="-", store="-", device=str(device), **roots))
    objective = CausalPrompt("tiny", n_tokens=3, position=position, demonstrations=1)
    spec = dataclasses.replace(SPEC, objective=objective)
    store, control = TemporaryRunStore(), StopsAt()
    whole_id = create(store, spec)
    assert go(store, whole_id, control, how) is RunState.SUCCEEDED
    log = effective(store, whole_id)
    (decided,) = (entry[1] for entry in log if entry[0] == "restart_decided")
    assert len(decided["branches"]) == 2, "it raced"
    result = store.get_run(whole_id).result
    assert result is not None
    assert [item.name for item in result.baselines if item.test] == list(compute.BASELINES)
    assert result.test is not None
    assert result.test.raw_loss is not None
    assert sum(result.test.prior) == pytest.approx(1.0)

    run_id = create(store, spec)
    paused_at, n = [], 0
    while go(store, run_id, StopsAt(n), how) is RunState.PAUSED:
        paused_at.append(store.get_run(run_id).step)
        n += 3  # while texts are read, in stages, scorings and races
    assert {0, 4} <= set(paused_at)
    assert effective(store, run_id) == log
    files = run_files(store, run_id)
    assert {ARTIFACT, "model.json", "prompt.txt"} <= set(files)
    assert ("adapter_config.json" in files) is (position is PromptPosition.BEFORE_TEXT)
    assert files == run_files(store, whole_id)


# -- every way to go --------------------------------------------------------------------------


def with_model(
    labels: tuple[str, ...] = ("bad", "good"), state_bytes: int = DEFAULT_STATE_BYTES
) -> Parts:
    """Builds the objective anew for each worker, around a model that is loaded once."""
    whole = causal_task(labels)
    task = dataclasses.replace(
        whole, train=whole.train[:16], selection=whole.selection[:8], test=whole.test[:4]
    )

    def objective(spec: RunSpec, check: Any) -> Objective:
        return built_on(tiny_causal(), spec.objective, task, check, state_bytes)

    made = run_parts(WorkerJob(run_id="-", store="-"))
    return dataclasses.replace(made, objective=objective)


def changed(objective: dict[str, Any] | None = None, **fields: Any) -> RunSpec:
    prompt = dataclasses.replace(SPEC.objective, **(objective or {}))
    return dataclasses.replace(SPEC, objective=prompt, **fields)


# What does not depend on the objective is shown by other suites: the state of each optimizer by
# `test_optimizers`, that of each control by `test_mentors`, unusual stages by `test_resume`.
TOGETHER = {
    "screened_before_text": changed(
        {"calibration": Calibration.CONTENT_FREE, "position": PromptPosition.BEFORE_TEXT},
        acceptance=Acceptance(finalists=1, probe_steps=2, screening_rounds=2),
        criterion=Criterion.ACCURACY,
        optimizer=Optimizer("zo_adam", 0.1, batch_size=4, directions=2),
    ),
    "hints_raced_first": changed(
        {"calibration": Calibration.NONE, "demonstrations": 1},
        acceptance=Acceptance(finalists=3, probe_steps=2, probe_scores=2, first=Policy.RACE),
        stages=Stages(2, 3, 2, first_steps=0),
        mentor=MentorChoice("hint_tokens", proposals=4),
    ),
    "description_blended": changed(
        {"n_tokens": 30},
        acceptance=Acceptance(policy=Policy.ALWAYS, blend=0.5),
        stages=Stages(3, 3, 2, first_steps=0),
        mentor=MentorChoice("random_tokens", proposals=3, description_first=True),
        budget=Budget(forward_rows=500),
    ),
}
"""Each way to go once, several in a run."""

WAYS: dict[str, RunSpec] = {
    "blended": changed(acceptance=Acceptance(policy=Policy.ALWAYS, blend=0.5)),
    "screened": changed(
        acceptance=Acceptance(finalists=1, probe_steps=2, screening_rounds=3),
        mentor=MentorChoice("random_tokens", proposals=8),
    ),
    "screened_by_accuracy": changed(
        {"calibration": Calibration.CONTENT_FREE},
        acceptance=Acceptance(finalists=1, probe_steps=2, screening_rounds=2),
        criterion=Criterion.ACCURACY,
    ),
    "raced_without_calibration": changed(
        {"calibration": Calibration.NONE, "demonstrations": 1},
        acceptance=Acceptance(finalists=3, probe_steps=2, probe_scores=2),
    ),
    "description": changed(
        {"n_tokens": 30, "initial_text": "description"}, mentor=MentorChoice("description")
    ),
    "description_first": changed(
        {"n_tokens": 30},
        mentor=MentorChoice("random_tokens", proposals=3, description_first=True),
        stages=Stages(3, 3, 2, first_steps=0),
    ),
    "hint_tokens": changed(mentor=MentorChoice("hint_tokens", proposals=4)),
    "asked_first": changed(stages=Stages(3, 3, 2, first_steps=0)),
    "raced_first": changed(
        stages=Stages(3, 3, 2, first_steps=0),
        acceptance=dataclasses.replace(SPEC.acceptance, first=Policy.RACE),
    ),
    "no_steps": changed(budget=Budget(gradient_steps=0)),
    "forward_rows": changed(budget=Budget(forward_rows=1_500)),
    "before_text": changed({"position": PromptPosition.BEFORE_TEXT}),
    **{
        name: changed(optimizer=Optimizer(name, 0.1, batch_size=4, directions=directions))
        for name, directions in {
            "zo_adam": 2,
            "forward_grad": 2,
            "cma": 4,
        }.items()
    },
}
ADAPTED = {
    "lora": dataclasses.replace(
        SPEC,
        objective=Lora(rank=2, model="tiny"),
        mentor=MentorChoice("perturb", proposals=2),
    ),
    "prefix_tuning": dataclasses.replace(
        SPEC,
        objective=PrefixTuning(n_tokens=2, model="tiny"),
        mentor=MentorChoice("recombine", proposals=2),
        optimizer=Optimizer("zo_adam", 0.1, batch_size=4),
    ),
}


@pytest.mark.slow
@pytest.mark.usefixtures("cheap_baselines")
@pytest.mark.parametrize(
    "spec",
    [
        *(pytest.param(spec, id=name) for name, spec in TOGETHER.items()),
        *(pytest.param(spec, id=name, marks=pytest.mark.campaign) for name, spec in WAYS.items()),
    ],
)
def test_every_way_goes_on_exactly(spec: RunSpec) -> None:
    how, store, control = with_model(), TemporaryRunStore(), StopsAt()
    whole, broken = create(store, spec), create(store, spec)
    assert go(store, whole, control, how) is RunState.SUCCEEDED
    run = store.get_run(whole)
    assert run.result is not None
    assert run.usage.mentor_calls == run.usage.usable_answers > 0
    statuses = {
        outcome["status"]
        for kind, *entry in effective(store, whole)
        if kind == "restart_decided"
        for outcome in entry[0].get("outcomes", ())
    }
    assert statuses
    assert "malformed" not in statuses
    interrupted(store, broken, how, control.asked * 3 // 5)
    assert effective(store, broken) == effective(store, whole)
    files = run_files(store, broken)
    assert {ARTIFACT, "model.json", "prompt.txt"} <= set(files)
    assert files == run_files(store, whole)


@pytest.mark.slow
@pytest.mark.usefixtures("cheap_baselines")
@pytest.mark.parametrize(
    "name", [pytest.param("lora", marks=pytest.mark.campaign), "prefix_tuning"]
)
def test_adapters_go_on_exactly(name: str) -> None:
    how, store, control = with_model(), TemporaryRunStore(), StopsAt()
    whole, broken = create(store, ADAPTED[name]), create(store, ADAPTED[name])
    assert go(store, whole, control, how) is RunState.SUCCEEDED
    (decided,) = (entry[1] for entry in effective(store, whole) if entry[0] == "restart_decided")
    assert len(decided["branches"]) == 2, "it raced"
    interrupted(store, broken, how, control.asked * 3 // 5)
    assert effective(store, broken) == effective(store, whole)
    assert run_files(store, broken) == run_files(store, whole)


@pytest.mark.campaign
@pytest.mark.usefixtures("cheap_baselines")
@pytest.mark.parametrize(
    ("labels", "state_bytes"), [(NESTED, DEFAULT_STATE_BYTES), (("bad", "good"), 20_000)]
)
def test_it_goes_on_exactly_wherever_it_is_paused(
    labels: tuple[str, ...], state_bytes: int
) -> None:
    """With labels of several tokens; with texts some of which are computed anew."""
    how, store, control = with_model(labels, state_bytes), TemporaryRunStore(), StopsAt()
    whole = create(store, SPEC)
    assert go(store, whole, control, how) is RunState.SUCCEEDED
    log = effective(store, whole)
    for n in range(1, control.asked, max(1, control.asked // 4)):
        run_id = create(store, SPEC)
        assert go(store, run_id, StopsAt(n), how) is RunState.PAUSED
        assert go(store, run_id, StopsAt(), how) is RunState.SUCCEEDED
        assert effective(store, run_id) == log
        assert store.read_artifact(run_id, ARTIFACT) == store.read_artifact(whole, ARTIFACT)


@pytest.mark.slow
@pytest.mark.usefixtures("cheap_baselines")
def test_overlapped_it_goes_on_exactly() -> None:
    def ask(
        mentor: Any, request: ProposalRequest, incumbent: Scored, pool: Sequence[Scored]
    ) -> AfterSteps:
        return AfterSteps(2, mentor.propose(request, incumbent, pool))

    how = dataclasses.replace(
        with_model(), ask=ask, mentor=lambda _, built: RandomTokens(built.language)
    )
    choice = MentorChoice("small", proposals=4, mode=MentorMode.OVERLAPPED)
    spec = changed(mentor=choice, stages=Stages(count=2, steps=5, candidates=2))
    store, control = TemporaryRunStore(), StopsAt()
    whole, broken = create(store, spec), create(store, spec)
    assert go(store, whole, control, how) is RunState.SUCCEEDED
    (received,) = (e[1] for e in effective(store, whole) if e[0] == "proposals_received")
    assert received["lag_steps"] == 2
    interrupted(store, broken, how, control.asked // 2)
    assert effective(store, broken) == effective(store, whole)
    assert store.read_artifact(broken, ARTIFACT) == store.read_artifact(whole, ARTIFACT)
