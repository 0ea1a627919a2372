"""A resumed run is the run that was never stopped: the same effective log, the same bytes."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch

from mentorgrad.domain.advice import AnswerStatus, ProposalRequest
from mentorgrad.domain.event import (
    CheckpointSaved,
    Created,
    EventKind,
    ProposalsReceived,
    Resumed,
)
from mentorgrad.domain.objective import (
    Function,
    LabelPrompt,
    Lora,
    ModelDtype,
    PrefixTuning,
    PromptTuning,
    Xgblora,
)
from mentorgrad.domain.query import EventQuery
from mentorgrad.domain.run import RunState
from mentorgrad.domain.spec import (
    RANDOM_SETTINGS,
    Acceptance,
    Budget,
    Criterion,
    DataFiles,
    Fallback,
    MentorChoice,
    Optimizer,
    Policy,
    RunSpec,
    Stages,
    Task,
)
from mentorgrad.errors import NotFound
from run_store.protocols import RunStore
from run_store.temporary_store import TemporaryRunStore
from tests.support import tiny_models
from tests.support.effective_log import effective, run_files
from tests.support.numerics import DEVICES, tiny
from trainer_service.baselines import compute
from trainer_service.job import WorkerJob
from trainer_service.mentors.controls import RandomTokens
from trainer_service.objectives.row_parts import RowParts
from trainer_service.objectives.torch_free import ARTIFACT, MODEL_FILE
from trainer_service.run_composition import run_parts
from trainer_service.running.execution import Parts, execute
from trainer_service.running.stop_control import Stop, StopKind

LEASE = timedelta(seconds=30)
SPEC = RunSpec(
    objective=Function("levy", 3),
    optimizer=Optimizer(learning_rate=0.05),
    stages=Stages(count=3, steps=12, candidates=3),
    mentor=MentorChoice("random_tokens", proposals=5),
    acceptance=Acceptance(finalists=2, probe_steps=4),
    budget=Budget(gradient_steps=80, evaluations=60),
    seed=3,
)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def store() -> Iterator[RunStore]:
    opened = TemporaryRunStore()
    yield opened
    opened.close()


class StopsAt:
    """A control that stops the n-th time it is asked, and says how often it was."""

    def __init__(self, n: int | None = None, kind: StopKind = StopKind.PAUSE) -> None:
        self.asked = 0
        self._n = n
        self._kind = kind

    def check(self) -> None:
        self.asked += 1
        if self._n is not None and self.asked > self._n:
            raise Stop(self._kind)

    def on_stop(self, callback: Callable[[], None]) -> None:
        pass


def longer(*values: Any) -> Any:
    """A case that repeats what another shows."""
    return pytest.param(*values, marks=pytest.mark.campaign)


def parts() -> Parts:
    return run_parts(WorkerJob(run_id="-", store="-"))


def create(store: RunStore, spec: RunSpec = SPEC) -> str:
    return store.create(Created(spec=spec))[0].run_id


def go(store: RunStore, run_id: str, control: StopsAt, how: Parts | None = None) -> RunState:
    run = store.get_run(run_id)
    if run.state is RunState.PAUSED:
        store.transition(run_id, RunState.QUEUED)
    lease = store.claim(run_id, "test", LEASE)
    return execute(store, run, lease, how or parts(), control)


@pytest.fixture(scope="module")
def whole() -> tuple[list[Any], bytes, int]:
    """An uninterrupted run: its log, its artifact, and how often it asked whether to stop."""
    torch.set_num_threads(1)
    store = TemporaryRunStore()
    run_id, control = create(store), StopsAt()
    assert go(store, run_id, control) is RunState.SUCCEEDED
    return effective(store, run_id), store.read_artifact(run_id, ARTIFACT), control.asked


def test_the_run_stops_in_stages_and_in_races(whole: tuple[list[Any], bytes, int]) -> None:
    log, _, asked = whole
    steps = sum(entry[0] == "snapshot" for entry in log)
    assert asked > steps + 10, "probe steps ask too"
    assert sum(entry[0] == "restart_decided" for entry in log) == 2


@pytest.mark.slow
@pytest.mark.parametrize("n", [0, 12, 18, 52, *map(longer, (1, 13, 27, 36, 69))])
def test_paused_anywhere_it_goes_on_exactly(
    whole: tuple[list[Any], bytes, int], store: RunStore, n: int
) -> None:
    log, artifact, asked = whole
    assert n < asked
    run_id = create(store)
    assert go(store, run_id, StopsAt(n)) is RunState.PAUSED
    assert go(store, run_id, StopsAt()) is RunState.SUCCEEDED
    assert effective(store, run_id) == log
    assert store.read_artifact(run_id, ARTIFACT) == artifact
    assert store.get_run(run_id).usage.gradient_steps == 80


WORDS = RunSpec(
    objective=LabelPrompt("tiny", n_tokens=3),
    task=Task("tickets", shots=2, selection_rows=3, test_rows=3),
    optimizer=Optimizer(learning_rate=0.1, batch_size=8),
    stages=Stages(count=2, steps=4, candidates=2),
    mentor=MentorChoice("random_tokens", proposals=2),
    acceptance=Acceptance(finalists=1, probe_steps=2),
    seed=5,
)


SOFT = {
    "adamw": WORDS,
    "forward_grad": dataclasses.replace(
        WORDS, optimizer=Optimizer("forward_grad", 0.1, batch_size=8, directions=2)
    ),
    "cma": dataclasses.replace(
        WORDS,
        objective=LabelPrompt("tiny", n_tokens=20),  # more numbers than are searched whole
        optimizer=Optimizer("cma", 0.1, batch_size=8, directions=4, subspace=5),
        criterion=Criterion.MACRO_F1,
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["adamw", longer("forward_grad"), "cma"])
@pytest.mark.parametrize("device", DEVICES)
def test_a_soft_prompt_goes_on_exactly_too(
    tmp_path: Path, device: torch.device, name: str, request: pytest.FixtureRequest
) -> None:
    if name != "adamw":
        request.getfixturevalue("cheap_baselines")
    spec = SOFT[name]
    tiny_models.make(tmp_path / "tiny")
    roots = {"model_roots": (str(tmp_path),), "cache_dir": str(tmp_path / "cache")}
    how = run_parts(WorkerJob(run_id="-", store="-", device=str(device), **roots))
    store = TemporaryRunStore()
    whole_id = create(store, spec)
    assert go(store, whole_id, StopsAt(), how) is RunState.SUCCEEDED
    log = effective(store, whole_id)
    result = store.get_run(whole_id).result
    assert result is not None
    assert [item.name for item in result.baselines if item.test] == list(compute.BASELINES)
    assert result.baselines[1].test == result.zero_shot
    assert {item.labelled_rows for item in result.baselines} == {0, 6 * (2 + 3)}
    assert sum(entry[0] == "snapshot" for entry in log) == 8
    (decided,) = (entry[1] for entry in log if entry[0] == "restart_decided")
    assert len(decided["branches"]) == 2, "it raced"

    run_id = create(store, spec)
    # Between the second and the third step, then in the race after them.
    assert go(store, run_id, StopsAt(4), how) is RunState.PAUSED
    assert store.get_run(run_id).step == 2
    assert go(store, run_id, StopsAt(7), how) is RunState.PAUSED
    assert store.get_run(run_id).step == 4
    assert not any(entry[0] == "restart_decided" for entry in effective(store, run_id))
    assert any(entry[0] == "proposals_received" for entry in effective(store, run_id))
    assert go(store, run_id, StopsAt(), how) is RunState.SUCCEEDED
    assert effective(store, run_id) == log
    assert store.read_artifact(run_id, ARTIFACT) == store.read_artifact(whole_id, ARTIFACT)

    if name != "adamw":
        return
    control = StopsAt()  # the texts are in the cache by now
    assert go(store, create(store, spec), control, how) is RunState.SUCCEEDED
    run_id = create(store, spec)
    assert go(store, run_id, StopsAt(control.asked - 2), how) is RunState.PAUSED
    assert store.get_run(run_id).step == 8, "all steps were taken: it computed a baseline"
    assert go(store, run_id, StopsAt(), how) is RunState.SUCCEEDED
    assert effective(store, run_id) == log


@pytest.mark.slow
@pytest.mark.usefixtures("cheap_baselines")
@pytest.mark.parametrize(
    ("choice", "steps"),
    [
        (MentorChoice("description", proposals=9), 0),
        (MentorChoice("random_tokens", proposals=3, options={"words": "train_texts"}), None),
    ],
    ids=["description", "random_tokens"],
)
def test_the_words_of_the_task_go_on_exactly_too(
    tmp_path: Path, choice: MentorChoice, steps: int | None
) -> None:
    tiny_models.make(tmp_path / "tiny", "roberta")
    roots = {"model_roots": (str(tmp_path),), "cache_dir": str(tmp_path / "cache")}
    how = run_parts(WorkerJob(run_id="-", store="-", **roots))
    spec = dataclasses.replace(
        WORDS,
        objective=LabelPrompt("tiny", n_tokens=16, initial_text="description"),
        task=Task("tickets", shots=2, selection_rows=2, test_rows=1),
        stages=Stages(count=3, steps=2, candidates=1, first_steps=0),
        mentor=choice,
        budget=Budget(gradient_steps=steps),
    )
    store = TemporaryRunStore()
    whole, run_id, control = create(store, spec), create(store, spec), StopsAt()
    assert go(store, whole, control, how) is RunState.SUCCEEDED
    log = effective(store, whole)
    assert sum(entry[0] == "proposals_received" for entry in log) == 2
    assert go(store, run_id, StopsAt(control.asked // 2, StopKind.LOST), how) is RunState.RUNNING
    store.transition(run_id, RunState.INTERRUPTED, "the worker died", attempt=1)
    assert go(store, run_id, StopsAt(), how) is RunState.SUCCEEDED
    assert effective(store, run_id) == log
    assert store.read_artifact(run_id, ARTIFACT) == store.read_artifact(whole, ARTIFACT)


WITH_CLASSIFIER = [
    pytest.param(PromptTuning("tiny", n_tokens=2), "perturb", 2, id="prompt_tuning"),
    pytest.param(Xgblora("tiny", 3, 3, layers=1), "perturb", 7, id="xgblora"),
    pytest.param(
        Lora("tiny", rank=2, dtype=ModelDtype.BFLOAT16), RANDOM_SETTINGS, 9, id="lora_settings"
    ),
    # `test_resume_causal` shows prefix tuning.
    longer(PrefixTuning("tiny", n_tokens=2), "random_init", 9),
    longer(Lora("tiny", rank=2), "recombine", 9),
    longer(Xgblora("tiny", 3, 3, layers=1), RANDOM_SETTINGS, 9),
]


@pytest.mark.slow
@pytest.mark.usefixtures("cheap_baselines")
@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("objective", "mentor", "every"), WITH_CLASSIFIER)
def test_what_has_a_classifier_goes_on_exactly_too(
    tmp_path: Path, objective: Any, mentor: str, every: int, device: torch.device
) -> None:
    tiny_models.make(tmp_path / "tiny")
    lines = [
        json.dumps({"text": text, "label": int("good" in text or "bad" in text)})
        for text in tiny_models.TEXTS
    ]
    (tmp_path / "rows.jsonl").write_text("\n".join(lines))
    roots = {"data_roots": (str(tmp_path),), "model_roots": (str(tmp_path),)}
    how = run_parts(WorkerJob(run_id="-", store="-", device=str(device), **roots))
    spec = dataclasses.replace(
        WORDS,
        objective=objective,
        mentor=MentorChoice(mentor, proposals=2),
        # Eight batches per epoch: rows of similar length are brought together.
        optimizer=Optimizer(learning_rate=0.1, batch_size=2),
        task=Task(
            name="own",
            data=DataFiles("rows.jsonl"),
            labels=("other", "worth"),
            description="what is said",
            shots=8,
            selection_rows=4,
        ),
    )
    store = TemporaryRunStore()
    whole_id, control = create(store, spec), StopsAt()
    assert go(store, whole_id, control, how) is RunState.SUCCEEDED
    log = effective(store, whole_id)
    (decided,) = (entry[1] for entry in log if entry[0] == "restart_decided")
    assert len(decided["branches"]) == 2, "it raced"

    run_id = create(store, spec)
    paused_at, n = [], 2
    while go(store, run_id, StopsAt(n), how) is RunState.PAUSED:
        paused_at.append(store.get_run(run_id).step)
        n += every  # while texts are read, in stages, scorings and races
    assert {0, 4} <= set(paused_at) or every > 2
    assert effective(store, run_id) == log
    files = run_files(store, run_id)
    adapter = {"adapter_config.json", "adapter_model.safetensors"}
    assert set(files) == adapter | {ARTIFACT, MODEL_FILE}
    assert files == run_files(store, whole_id)


@pytest.mark.slow
@pytest.mark.usefixtures("cheap_baselines")
def test_steps_that_a_lack_of_memory_has_divided_go_on_in_the_same_parts() -> None:
    built = tiny()
    losses = built.problem.losses
    spec = RunSpec(
        objective=PromptTuning(n_tokens=3),
        optimizer=Optimizer(batch_size=8),
        stages=Stages(count=1, steps=3, candidates=1),
    )
    store, how = TemporaryRunStore(), parts()
    how = dataclasses.replace(how, objective=lambda spec, check: built)

    def begin(most: int) -> str:
        """A run that has memory for so many rows."""

        def limited(points: Any, rows: Any) -> Any:
            if len(rows) > most:
                raise MemoryError
            return losses(points, rows)

        built.problem.losses = limited  # type: ignore[method-assign]
        built.problem.parts = RowParts(doubles=True)
        return create(store, spec)

    whole_id = begin(3)
    assert go(store, whole_id, StopsAt(), how) is RunState.SUCCEEDED
    assert built.problem.parts.count == 4
    assert json.loads(store.read_artifact(whole_id, MODEL_FILE))["rows_at_once"] == 2
    result = store.get_run(whole_id).result
    assert result is not None
    assert result.rows_at_once == 2
    divided = [entry[1] for entry in effective(store, whole_id) if entry[0] == "step_divided"]
    assert divided == [{"stage": 0, "step": 1, "parts": 4, "rows_at_once": 2}]

    run_id = begin(3)
    assert go(store, run_id, StopsAt(3, StopKind.LOST), how) is RunState.RUNNING
    assert store.get_run(run_id).step == 1
    begin(8)
    store.transition(run_id, RunState.INTERRUPTED, "the worker died", attempt=1)
    assert go(store, run_id, StopsAt(), how) is RunState.SUCCEEDED
    assert effective(store, run_id) == effective(store, whole_id)
    assert store.read_artifact(run_id, ARTIFACT) == store.read_artifact(whole_id, ARTIFACT)


def test_paused_again_and_again(whole: tuple[list[Any], bytes, int], store: RunStore) -> None:
    log, artifact, _ = whole
    run_id = create(store)
    states = []
    # 17 is more than a race takes: what is shorter would never get past one.
    while not states or states[-1] is not RunState.SUCCEEDED:
        states.append(go(store, run_id, StopsAt(17)))
    assert len(states) > 4
    assert effective(store, run_id) == log
    assert store.read_artifact(run_id, ARTIFACT) == artifact


@pytest.mark.slow
@pytest.mark.parametrize("n", [5, 60, longer(18)])
def test_a_dead_worker_costs_nothing_but_time(
    whole: tuple[list[Any], bytes, int], store: RunStore, n: int
) -> None:
    log, artifact, _ = whole
    run_id = create(store)
    # A lost lease records nothing at all, as death does.
    assert go(store, run_id, StopsAt(n, StopKind.LOST)) is RunState.RUNNING
    store.transition(run_id, RunState.INTERRUPTED, "the worker died", attempt=1)
    assert go(store, run_id, StopsAt()) is RunState.SUCCEEDED
    assert effective(store, run_id) == log
    assert store.read_artifact(run_id, ARTIFACT) == artifact


@pytest.mark.slow
@pytest.mark.parametrize("control", ["perturb", "recombine", longer("random_init")])
def test_a_control_s_raw_proposals_are_drawn_again(store: RunStore, control: str) -> None:
    """Their tensors are not in the log, and a dead worker leaves no checkpoint with them."""
    spec = dataclasses.replace(SPEC, mentor=MentorChoice(control, proposals=4))
    whole, broken = create(store, spec), create(store, spec)
    assert go(store, whole, StopsAt()) is RunState.SUCCEEDED
    assert go(store, broken, StopsAt(18, StopKind.LOST)) is RunState.RUNNING
    store.transition(broken, RunState.INTERRUPTED, "the worker died", attempt=1)
    assert go(store, broken, StopsAt()) is RunState.SUCCEEDED
    assert effective(store, broken) == effective(store, whole)
    assert store.read_artifact(broken, ARTIFACT) == store.read_artifact(whole, ARTIFACT)


class CountingMentor(RandomTokens):
    """Answers differently every time it is asked, whatever the seed."""

    asked: list[str]

    def propose(self, request: ProposalRequest, incumbent: Any, pool: Any) -> Any:
        self.asked.append(request.request_id)
        changed = dataclasses.replace(request, seed=1000 + len(self.asked))
        return super().propose(changed, incumbent, pool)


def test_an_answer_in_the_log_is_never_asked_for_again(
    store: RunStore,
) -> None:
    asked: list[str] = []

    def mentor(run: Any, objective: Any) -> CountingMentor:
        made = CountingMentor(objective.language)
        made.asked = asked
        return made

    how = dataclasses.replace(parts(), mentor=mentor)
    run_id = create(store)
    # Into the first race, and dead: the answer is in the log, and no checkpoint holds it.
    assert go(store, run_id, StopsAt(18, StopKind.LOST), how) is RunState.RUNNING
    assert asked == ["s0"]
    store.transition(run_id, RunState.INTERRUPTED, "the worker died", attempt=1)
    assert go(store, run_id, StopsAt(), how) is RunState.SUCCEEDED
    assert asked == ["s0", "s1"]
    answers = [
        event.payload.answer
        for event in store.events(run_id, EventQuery(kinds=(EventKind.PROPOSALS_RECEIVED,)))
        if isinstance(event.payload, ProposalsReceived)
    ]
    assert [answer.request_id for answer in answers] == ["s0", "s0", "s1"]
    assert answers[0] == answers[1]


class AbsentMentor(RandomTokens):
    """Does not answer."""

    def propose(self, request: ProposalRequest, incumbent: Any, pool: Any) -> Any:
        answer = super().propose(request, incumbent, pool)
        return dataclasses.replace(
            answer, status=AnswerStatus.UNAVAILABLE, proposals=(), detail="nobody there"
        )


@pytest.mark.slow
@pytest.mark.parametrize("n", [40, longer(18)])
def test_a_lost_mentor_stays_lost_over_a_resume(n: int) -> None:
    spec = dataclasses.replace(
        SPEC, mentor=MentorChoice("random_tokens", proposals=5, fallback=Fallback.RANDOM_TOKENS)
    )
    how = dataclasses.replace(parts(), mentor=lambda _, objective: AbsentMentor(objective.language))
    logs = []
    for stops in ([], [n]):
        store = TemporaryRunStore()
        run_id = create(store, spec)
        for stop in stops:
            assert go(store, run_id, StopsAt(stop), how) is RunState.PAUSED
        assert go(store, run_id, StopsAt(), how) is RunState.SUCCEEDED
        logs.append(effective(store, run_id))
        usage = store.get_run(run_id).usage
        assert (usage.mentor_calls, usage.usable_answers, usage.fallbacks) == (2, 0, 2)
    assert logs[0] == logs[1]
    kinds = [entry[0] for entry in logs[0]]
    assert kinds.count("mentor_lost") == 1
    assert kinds.count("proposals_received") == 4


def test_a_torn_checkpoint_falls_back_to_the_one_before(
    whole: tuple[list[Any], bytes, int], store: RunStore
) -> None:
    log, artifact, _ = whole
    run_id = create(store)
    assert go(store, run_id, StopsAt(30)) is RunState.PAUSED
    assert go(store, run_id, StopsAt(10)) is RunState.PAUSED
    query = EventQuery(kinds=(EventKind.CHECKPOINT_SAVED,), effective=True)
    saved = [e for e in store.events(run_id, query) if isinstance(e.payload, CheckpointSaved)]
    newest = saved[-1].payload
    store.transition(run_id, RunState.QUEUED)
    store.claim(run_id, "vandal", LEASE)
    store.put_blob(run_id, 3, newest.artifact, b"torn" * 100, checkpoint=True)
    store.transition(run_id, RunState.INTERRUPTED, "the worker died", attempt=3)
    assert go(store, run_id, StopsAt()) is RunState.SUCCEEDED
    resumed = [e.payload for e in store.events(run_id) if isinstance(e.payload, Resumed)]
    assert resumed[-1].checkpoint_seq == saved[-2].seq
    assert effective(store, run_id) == log
    assert store.read_artifact(run_id, ARTIFACT) == artifact


def test_only_the_last_two_checkpoints_are_kept(store: RunStore) -> None:
    run_id = create(store)
    for n in (5, 5, 5):
        assert go(store, run_id, StopsAt(n)) is RunState.PAUSED
    query = EventQuery(kinds=(EventKind.CHECKPOINT_SAVED,))
    names = [
        e.payload.artifact
        for e in store.events(run_id, query)
        if isinstance(e.payload, CheckpointSaved)
    ]
    assert len(names) == 3
    with pytest.raises(NotFound):
        store.read_artifact(run_id, names[0])
    assert all(store.read_artifact(run_id, name) for name in names[1:])
    assert store.artifacts(run_id) == ()


def test_cancel_leaves_its_best_but_no_checkpoint_and_no_result() -> None:
    store = TemporaryRunStore()
    run_id = create(store)
    assert go(store, run_id, StopsAt(5, StopKind.CANCEL)) is RunState.CANCELLED
    run = store.get_run(run_id)
    assert (run.state, run.result) == (RunState.CANCELLED, None)
    assert [item.name for item in store.artifacts(run_id)] == [ARTIFACT]
    query = EventQuery(kinds=(EventKind.CHECKPOINT_SAVED,))
    assert list(store.events(run_id, query)) == []


# -- stages without steps, and edits ----------------------------------------------------------


class EditingMentor(RandomTokens):
    """Points that are edits of the run's start."""

    def propose(self, request: ProposalRequest, incumbent: Any, pool: Any) -> Any:
        answer = super().propose(request, incumbent, pool)
        edits = tuple(
            dataclasses.replace(proposal, base_id="s0/start", weight=0.25 * (1 + i % 4))
            for i, proposal in enumerate(answer.proposals)
        )
        return dataclasses.replace(answer, proposals=edits)


