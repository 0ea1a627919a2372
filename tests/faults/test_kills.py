"""SIGKILL at random points: the run's effective log and its bytes are the undisturbed run's."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest

from campaigns.faults.fork_server import ForkServer
from campaigns.faults.kill_cases import CASES, Kill, Outcome, outcome, random_kills, recoveries
from campaigns.faults.reference_runs import ReferenceRuns
from mentorgrad.domain.event import CheckpointSaved, Resumed
from mentorgrad.domain.run import RunState
from mentorgrad.domain.spec import Acceptance
from run_store.open import open_store
from trainer_service.job import EXIT_NOT_MINE

_CASE = CASES["function-adamw"]
SPEC = replace(
    _CASE,
    stages=replace(_CASE.stages, count=2, steps=15),
    acceptance=Acceptance(finalists=1, probe_steps=3),
    checkpoint_interval=timedelta(milliseconds=1),
)
"""Long enough for the latest point at which something happens."""
KILLS = 4
"""`python -m campaigns.faults.kills` kills each of all cases 20 times, with real services."""


@pytest.fixture(scope="module")
def fork_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ForkServer]:
    found = ForkServer(tmp_path_factory.mktemp("fork_server"))
    yield found
    found.close()


@pytest.fixture(scope="module")
def reference_runs(
    fork_server: ForkServer, tmp_path_factory: pytest.TempPathFactory
) -> ReferenceRuns:
    return ReferenceRuns(fork_server, tmp_path_factory.mktemp("kills"))


def boundaries(whole: Outcome) -> int:
    """Step boundaries that a run surely has: one before each snapshot of its log."""
    return sum(entry[0] == "snapshot" for entry in whole.effective)


def test_killed_again_and_again_a_run_loses_and_doubles_nothing(
    reference_runs: ReferenceRuns,
) -> None:
    whole = reference_runs.undisturbed(SPEC)
    kills = random_kills(KILLS, boundaries(whole), seed=14)
    report, url, run_id = reference_runs.run(SPEC, kills)
    killed = outcome(url, run_id)
    assert [kill["victim"] for kill in report["kills"]] == [kill.victim for kill in kills]
    assert len({kill["victim"] for kill in report["kills"]}) == 3
    assert killed.state is whole.state is RunState.SUCCEEDED
    assert killed.differences(whole) == (0, 0)
    assert killed.effective == whole.effective
    assert killed.artifact == whole.artifact
    assert len(killed.claims) >= KILLS + 1
    assert len(recoveries([kill["time"] for kill in report["kills"]], killed.claims)) == KILLS


@pytest.mark.parametrize("n", [1, pytest.param(3, marks=pytest.mark.campaign)])
def test_killed_while_a_checkpoint_is_written(reference_runs: ReferenceRuns, n: int) -> None:
    """Its rows are there and its transaction is not: the run goes on from the one before."""
    whole = reference_runs.undisturbed(SPEC)
    report, url, run_id = reference_runs.run(SPEC, [Kill("worker", blob=n), Kill("both", blob=n)])
    assert len(report["kills"]) == 2
    killed = outcome(url, run_id)
    assert (killed.effective, killed.artifact) == (whole.effective, whole.artifact)
    assert resumed_from(url, run_id)[0] == (0 if n == 1 else saved(url, run_id)[n - 2])


def test_the_torn_end_of_a_write_ahead_log_costs_only_time(reference_runs: ReferenceRuns) -> None:
    whole = reference_runs.undisturbed(SPEC)
    kills = [Kill("both", checks=12, delay=0.002, ahead=5)]
    report, url, run_id = reference_runs.run(SPEC, kills, tear=True)
    assert report["torn"] == 1
    killed = outcome(url, run_id)
    assert (killed.effective, killed.artifact) == (whole.effective, whole.artifact)


def test_a_torn_checkpoint_is_passed_over(reference_runs: ReferenceRuns) -> None:
    """Half of the newest one's bytes are gone: its digest says so, and the one before serves."""
    whole = reference_runs.undisturbed(SPEC)
    kills = [Kill("both", blob=3)]
    report, url, run_id = reference_runs.run(SPEC, kills, cut_checkpoint=True)
    before, _ = saved(url, run_id)
    assert report["cut"] == 1
    assert resumed_from(url, run_id) == [before]
    assert "checkpoint_unusable" in reference_runs.log()
    killed = outcome(url, run_id)
    assert (killed.effective, killed.artifact) == (whole.effective, whole.artifact)


def test_a_worker_that_was_only_slow_cannot_append_any_more(reference_runs: ReferenceRuns) -> None:
    """It is stopped for longer than its lease, and goes on when another one has its run."""
    whole = reference_runs.undisturbed(SPEC)
    report, url, run_id = reference_runs.run(SPEC, [Kill("stopped", checks=20)])
    assert report["stopped"] == [EXIT_NOT_MINE]
    killed = outcome(url, run_id)
    assert (killed.effective, killed.artifact) == (whole.effective, whole.artifact)
    store = open_store(url)
    attempts = [event.attempt for event in store.events(run_id)]
    store.close()
    assert attempts == sorted(attempts), "nothing of the first attempt behind the second's claim"
    assert set(attempts) == {0, 1, 2}


def test_a_full_disk_with_the_log_on_it_costs_only_time(reference_runs: ReferenceRuns) -> None:
    whole = reference_runs.undisturbed(SPEC)
    _, url, run_id = reference_runs.run(SPEC, [Kill("disk", checks=20, ahead=5)])
    assert f'"run_id": "{run_id}", "seconds"' in reference_runs.log(), (
        "the store was away, and came back"
    )
    filled = outcome(url, run_id)
    assert (filled.effective, filled.artifact) == (whole.effective, whole.artifact)
    assert len(filled.claims) == 1


def resumed_from(url: str, run_id: str) -> list[int]:
    """Numbers of the checkpoints that later attempts began from."""
    store = open_store(url)
    payloads = [event.payload for event in store.events(run_id)]
    store.close()
    return [p.checkpoint_seq for p in payloads if isinstance(p, Resumed)]


def saved(url: str, run_id: str, attempt: int = 1) -> list[int]:
    """Numbers of an attempt's checkpoints."""
    store = open_store(url)
    events = list(store.events(run_id))
    store.close()
    return [
        event.seq
        for event in events
        if isinstance(event.payload, CheckpointSaved) and event.attempt == attempt
    ]
