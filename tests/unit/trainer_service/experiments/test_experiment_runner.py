"""The way of an experiment, step by step, over a store in memory and workers as told."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

from mentorgrad.domain.agent import Agent
from mentorgrad.domain.event import Created
from mentorgrad.domain.experiment import Arm, ExperimentSpec, ExperimentState, Tuning
from mentorgrad.domain.objective import Function
from mentorgrad.domain.run import Run, RunState
from mentorgrad.domain.spec import MentorChoice, RunSpec, Task
from mentorgrad.errors import InvalidInput, MentorgradError, Unavailable
from run_store.temporary_store import TemporaryRunStore
from run_store.visibility import OnBehalf
from tests.support.quick_runs import end_run, end_runs
from trainer_service.control_plane.mentor_registry import MentorRegistry
from trainer_service.control_plane.run_creation import RunCreation
from trainer_service.experiments import coordinator as module
from trainer_service.experiments import experiment_runner as course_module
from trainer_service.experiments.coordinator import Coordinator
from trainer_service.experiments.expansion import RunPurpose, main_places
from trainer_service.experiments.experiment_runner import ExperimentRunner
from trainer_service.experiments.progress import pace, with_progress
from trainer_service.experiments.reader import ExperimentReader
from trainer_service.experiments.run_submission import cancel_runs, runs_of

SPEC = ExperimentSpec(
    base=RunSpec(Function()),
    tasks=(Task("a"), Task("b")),
    arms=(Arm("none"), Arm("noise", MentorChoice("perturb"))),
    seeds=(0, 1),
)
TUNED = dataclasses.replace(SPEC, tuning=Tuning((0.5, 0.1, 0.02), Task("tune"), (7, 8)))


def by_rate(run: Run) -> float | None:
    """`noise` does best at 0.02; the rate 0.1 looks best for it, and fails for one seed."""
    rate, arm = run.spec.optimizer.learning_rate, run.spec.labels["arm"]
    if arm == "none":
        return abs(rate - 0.1) + 0.1 * run.spec.seed
    return {0.5: 1.0, 0.1: None if run.spec.seed == 8 else 0.0, 0.02: 0.5}.get(rate, 1.0)


def well(run: Run) -> float | None:
    return 1.0 + run.spec.seed


class Rig:
    def __init__(self, queue_limit: int = 1000) -> None:
        self.store = TemporaryRunStore()
        self.checked: list[RunSpec] = []
        self.wrong: MentorgradError | None = None
        mentors = cast(MentorRegistry, None)
        creation = RunCreation(mentors, self._check, lambda: None, queue_limit, Agent())
        self.submission = creation.submit

    def _check(self, spec: RunSpec, *, store: Any, warn: Any = None) -> str:
        if self.wrong is not None:
            raise self.wrong
        self.checked.append(spec)
        return "digest"

    def begin(self, spec: ExperimentSpec) -> str:
        return self.store.create_experiment(spec)[0].experiment_id

    def runner(self, name: str, parallel: int = 4) -> ExperimentRunner:
        return ExperimentRunner(
            self.store, self.store.get_experiment(name), self.submission, lambda: parallel
        )

    def state(self, name: str) -> ExperimentState:
        return self.store.get_experiment(name).state

    def runs(self, name: str, phase: RunPurpose | None = None) -> list[Run]:
        return list(runs_of(self.store, name, phase=phase))

    def finish(
        self, runner: ExperimentRunner, name: str, loss: Callable[[Run], float | None] = well
    ) -> None:
        for _ in range(200):
            runner.advance()
            end_runs(self.store, loss)
            if self.state(name).is_final:
                return
        raise AssertionError("it never ended")


@pytest.fixture
def rig() -> Rig:
    return Rig()


def places(runs: list[Run]) -> list[tuple[str, str, int, float]]:
    return [
        (
            run.spec.labels["arm"],
            run.spec.labels["task"],
            run.spec.seed,
            run.spec.optimizer.learning_rate,
        )
        for run in runs
    ]


# -- the main way -----------------------------------------------------------------------------


def test_every_cell_is_run_once_and_then_it_is_finished(rig: Rig) -> None:
    name = rig.begin(SPEC)
    rig.finish(rig.runner(name), name)
    assert rig.state(name) is ExperimentState.FINISHED
    found = places(rig.runs(name))
    assert len(found) == len(set(found)) == SPEC.runs == 8
    assert rig.store.get_experiment(name).reason == ""
    assert all(run.spec.labels["experiment"] == name for run in rig.runs(name))
    assert rig.runs(name)[0].versions


def test_no_more_are_queued_than_there_is_room_for(rig: Rig) -> None:
    name = rig.begin(SPEC)
    runner = rig.runner(name, parallel=3)
    assert runner.advance() == 3
    assert runner.advance() == 0
    first, second, _ = rig.runs(name)
    end_run(rig.store, first, 1.0)
    assert runner.advance() == 1
    rig.store.transition(second.run_id, RunState.PAUSED)  # takes no room, and is waited for
    assert runner.advance() == 1
    while end_runs(rig.store, well):
        runner.advance()
    assert runner.advance() == 0
    assert rig.state(name) is ExperimentState.RUNNING
    rig.store.transition(second.run_id, RunState.QUEUED)
    rig.finish(runner, name)


def test_a_step_is_short(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(course_module, "MOST_AT_ONCE", 5)
    runner = rig.runner(rig.begin(SPEC), parallel=1000)
    assert [runner.advance() for _ in range(3)] == [5, 3, 0]


def test_failed_runs_are_counted_and_never_tried_again(rig: Rig) -> None:
    name = rig.begin(SPEC)
    rig.finish(rig.runner(name), name, lambda run: None if run.spec.seed == 1 else 1.0)
    ended = with_progress(rig.store, rig.store.get_experiment(name))
    assert (ended.state, ended.reason) == (
        ExperimentState.FINISHED,
        "4 of 8 runs ended without a result",
    )
    assert (ended.progress.succeeded, ended.progress.failed, ended.progress.waiting) == (4, 4, 0)


# -- tuning -----------------------------------------------------------------------------------


def test_rates_are_chosen_for_each_arm_by_itself_and_then_used(rig: Rig) -> None:
    name = rig.begin(TUNED)
    runner = rig.runner(name)
    while len(rig.runs(name)) < 12:
        assert runner.advance() > 0
        assert not rig.runs(name, RunPurpose.MAIN)
        end_runs(rig.store, by_rate)
    rig.finish(runner, name)
    assert len(rig.runs(name, RunPurpose.TUNING)) == 12
    main = rig.runs(name, RunPurpose.MAIN)
    assert {(p[0], p[3]) for p in places(main)} == {("none", 0.1), ("noise", 0.02)}
    assert len(main) == 8
    report = ExperimentReader(rig.store).get_report(name)
    assert {arm.arm: arm.learning_rate for arm in report.arms} == {"none": 0.1, "noise": 0.02}
    assert len(report.cells) == 8
    assert report.complete
    rig.store.drop_run(main[0].run_id)
    report = ExperimentReader(rig.store).get_report(name)
    assert (len(report.cells), report.complete) == (7, False)


def test_an_arm_without_a_rate_ends_it_with_the_reason(rig: Rig) -> None:
    name = rig.begin(TUNED)
    arm_fails = {"none": 1.0, "noise": None}
    rig.finish(rig.runner(name), name, lambda run: arm_fails[run.spec.labels["arm"]])
    ended = rig.store.get_experiment(name)
    assert ended.state is ExperimentState.FAILED
    assert "no learning rate can be chosen for noise" in ended.reason
    assert not rig.runs(name, RunPurpose.MAIN)
    assert not ExperimentReader(rig.store).get_report(name).complete


def test_a_report_before_the_choice_is_of_nothing(rig: Rig) -> None:
    name = rig.begin(TUNED)
    rig.runner(name).advance()
    report = ExperimentReader(rig.store).get_report(name)
    assert (report.cells, report.complete) == ((), False)


# -- breaks -----------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("spec", [SPEC, TUNED])
def test_it_goes_on_after_every_step_as_if_nothing_had_been(rig: Rig, spec: Any) -> None:
    name = rig.begin(spec)
    for _ in range(100):
        rig.runner(name).advance()  # a new service each time
        end_runs(rig.store, by_rate, most=3)
        if rig.state(name).is_final:
            break
    straight = Rig()
    other = straight.begin(spec)
    straight.finish(straight.runner(other), other, by_rate)
    assert sorted(places(rig.runs(name))) == sorted(places(straight.runs(other)))
    assert rig.state(name) is ExperimentState.FINISHED


def test_two_services_do_no_harm_to_each_other(rig: Rig) -> None:
    name = rig.begin(TUNED)
    both = [rig.runner(name), rig.runner(name)]
    for turn in range(200):
        both[turn % 2].advance()
        both[turn % 2 - 1].advance()
        assert len(rig.runs(name)) - sum(r.state.is_final for r in rig.runs(name)) <= 4
        end_runs(rig.store, by_rate, most=1 + turn % 3)
        if rig.state(name).is_final:
            break
    assert rig.state(name) is ExperimentState.FINISHED
    found = places(rig.runs(name))
    assert len(found) == TUNED.runs


@pytest.mark.slow
@pytest.mark.parametrize("phase", list(RunPurpose))
def test_a_run_that_was_deleted_is_made_again(rig: Rig, phase: RunPurpose) -> None:
    name = rig.begin(TUNED)
    runner = rig.runner(name)
    while not rig.runs(name, phase):
        runner.advance()
        end_runs(rig.store, by_rate)
    rig.store.delete(rig.runs(name, phase)[0].run_id)
    rig.finish(runner, name, by_rate)
    assert len(rig.runs(name)) == TUNED.runs
    assert rig.state(name) is ExperimentState.FINISHED


@pytest.mark.slow
def test_a_full_queue_is_waited_for_without_losing_a_run() -> None:
    rig = Rig(queue_limit=3)
    for _ in range(3):
        rig.store.create(Created(RunSpec(Function(), labels={"arm": "other"})))
    name = rig.begin(SPEC)
    runner = rig.runner(name, parallel=8)
    for _ in range(300):
        assert runner.advance() == 0
    assert 1 < len(rig.checked) <= 50  # a try is not cheap
    rig.finish(runner, name)
    assert len(set(places(rig.runs(name)))) == len(rig.runs(name)) == SPEC.runs


def test_a_store_that_is_away_costs_no_run(rig: Rig) -> None:
    name = rig.begin(SPEC)
    runner = rig.runner(name)
    runner.advance()
    rig.wrong = Unavailable("away")
    end_runs(rig.store, well)
    with pytest.raises(Unavailable):
        runner.advance()
    rig.wrong = None
    rig.finish(runner, name)
    assert len(rig.runs(name)) == SPEC.runs


# -- ends -------------------------------------------------------------------------------------


@pytest.mark.slow
def test_data_that_are_gone_end_it_with_its_runs(rig: Rig) -> None:
    name = rig.begin(SPEC)
    runner = rig.runner(name)
    runner.advance()
    rig.wrong = InvalidInput.field("spec.task.data", "is not there any more")
    end_run(rig.store, rig.runs(name)[0], 1.0)
    runner.advance()
    ended = rig.store.get_experiment(name)
    assert (ended.state, ended.reason) == (
        ExperimentState.FAILED,
        "spec.task.data: is not there any more",
    )
    assert {run.state for run in rig.runs(name)} == {RunState.SUCCEEDED, RunState.CANCELLED}


def test_a_run_of_another_spec_under_its_key_ends_it(rig: Rig) -> None:
    name = rig.begin(SPEC)
    first = next(main_places(SPEC, {}))
    rig.store.create(Created(RunSpec(), first.request_id(name)), experiment_id=name)
    rig.runner(name).advance()
    assert rig.state(name) is ExperimentState.FAILED
    assert "another spec" in rig.store.get_experiment(name).reason


def test_keys_and_labels_of_other_runs_count_for_nothing(rig: Rig) -> None:
    """Not even the owner can take an experiment's keys, or make its runs by labels."""
    name = rig.begin(SPEC)
    place = next(main_places(SPEC, {}))
    labels = place.labels(name)
    rig.store.create(Created(RunSpec(labels=labels), place.request_id(name)))
    assert rig.store.count_runs(name) == {}
    rig.finish(rig.runner(name), name)
    assert rig.state(name) is ExperimentState.FINISHED
    assert len(rig.runs(name)) == SPEC.runs


