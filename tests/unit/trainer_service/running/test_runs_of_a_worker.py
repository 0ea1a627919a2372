"""Runs that one worker executes one after another: texts are passed once, figures are the same."""

from __future__ import annotations

import dataclasses
import functools
import io
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from mentorgrad.domain.objective import CausalPrompt, ModelDtype, PromptPosition
from mentorgrad.domain.run import RunState
from mentorgrad.domain.spec import (
    Acceptance,
    Budget,
    DataFiles,
    MentorChoice,
    Optimizer,
    RunSpec,
    Stages,
    Task,
)
from tests.support.effective_log import effective, run_files
from tests.support.tiny_models import make_causal
from tests.unit.trainer_service.running.test_alternation import Done
from trainer_service import worker as worker_process
from trainer_service.encoding.causal_model import CausalModel
from trainer_service.job import EXIT_FAILED, EXIT_OK, WorkerJob
from trainer_service.objectives.build import BuildInputs
from trainer_service.objectives.causal_prompt.problem import CausalPromptProblem
from trainer_service.objectives.causal_prompt.scorer import CausalScorer
from trainer_service.objectives.kept_results import KeptResults
from trainer_service.run_composition import run_parts
from trainer_service.tasks.data import Split

pytestmark = pytest.mark.slow

SPEC = RunSpec(
    objective=CausalPrompt("llama", n_tokens=3, demonstrations=1),
    task=Task(
        "own",
        DataFiles("rows.jsonl", test="test.jsonl"),
        "what it is",
        ("good", "bad"),
        4,
        selection_rows=4,
    ),
    optimizer=Optimizer(batch_size=4),
    stages=Stages(count=2, steps=2),
    mentor=MentorChoice("random_tokens", proposals=2),
    budget=Budget(gradient_steps=6),
)
OTHER_ARM = dataclasses.replace(
    SPEC,
    mentor=MentorChoice("perturb", proposals=2),
    acceptance=Acceptance(finalists=1, probe_steps=1),
)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@functools.cache
def loaded(folder: Path, dtype: str) -> CausalModel:
    """A worker reads the model for each run, which takes as long as the rest of it."""
    return CausalModel(folder, torch.device("cpu"), dtype)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("root")
    make_causal(folder / "llama")
    rows = [{"text": f"movie {n} " + "good " * n, "label": n % 2} for n in range(20)]
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    tests = [{"text": f"film {n} " + "bad " * n, "label": n % 2} for n in range(6)]
    (folder / "test.jsonl").write_text("\n".join(map(json.dumps, tests)) + "\n")
    return folder


