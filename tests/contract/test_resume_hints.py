"""A hint is the same however often a run is resumed, and is paid for once."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import torch

from mentorgrad.domain.advice import ProposalRequest
from mentorgrad.domain.objective import Function
from mentorgrad.domain.run import RunState
from mentorgrad.domain.spec import Budget, MentorChoice, MentorMode, Stages
from run_store.temporary_store import TemporaryRunStore
from tests.contract.test_resume import SPEC, StopsAt, create, effective, go, longer, parts
from tests.contract.test_resume_overlapped import AfterSteps
from tests.support.hinted import HintReader, hinted_points
from trainer_service.objectives.torch_free import ARTIFACT
from trainer_service.protocols import Mentor, Scored
from trainer_service.running.execution import Parts
from trainer_service.running.stop_control import StopKind

BASE = dataclasses.replace(
    SPEC, objective=Function("rastrigin", 2), mentor=MentorChoice("small", proposals=3)
)
OVERLAPPED = dataclasses.replace(
    BASE, mentor=MentorChoice("small", proposals=3, mode=MentorMode.OVERLAPPED)
)
SPECS = {
    "blocking": BASE,
    "overlapped": OVERLAPPED,
    "asked_first": dataclasses.replace(BASE, stages=Stages(3, 12, 3, first_steps=0)),
    "overlapped_first": dataclasses.replace(OVERLAPPED, stages=Stages(3, 12, 3, first_steps=0)),
    "no_steps": dataclasses.replace(BASE, stages=Stages(3, 0, 3), budget=Budget()),
}


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    torch.set_num_threads(1)
    return


def how(mentor: HintReader, lag: int = 5) -> Parts:
    def ask(
        asked: Mentor, request: ProposalRequest, incumbent: Scored, pool: Sequence[Scored]
    ) -> Any:
        return AfterSteps(lag, asked.propose(request, incumbent, pool))

    return dataclasses.replace(
        parts(), mentor=lambda *_: mentor, objective=lambda *_: hinted_points()[0], ask=ask
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    ["blocking", "overlapped_first", "no_steps", *map(longer, ("overlapped", "asked_first"))],
)
def test_stopped_anywhere_it_goes_on_exactly(name: str) -> None:
    store, spec, reader = TemporaryRunStore(), SPECS[name], HintReader()
    whole, control = create(store, spec), StopsAt()
    assert go(store, whole, control, how(reader)) is RunState.SUCCEEDED
    log = effective(store, whole)
    assert store.get_run(whole).usage.hint_steps == 2
    for n, kind in ((control.asked // 4, StopKind.LOST), (control.asked * 2 // 3, StopKind.PAUSE)):
        again = HintReader()
        run_id = create(store, spec)
        assert go(store, run_id, StopsAt(n, kind), how(again)) is not RunState.SUCCEEDED
        if kind is StopKind.LOST:
            store.transition(run_id, RunState.INTERRUPTED, "the worker died", attempt=1)
        assert go(store, run_id, StopsAt(), how(again)) is RunState.SUCCEEDED
        assert effective(store, run_id) == log
        assert store.read_artifact(run_id, ARTIFACT) == store.read_artifact(whole, ARTIFACT)
        asked = {request.request_id: request for request in again.requests}
        assert list(asked.values()) == reader.requests, "the same questions, hints and all"


@pytest.mark.slow
@pytest.mark.parametrize("name", [longer("blocking"), "overlapped"])
def test_what_was_paid_stays_paid_when_the_mentor_wants_no_more_hints(name: str) -> None:
    """The log of the first attempt counts, not what the mentor says by now."""
    store, spec = TemporaryRunStore(), SPECS[name]
    run_id = create(store, spec)
    # Dead in the first race: the answer is in the log, and no checkpoint knows of it.
    assert go(store, run_id, StopsAt(25, StopKind.LOST), how(HintReader())) is RunState.RUNNING
    store.transition(run_id, RunState.INTERRUPTED, "the worker died", attempt=1)
    assert go(store, run_id, StopsAt(), how(HintReader(wants=False))) is RunState.SUCCEEDED
    usage = store.get_run(run_id).usage
    assert usage.hint_steps == 1
    assert usage.gradient_steps == 80