UNUSUAL = {
    "asked_first": dataclasses.replace(SPEC, stages=Stages(3, 12, 3, first_steps=0)),
    "raced_first": dataclasses.replace(
        SPEC,
        stages=Stages(3, 12, 3, first_steps=0),
        acceptance=dataclasses.replace(SPEC.acceptance, first=Policy.RACE),
    ),
    "no_steps": dataclasses.replace(SPEC, stages=Stages(3, 0, 3), budget=Budget()),
    "budget_of_no_steps": dataclasses.replace(SPEC, budget=Budget(gradient_steps=0)),
    "no_steps_blended": dataclasses.replace(
        SPEC,
        stages=Stages(3, 0, 3),
        budget=Budget(),
        acceptance=Acceptance(policy=Policy.ALWAYS, blend=0.5),
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "raced_first",
        "no_steps_blended",
        "budget_of_no_steps",
        *map(longer, ("asked_first", "no_steps")),
    ],
)
def test_stages_without_steps_and_edits_go_on_exactly(name: str, store: RunStore) -> None:
    how = dataclasses.replace(
        parts(), mentor=lambda _, objective: EditingMentor(objective.language)
    )
    whole, control = create(store, UNUSUAL[name]), StopsAt()
    assert go(store, whole, control, how) is RunState.SUCCEEDED
    for n, kind in ((control.asked // 4, StopKind.LOST), (control.asked * 2 // 3, StopKind.PAUSE)):
        run_id = create(store, UNUSUAL[name])
        assert go(store, run_id, StopsAt(n, kind), how) is not RunState.SUCCEEDED
        if kind is StopKind.LOST:
            store.transition(run_id, RunState.INTERRUPTED, "the worker died", attempt=1)
        assert go(store, run_id, StopsAt(), how) is RunState.SUCCEEDED
        assert effective(store, run_id) == effective(store, whole)
        assert store.read_artifact(run_id, ARTIFACT) == store.read_artifact(whole, ARTIFACT)


@pytest.mark.slow
@pytest.mark.usefixtures("cheap_baselines")
def test_a_start_from_another_run_outlives_that_run(tmp_path: Path) -> None:
    tiny_models.make(tmp_path / "tiny")
    store = TemporaryRunStore()

    def goes(run_id: str, control: StopsAt) -> RunState:
        roots = {"model_roots": (str(tmp_path),), "cache_dir": str(tmp_path / "cache")}
        job = WorkerJob(run_id, store="-", **roots)
        return go(store, run_id, control, run_parts(job, store=store))

    few = dataclasses.replace(WORDS, task=dataclasses.replace(WORDS.task, test_rows=1))
    first, control = create(store, few), StopsAt()
    assert goes(first, StopsAt()) is RunState.SUCCEEDED
    prompt = LabelPrompt("tiny", n_tokens=3, initial_text=f"run:{first}")
    spec = dataclasses.replace(few, objective=prompt)
    whole, stopped = create(store, spec), create(store, spec)
    assert goes(whole, control) is RunState.SUCCEEDED
    assert goes(stopped, StopsAt(control.asked // 2)) is RunState.PAUSED
    store.delete(first)
    assert goes(stopped, StopsAt()) is RunState.SUCCEEDED
    assert effective(store, stopped) == effective(store, whole)
    assert run_files(store, stopped) == run_files(store, whole)
    assert {"start.model.json", f"start.{ARTIFACT}"} <= set(run_files(store, whole))