def test_its_runs_belong_to_its_owner(rig: Rig) -> None:
    alice = rig.store.seen_by(OnBehalf("alice", "vision"))
    name = alice.create_experiment(SPEC)[0].experiment_id
    Coordinator(rig.store, rig.submission, lambda: None)._advance_all()
    found = rig.runs(name)
    assert found
    assert {(run.owner, run.project) for run in found} == {("alice", "vision")}
    assert not list(runs_of(rig.store.seen_by(OnBehalf("bob", "")), name))


def test_a_cancel_in_the_middle_of_a_step_leaves_no_run_queued(rig: Rig) -> None:
    name = rig.begin(SPEC)

    def cancelled_meanwhile(*asked: Any) -> tuple[Run, bool]:
        made = rig.submission(*asked)
        if not rig.state(name).is_final:
            rig.store.set_experiment_state(name, ExperimentState.CANCELLED)
            cancel_runs(rig.store, name)
        return made

    ExperimentRunner(
        rig.store, rig.store.get_experiment(name), cancelled_meanwhile, lambda: 4
    ).advance()
    assert [run.state for run in rig.runs(name)] == [RunState.CANCELLED] * 4


def test_who_ends_it_second_says_nothing(rig: Rig) -> None:
    name = rig.begin(SPEC)
    runner, late = rig.runner(name), rig.runner(name)
    rig.finish(runner, name)
    assert late.advance() == 0
    assert rig.state(name) is ExperimentState.FINISHED


