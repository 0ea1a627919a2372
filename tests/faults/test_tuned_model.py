"""A served tuned model that is away, hangs, or talks nonsense: the run is paused or fails, with
everything recorded, and a paused one goes on exactly."""

from __future__ import annotations

import contextlib
import dataclasses
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from mentorgrad.domain.event import EventKind
from mentorgrad.domain.query import EventQuery
from mentorgrad.domain.run import RunState
from mentorgrad.domain.spec import Criterion
from run_store.protocols import RunStore
from run_store.temporary_store import TemporaryRunStore
from service_common import llm_server
from tests.contract.test_resume import StopsAt, create, go
from tests.support.effective_log import effective
from tests.support.label_server import LabelServer, Reply
from tests.support.served_prompts import SPEC, parts, write_rows
from trainer_service.objectives.served_prompt import server_scorer
from trainer_service.objectives.served_prompt.label_requests import KEY_VARIABLE
from trainer_service.objectives.torch_free import ARTIFACT
from trainer_service.running.stop_control import StopKind, StopRequest


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)
    monkeypatch.setattr(llm_server, "_FIRST_PAUSE", 0.01)
    monkeypatch.setattr(llm_server, "_LONGEST_PAUSE", 0.02)
    monkeypatch.setattr(server_scorer, "_TICK", 0.02)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run gives up soon."""
    init = server_scorer.ServerScorer.__init__

    def quick(self: Any, *given: Any, **named: Any) -> None:
        init(self, *given, **named, patience=0.1)

    monkeypatch.setattr(server_scorer.ServerScorer, "__init__", quick)


@pytest.fixture
def server() -> Iterator[LabelServer]:
    with LabelServer() as opened:
        yield opened


@pytest.fixture
def store() -> Iterator[RunStore]:
    opened = TemporaryRunStore()
    yield opened
    opened.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_rows(tmp_path)


def after(server: LabelServer, count: int, reply: Reply) -> None:
    """From the request after `count` more on, the server replies with this."""
    left = count

    def before() -> Reply | None:
        nonlocal left
        left -= 1
        return reply if left < 0 else None

    server.before = before


Left = tuple[list[Any], bytes]
"""Effective log and artifact of a run."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Left:
    """Of a run whose server is always there."""
    torch.set_num_threads(1)
    folder = write_rows(tmp_path_factory.mktemp("whole"))
    with contextlib.closing(TemporaryRunStore()) as store, LabelServer() as server:
        run_id = create(store, SPEC)
        assert go(store, run_id, StopsAt(), parts(server, folder)) is RunState.SUCCEEDED
        return effective(store, run_id), store.read_artifact(run_id, ARTIFACT)


def finished(server: LabelServer, folder: Path, store: RunStore, run_id: str) -> Left:
    """What a run leaves that goes on with a server that is there again."""
    server.before = lambda: None
    assert go(store, run_id, StopsAt(), parts(server, folder)) is RunState.SUCCEEDED
    return effective(store, run_id), store.read_artifact(run_id, ARTIFACT)


@pytest.mark.parametrize(
    "count", [0, *(pytest.param(n, marks=pytest.mark.campaign) for n in (5, 30)), 70]
)
@pytest.mark.usefixtures("impatient")
def test_a_server_that_is_away_pauses_the_run(
    server: LabelServer,
    folder: Path,
    store: RunStore,
    whole: Left,
    count: int,
) -> None:
    run_id = create(store, SPEC)
    after(server, count, (503, {"error": {"message": "loading"}}))
    assert go(store, run_id, StopsAt(), parts(server, folder)) is RunState.PAUSED
    assert "the tuned model does not answer" in store.get_run(run_id).reason
    assert "503" in store.get_run(run_id).reason
    assert finished(server, folder, store, run_id) == whole


def test_a_short_absence_is_not_noticed(
    server: LabelServer,
    folder: Path,
    store: RunStore,
    whole: Left,
) -> None:
    turns = iter(range(10**6))
    server.before = lambda: (503, {}) if next(turns) % 3 == 0 else None
    run_id = create(store, SPEC)
    assert go(store, run_id, StopsAt(), parts(server, folder)) is RunState.SUCCEEDED
    assert (effective(store, run_id), store.read_artifact(run_id, ARTIFACT)) == whole