class Worker:
    """Executes runs one after another; notes what is passed through the model without a prompt."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch, mib: int = 2048) -> None:
        self.known = KeptResults()
        self.texts: Counter[tuple[int, ...]] = Counter()
        self.splits: Counter[Split] = Counter()
        self._job = WorkerJob(
            run_id="-",
            store="-",
            data_roots=(str(root),),
            model_roots=(str(root),),
            state_cache_mib=mib,
        )
        states, in_words = CausalScorer.states, CausalPromptProblem._in_words

        def noted(scorer: Any, rows: Sequence[Sequence[int]], *others: Any) -> Any:
            self.texts.update(tuple(row) for row in rows)
            return states(scorer, rows, *others)

        def seen(problem: Any, render: Any, split: Split) -> Any:
            if render == problem._inputs.template.unprompted:
                self.splits[split] += 1
            return in_words(problem, render, split)

        monkeypatch.setattr(
            BuildInputs, "causal_model", lambda _, name, dtype: loaded(root / name, dtype)
        )
        monkeypatch.setattr(CausalScorer, "states", noted)
        monkeypatch.setattr(CausalPromptProblem, "_in_words", seen)

    def result(self, spec: RunSpec) -> tuple[Any, dict[str, bytes]]:
        """What a run records, times aside, and its files."""
        done = Done(spec, run_parts(self._job, self.known))
        assert done.state is RunState.SUCCEEDED, done.run.reason
        return effective(done.store, done.run_id), run_files(done.store, done.run_id)


def of_line_break(worker: Worker) -> tuple[int, ...]:
    """The one token on which each problem measures the size of its states."""
    return min(worker.texts, key=len)


def test_the_second_run_of_a_worker_passes_no_text_again(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        fresh = Worker(root, patched).result(OTHER_ARM)
    worker = Worker(root, monkeypatch)
    worker.result(SPEC)
    passed, splits = Counter(worker.texts), Counter(worker.splits)
    assert splits == dict.fromkeys(Split, 1)
    assert len(passed) > 2 + 8 + 6
    assert worker.result(OTHER_ARM) == fresh
    assert worker.splits == splits
    again = worker.texts - passed
    assert set(again) == {of_line_break(worker)}


@pytest.mark.parametrize(
    "changes",
    [
        [{"dtype": ModelDtype.BFLOAT16}, {"demonstrations": 0}],
        pytest.param([{"template": "{text}\n{prompt}\n{label}"}], marks=pytest.mark.campaign),
    ],
)
def test_a_run_with_other_inputs_takes_nothing_from_those_before(
    root: Path, monkeypatch: pytest.MonkeyPatch, changes: list[dict[str, Any]]
) -> None:
    worker = Worker(root, monkeypatch)
    worker.result(SPEC)
    for changed in changes:
        other = dataclasses.replace(SPEC, objective=dataclasses.replace(SPEC.objective, **changed))
        with monkeypatch.context() as patched:
            fresh = Worker(root, patched).result(other)
        assert worker.result(other) == fresh, changed


def test_a_prompt_in_front_of_the_text_shares_what_the_model_says_without_one(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    objective = dataclasses.replace(SPEC.objective, position=PromptPosition.BEFORE_TEXT)
    first, second = (dataclasses.replace(spec, objective=objective) for spec in (SPEC, OTHER_ARM))
    with monkeypatch.context() as patched:
        fresh = Worker(root, patched).result(second)
    worker = Worker(root, monkeypatch)
    worker.result(first)
    assert worker.result(second) == fresh
    assert worker.splits == dict.fromkeys(Split, 1)


def test_the_limit_holds_over_all_runs(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where one run's texts take most of it: each run is as in a worker of its own."""
    with monkeypatch.context() as patched:
        whole = Worker(root, patched)
        fresh = [whole.result(dataclasses.replace(SPEC, seed=seed)) for seed in range(2)]
        taken = whole.known.bytes
    most: list[int] = []
    get, limit = KeptResults.get, KeptResults.limit
    worker = Worker(root, monkeypatch)

    def watched(known: KeptResults, *args: Any) -> Any:
        made = get(known, *args)
        most.append(known.bytes)
        return made

    monkeypatch.setattr(KeptResults, "get", watched)
    monkeypatch.setattr(KeptResults, "limit", lambda known, _: limit(known, taken // 2))
    found = [worker.result(dataclasses.replace(SPEC, seed=seed)) for seed in range(2)]
    assert found == fresh
    assert taken // 4 < max(most) <= taken // 2


def test_nothing_is_kept_where_nothing_is_to_be(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = Worker(root, monkeypatch, mib=0)
    assert worker.result(SPEC) == worker.result(SPEC)
    assert worker.known.bytes == 0
    assert worker.splits == dict.fromkeys(Split, 2)


def test_a_worker_gives_each_run_what_it_keeps_and_nothing_after_a_failure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The failed run may have lacked the memory."""
    found = []

    def execute(line: bytes, stopper: Any, known: KeptResults, *_: Any) -> int:
        known.limit(100)
        found.append(known.bytes)
        known.get(len(found), lambda: [torch.zeros(10)])
        return EXIT_FAILED if line == b"fails\n" else EXIT_OK

    monkeypatch.setattr(worker_process, "_do", execute)
    monkeypatch.setattr(
        worker_process, "_tidy", lambda imported: None
    )  # would look at all of the suite
    monkeypatch.setattr(worker_process.signal, "signal", lambda *_: None)
    lines = io.BytesIO(b"goes\nfails\ngoes\ngoes\n")
    monkeypatch.setattr(worker_process.sys, "stdin", SimpleNamespace(buffer=lines))
    assert worker_process.main([]) == EXIT_OK
    assert found == [0, 40, 0, 40]
    ended = [json.loads(said)["ended"] for said in capsys.readouterr().out.splitlines() if said]
    assert ended == [EXIT_OK, EXIT_FAILED, EXIT_OK, EXIT_OK]