# -- progress ---------------------------------------------------------------------------------


def test_progress_counts_what_is_not_queued_yet_as_waiting(rig: Rig) -> None:
    name = rig.begin(TUNED)

    def told() -> Any:
        return with_progress(rig.store, rig.store.get_experiment(name)).progress

    assert (told().total, told().waiting, told().tuning) == (20, 20, True)
    assert told().time_left is None
    runner = rig.runner(name)
    runner.advance()
    end_runs(rig.store, by_rate, most=2)
    third = rig.runs(name)[2].run_id
    rig.store.claim(third, "w", timedelta(minutes=1))
    found = told()
    assert (found.waiting, found.running, found.succeeded, found.failed) == (17, 1, 2, 0)
    assert found.time_left is not None
    rig.store.transition(third, RunState.FAILED)
    rig.finish(runner, name, by_rate)
    assert (told().waiting, told().running, told().tuning) == (0, 0, False)
    assert told().time_left is None


def lasted(start: float, end: float) -> Run:
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    return Run(
        started_at=begin + timedelta(seconds=start), finished_at=begin + timedelta(seconds=end)
    )


@pytest.mark.parametrize(
    ("runs", "seconds"),
    [
        ([], None),
        ([Run()], None),
        ([lasted(0, 10)], 10.0),
        ([lasted(0, 10), lasted(12, 20)], 10.0),  # one slot: what lies between counts
        ([lasted(0, 10), lasted(0, 10), lasted(11, 20), lasted(11, 20)], 5.0),  # two slots
        ([lasted(0, 10), lasted(5_000, 5_020), lasted(5_021, 5_040)], 20.0),  # a night between
        # The third was broken off in the evening: it is taken to last three times what most do.
        ([lasted(0, 10), lasted(10, 20), lasted(21, 5_020), lasted(5_020, 5_030)], 20.0),
    ],
)
def test_the_pace_is_that_of_ends_and_breaks_are_left_out(
    runs: list[Run], seconds: float | None
) -> None:
    found = pace(runs)
    assert (None if found is None else found.total_seconds()) == seconds
    assert pace(runs[::-1]) == found