@pytest.mark.usefixtures("impatient")
def test_nobody_there_at_all_pauses_the_run(folder: Path, store: RunStore) -> None:
    with LabelServer() as gone:
        pass
    run_id = create(store, SPEC)
    assert go(store, run_id, StopsAt(), parts(gone, folder)) is RunState.PAUSED
    assert "cannot be reached" in store.get_run(run_id).reason


@pytest.mark.usefixtures("impatient")
def test_a_rejected_key_is_said_with_its_variable(
    server: LabelServer,
    folder: Path,
    store: RunStore,
) -> None:
    after(server, 0, (401, {}))
    run_id = create(store, SPEC)
    assert go(store, run_id, StopsAt(), parts(server, folder)) is RunState.PAUSED
    assert KEY_VARIABLE in store.get_run(run_id).reason


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        ((200, {}), "answered without a text"),
        ((404, {}), "neither /completions nor /chat/completions"),
        ((400, {"error": {"message": "the context has 10 tokens"}}), "context"),
    ],
)
def test_a_server_that_says_something_else_ends_the_run_at_once(
    server: LabelServer,
    folder: Path,
    store: RunStore,
    reply: Reply,
    why: str,
) -> None:
    after(server, 0, reply)
    run_id = create(store, dataclasses.replace(SPEC, criterion=Criterion.LOSS))
    assert go(store, run_id, StopsAt(), parts(server, folder)) is RunState.FAILED
    assert why in store.get_run(run_id).reason


def test_a_server_that_fails_where_it_should_reject_is_asked_for_answers(
    server: LabelServer, folder: Path, store: RunStore
) -> None:
    server.dialect = "answers"

    def before() -> Reply | None:
        _, body = server.requests[-1]
        return (500, {"error": "no logits"}) if body.get("logprobs") else None

    server.before = before
    run_id = create(store, SPEC)
    assert go(store, run_id, StopsAt(), parts(server, folder)) is RunState.SUCCEEDED
    kinds = EventQuery(kinds=(EventKind.STAGE_STARTED,))
    (named,) = {event.payload.tuned_model for event in store.events(run_id, kinds)}  # type: ignore[union-attr]
    assert named == "tiny (completions, answers)"


@pytest.mark.parametrize(
    "reply",
    [
        pytest.param((200, {}), marks=pytest.mark.campaign),
        (200, {"choices": [{"text": "x"}]}),
    ],
)
def test_a_server_that_stops_giving_probabilities_pauses_the_run(
    server: LabelServer,
    folder: Path,
    store: RunStore,
    whole: Left,
    reply: Reply,
) -> None:
    run_id = create(store, SPEC)
    after(server, 60, reply)
    assert go(store, run_id, StopsAt(), parts(server, folder)) is RunState.PAUSED
    assert "no longer gives log-probabilities" in store.get_run(run_id).reason
    assert finished(server, folder, store, run_id) == whole


@pytest.mark.parametrize(
    ("count", "kind", "state"),
    [
        (1, StopKind.CANCEL, RunState.CANCELLED),
        (60, StopKind.PAUSE, RunState.PAUSED),
        pytest.param(60, StopKind.CANCEL, RunState.CANCELLED, marks=pytest.mark.campaign),
        pytest.param(1, StopKind.PAUSE, RunState.PAUSED, marks=pytest.mark.campaign),
    ],
)
def test_a_run_whose_server_hangs_can_be_stopped(
    server: LabelServer,
    folder: Path,
    store: RunStore,
    whole: Left,
    count: int,
    kind: StopKind,
    state: RunState,
) -> None:
    control, released, left = StopRequest(), threading.Event(), count

    def before() -> None:
        nonlocal left
        left -= 1
        if left < 0:
            control.request(kind)
            released.wait(60.0)

    server.before = before
    run_id = create(store, SPEC)
    try:
        assert go(store, run_id, control, parts(server, folder)) is state  # type: ignore[arg-type]
    finally:
        released.set()
    if state is RunState.PAUSED:
        assert finished(server, folder, store, run_id) == whole
