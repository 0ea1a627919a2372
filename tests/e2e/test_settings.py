"""A mentor that proposes settings, over gRPC: asked with the schema, raced, resumed exactly."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from mentor_service.backends.scripted import ScriptedBackend
from mentor_service.composition import MentorServer
from mentor_service.profiles import PROFILES
from mentor_service.protocols import Question
from mentorgrad.domain.advice import ProposalStatus
from mentorgrad.domain.event import ProposalsReceived, RestartDecided
from mentorgrad.domain.objective import Lora
from mentorgrad.domain.run import RunState
from mentorgrad.domain.spec import Acceptance, MentorChoice, Optimizer, RunSpec, Stages, Task
from mentorgrad.event_loop import BackgroundLoop
from run_store.temporary_store import TemporaryRunStore
from tests.contract.test_resume import StopsAt, create, go
from tests.support import tiny_models
from tests.support.effective_log import effective, run_files
from trainer_service.job import WorkerJob
from trainer_service.run_composition import run_parts

REPLY = json.dumps(
    {
        "proposals": [
            {"rationale": "faster", "settings": {"learning_rate_factor": 8, "trained_rank": 1}},
            {"rationale": "more", "settings": {"learning_rate_factor": 2, "trained_rank": 64}},
            {"rationale": "slower", "settings": {"learning_rate_factor": 0.5, "trained_rank": 2}},
        ]
    }
)
SPEC = RunSpec(
    objective=Lora("tiny", rank=2),
    task=Task("tickets", shots=2, selection_rows=3),
    optimizer=Optimizer(learning_rate=0.05, batch_size=8),
    stages=Stages(count=3, steps=3, candidates=1),
    mentor=MentorChoice("scripted", proposals=3, required=True),
    acceptance=Acceptance(finalists=2, probe_steps=2),
)


@pytest.fixture
def backend() -> ScriptedBackend:
    return ScriptedBackend(lambda question: REPLY)


@pytest.fixture
def address(backend: ScriptedBackend) -> Iterator[str]:
    loop = BackgroundLoop.acquire()

    async def start() -> tuple[MentorServer, str]:
        server = MentorServer(backend, PROFILES["capable"], "127.0.0.1:0")
        return server, await server.start()

    server, bound = loop.run(start())
    yield bound
    loop.run(server.stop())
    loop.release()


@pytest.mark.usefixtures("without_probe")
def test_a_mentors_settings_are_raced_recorded_and_resumed(
    tmp_path: Path, backend: ScriptedBackend, address: str
) -> None:
    torch.set_num_threads(1)
    tiny_models.make(tmp_path / "tiny")
    how = run_parts(
        WorkerJob(
            run_id="-",
            store="-",
            model_roots=(str(tmp_path),),
            mentors={"scripted": address},
        )
    )
    store, control = TemporaryRunStore(), StopsAt()
    whole = create(store, SPEC)
    assert go(store, whole, control, how) is RunState.SUCCEEDED, store.get_run(whole).reason
    events = [event.payload for event in store.events(whole)]
    (first, second) = (event for event in events if isinstance(event, ProposalsReceived))
    assert [dict(item.settings or {}) for item in first.answer.proposals] == [
        {"learning_rate_factor": 8, "trained_rank": 1},
        {"learning_rate_factor": 0.5, "trained_rank": 2},
    ]
    assert "1 outside the schema" in first.answer.detail
    decided = [event for event in events if isinstance(event, RestartDecided)]
    assert all(len(item.branches) == 3 for item in decided[:1])
    raced = {ProposalStatus.APPLIED, ProposalStatus.LOST}
    assert {outcome.status for outcome in decided[0].outcomes} <= raced
    assert decided[0].settings is not None

    asked: list[Question] = backend.questions
    assert len(asked) >= 2
    assert '"trained_rank"' in json.dumps(asked[0].json_schema)
    _, _, said = asked[-1].user.partition("In effect now: ")
    assert json.JSONDecoder().raw_decode(said)[0] == dict(decided[0].settings)
    assert second.answer.records[0].question.endswith(asked[-1].user)
    assert ", then " in asked[-1].user, "the race before is told"

    count = len(asked)
    run_id = create(store, SPEC)
    # In the race after the first answer; the answer is in the log.
    assert go(store, run_id, StopsAt(control.asked // 3), how) is RunState.PAUSED
    assert go(store, run_id, StopsAt(), how) is RunState.SUCCEEDED
    assert effective(store, run_id) == effective(store, whole)
    assert run_files(store, run_id) == run_files(store, whole)
    assert len(asked) <= 2 * count + 1