# -- the coordinator --------------------------------------------------------------------------


async def coordinated(rig: Rig, name: str, loss: Any = well) -> None:
    for _ in range(2000):
        end_runs(rig.store, loss)
        if rig.state(name).is_final:
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it never ended")


@pytest.fixture
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "POLL_SECONDS", 0.01)


@pytest.mark.slow
@pytest.mark.usefixtures("_quick")
async def test_the_coordinator_drives_all_experiments_and_wakes_the_scheduler(rig: Rig) -> None:
    names = [rig.begin(SPEC), rig.begin(dataclasses.replace(SPEC, parallel=1))]
    woken: list[bool] = []
    coordinator = Coordinator(rig.store, rig.submission, lambda: woken.append(True))
    coordinator.start()
    await coordinated(rig, names[0], by_rate)
    names.append(rig.begin(SPEC))
    coordinator.wake()
    for name in names:
        await coordinated(rig, name, by_rate)
        assert rig.state(name) is ExperimentState.FINISHED
    assert woken
    await coordinator.close()
    await coordinator.close()


def test_an_experiment_feeds_the_slots_of_all_agents(rig: Rig) -> None:
    name = rig.begin(SPEC)
    coordinator = Coordinator(rig.store, rig.submission, lambda: None)
    assert coordinator._advance_all() == 2  # wait for an agent
    for number, agent in enumerate(
        (Agent("trainer"), Agent("gpu1", slots=1), Agent("gpu2", slots=1, is_draining=True))
    ):
        rig.store.report_agent(agent, str(number))
    assert coordinator._advance_all() == 0
    rig.store.report_agent(Agent("gpu3", slots=1), "3")
    assert coordinator._advance_all() == 2
    assert len(rig.runs(name)) == 4


@pytest.mark.usefixtures("_quick")
async def test_a_failing_store_does_not_end_the_coordinator(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = rig.begin(SPEC)
    well_running = rig.store.running_experiments
    errors: list[Exception] = [Unavailable("away"), RuntimeError("a defect")]

    def failing() -> tuple[str, ...]:
        if errors:
            raise errors.pop()
        return well_running()

    monkeypatch.setattr(rig.store, "running_experiments", failing)
    coordinator = Coordinator(rig.store, rig.submission, lambda: None)
    coordinator.start()
    await coordinated(rig, name)
    await coordinator.close()
    assert not errors


@pytest.mark.usefixtures("_quick")
async def test_what_a_dead_service_left_of_ended_experiments_is_cancelled(rig: Rig) -> None:
    name = rig.begin(SPEC)
    rig.runner(name).advance()
    rig.store.set_experiment_state(name, ExperimentState.CANCELLED)
    coordinator = Coordinator(rig.store, rig.submission, lambda: None)
    coordinator.start()
    for _ in range(400):
        if all(run.state is RunState.CANCELLED for run in rig.runs(name)):
            break
        await asyncio.sleep(0.005)
    await coordinator.close()
    assert [run.state for run in rig.runs(name)] == [RunState.CANCELLED] * 4
