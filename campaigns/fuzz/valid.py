"""Requests that are right, to be spoilt a little: so the fuzz comes past the first check."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np

from campaigns.fuzz.values import EXPERIMENTS as EXPERIMENTS_THERE
from campaigns.fuzz.values import RUNS, SPARE
from mentorgrad.domain.advice import (
    AdviseOpen,
    Answer,
    AnswerRecord,
    Batch,
    Constraints,
    Outcomes,
    Proposal,
    ProposalKind,
    ProposalOutcome,
    ProposalRequest,
    TaskCard,
)
from mentorgrad.domain.annotation import RunUpdate
from mentorgrad.domain.audit import AuditFilter
from mentorgrad.domain.event import (
    Created,
    Finished,
    ProposalsReceived,
    RestartDecided,
    Resumed,
    RunEvent,
    StageStarted,
    StateChanged,
)
from mentorgrad.domain.experiment import Arm, ExperimentSpec, Tuning, Variation
from mentorgrad.domain.objective import Function, LabelPrompt, MultipleChoice, PromptTuning
from mentorgrad.domain.query import CandidateFilter, RunFilter, RunOrder
from mentorgrad.domain.run import Candidate, RunResult, RunState, Score, Snapshot
from mentorgrad.domain.spec import DataFiles, HubData, MentorChoice, RunSpec, Stages, Task
from mentorgrad.serialization import to_dict
from mentorgrad.v1 import experiment_service_pb2 as experiment
from mentorgrad.v1 import history_service_pb2 as history
from mentorgrad.v1 import mentor_service_pb2 as mentor
from mentorgrad.v1 import predict_service_pb2 as predict
from mentorgrad.v1 import trainer_service_pb2 as trainer
from mentorgrad.wire.codec import to_message
from run_store import page_tokens
from tests.support.event_maker import EventMaker

OWN_TASK = Task(
    "mine",
    DataFiles("good.jsonl", test="good.jsonl"),
    "what it is about",
    ("a", "b"),
    shots=1,
    selection_rows=1,
)
SPECS = (
    RunSpec(Function("rastrigin", 2), stages=Stages(2, 5), labels={"team": "a"}, name="toy"),
    RunSpec(Function("rosenbrock", 3), mentor=MentorChoice("perturb", options={"scale": 0.2})),
    RunSpec(Function(), mentor=MentorChoice("live", options={"top_k": 3}, proposals=3)),
    RunSpec(Function(), mentor=MentorChoice("away", required=True)),
    RunSpec(LabelPrompt(n_tokens=2), mentor=MentorChoice("recombine", options={"parents": 3})),
    RunSpec(LabelPrompt(encoder="model"), task=OWN_TASK),
    RunSpec(PromptTuning(n_tokens=2), task=Task("hf:org/name", hub=HubData(template="{a}: {b}"))),
    RunSpec(MultipleChoice(n_tokens=2), task=Task("copa", shots=1, test_rows=1)),
)
EXPERIMENTS = (
    ExperimentSpec(
        base=SPECS[0],
        tasks=(Task("toy"),),
        arms=(Arm("none"), Arm("noise", MentorChoice("perturb"))),
        seeds=(0,),
    ),
    ExperimentSpec(
        base=SPECS[0],
        tasks=(Task("toy"), Task("more", shots=1)),
        variations=(
            Variation("few", {"stages": {"count": 1}}),
            Variation("other", {"objective": {"function": {"dimensions": 3}}}),
        ),
        arms=(
            Arm("live", SPECS[2].mentor, {"acceptance": {"policy": "best_of"}}),
            Arm("away", MentorChoice("away")),
        ),
        seeds=(1, 2),
        tuning=Tuning((0.1, 0.01), Task("toy"), (3,)),
        parallel=1,
    ),
    ExperimentSpec(
        base=SPECS[5],
        tasks=(OWN_TASK,),
        arms=(Arm("a"), Arm("b", SPECS[4].mentor)),
        seeds=(0,),
        subject="b",
    ),
)
CANDIDATE = Candidate(
    "s0/step5", text="some words", toward_text="more words", filled=(0,), score=Score(1.0, 0.5, 9)
)
SNAPSHOTS = tuple(Snapshot(step, 1 / step, 0.1, 0.5, f"words {step}") for step in (1, 2))
PARAMETERS = np.arange(12, dtype=np.float32).reshape(2, 2, 3)
CARD = TaskCard("label_prompt", "what a message is about", ("billing", "refund"))
OPENS = (
    AdviseOpen("session", CARD, Constraints(n_tokens=8, max_words=6), options={"calls": 2}),
    AdviseOpen(
        "numbers",
        TaskCard("function", "rastrigin"),
        Constraints(ProposalKind.NUMBERS, dimensions=3, lower=-5.0, upper=5.0),
    ),
)
BATCH = Batch(1, 0, SNAPSHOTS, PARAMETERS, (CANDIDATE,))
ASKED = ProposalRequest("r1", 0, "s0/step5", 3, seed=7)
TEXTS = (["good"], ["bad", "good", ""], ["good", "too long"])
NOTED = Outcomes("r1", (ProposalOutcome("s0/p1", score=Score(0.5)),))


def log(run_id: str = "imported") -> list[RunEvent]:
    """The whole log of a run that was interrupted, went on and succeeded."""
    make = EventMaker(run_id)
    proposals = (Proposal("s0/p1", "better words", parents=("s0/0",)),)
    answer = Answer(
        "r1", proposals=proposals, records=(AnswerRecord("live", raw_replies=("1. x",)),)
    )
    running = StateChanged(RunState.RUNNING)
    return [
        make(Created(SPECS[0], f"request of {run_id}", {"torch": "2"})),
        make(running, attempt=1),
        make(StageStarted(0, 0, "start")),
        make(make.segment(1, 3)),
        make(make.scored(0, 1.0, 0.5, evaluations=2)),
        make(StateChanged(RunState.INTERRUPTED, "the worker died")),
        make(running, attempt=2),
        make(Resumed(3, "the worker died")),
        make(make.segment(1, 3)),
        make(make.scored(0, 0.9, 0.4)),
        make(ProposalsReceived(0, answer)),
        make(RestartDecided(0, restarted=True, chosen_id="s0/p1", incumbent_id="s0/0")),
        make(Finished(RunState.SUCCEEDED, RunResult(CANDIDATE, Score(0.4, 0.9, 10)))),
    ]


def _imports(run_id: str) -> list[Any]:
    return [trainer.ImportRunRequest(event=to_message(event)) for event in log(run_id)]


def _upload(size: int) -> list[Any]:
    first = trainer.UploadDataRequest()
    first.upload.suffix, first.upload.size_bytes = ".csv", size
    chunks = [b"x" * min(size - start, 30_000) for start in range(0, size, 30_000)]
    return [first, *(trainer.UploadDataRequest(chunk=chunk) for chunk in chunks)]


def _session(opened: AdviseOpen) -> list[Any]:
    return [
        mentor.AdviseRequest(open=to_message(opened)),
        mentor.AdviseRequest(batch=to_message(BATCH)),
        mentor.AdviseRequest(request=to_message(ASKED)),
        mentor.AdviseRequest(outcomes=to_message(NOTED)),
        mentor.AdviseRequest(request=to_message(ProposalRequest("r2", 1, count=2))),
    ]


_FILTERS = (
    RunFilter(
        (RunState.QUEUED, RunState.SUCCEEDED),
        "function",
        labels={"team": "a"},
        created_after=datetime(2026, 1, 1, tzinfo=UTC),
    ),
    RunFilter(name_contains="to"),
    RunFilter(name_pattern="t[o-u]"),
)


def _listings() -> list[list[Any]]:
    """Pages of runs, and pages that go on from odd places."""
    pages: list[list[Any]] = []
    for wanted in (RunFilter(), *_FILTERS):
        digest = page_tokens.digest("runs", to_dict(wanted), RunOrder.NEWEST.value)
        pages += _pages(history.ListRunsRequest, digest, filter=to_message(wanted), page_size=20)
    return pages


def _candidates() -> list[list[Any]]:
    wanted = CandidateFilter(stage=0)
    digest = page_tokens.digest("candidates", "imported", to_dict(wanted))
    asked = to_message(wanted)
    return [
        [
            history.ListCandidatesRequest(
                run_id="imported",
                filter=asked,
                page_size=1,
                page_token=page_tokens.encode(place, digest) if place else "",
            )
        ]
        for place in (None, (False, 0.5, 5, 0), (True, 1e300, 2**63 - 1, -1))
    ]


def _of_runs(request: Any, names: Sequence[str]) -> list[list[Any]]:
    return [[request(run_id=name)] for name in names]


_PLACES = (None, (0, ""), (2**63 - 1, "zzz"), (-(2**63), "a"), (1, 2), (1e300, "b"))
"""Places from which a page goes on, odd ones among them."""


def _pages(request: Any, digest: str, **fields: Any) -> list[list[Any]]:
    return [
        [request(page_token=page_tokens.encode(place, digest) if place else "", **fields)]
        for place in _PLACES
    ]


def _audit() -> list[list[Any]]:
    wanted = AuditFilter(owner="local", recorded_after=datetime(2026, 1, 1, tzinfo=UTC))
    digest = page_tokens.digest("audit", to_dict(wanted))
    return _pages(history.ListAuditRequest, digest, filter=to_message(wanted), page_size=3)


def _of_experiments(request: Any, names: Sequence[str]) -> list[list[Any]]:
    return [[request(experiment_id=name)] for name in names]


VALID: dict[str, list[list[Any]]] = {
    "TrainerService.CancelRun": _of_runs(trainer.CancelRunRequest, (*SPARE[:50], "running")),
    "TrainerService.FinishRun": _of_runs(trainer.FinishRunRequest, (*SPARE[:50], "running")),
    "TrainerService.PauseRun": _of_runs(trainer.PauseRunRequest, (*SPARE[:50], "running")),
    "TrainerService.ResumeRun": _of_runs(trainer.ResumeRunRequest, (*SPARE[:50], "paused")),
    "TrainerService.UpdateRun": [
        [
            trainer.UpdateRunRequest(
                run_id=name,
                update=to_message(RunUpdate({"team": "b"}, ("x",), note)),
                request_id="edit",
            )
        ]
        for name in (*SPARE[:10], "finished", "running")
        for note in (None, "", "a note")
    ],
    "TrainerService.DeleteRun": _of_runs(trainer.DeleteRunRequest, SPARE[50:]),
    "HistoryService.GetRun": _of_runs(history.GetRunRequest, RUNS),
    "HistoryService.ListArtifacts": _of_runs(history.ListArtifactsRequest, RUNS),
    "HistoryService.ExportRun": _of_runs(history.ExportRunRequest, RUNS),
    "TrainerService.CreateRun": [
        [trainer.CreateRunRequest(request_id=name, spec=to_message(spec))]
        for spec in SPECS
        for name in ("", "same")
    ],
    "TrainerService.ImportRun": [_imports(f"import{number}") for number in range(8)],
    "TrainerService.UploadData": [_upload(size) for size in (1, 1000, 70_000)],
    "TrainerService.DownloadArtifact": [
        [trainer.DownloadArtifactRequest(run_id="finished", name="prompt.safetensors")]
    ],
    "HistoryService.ListRuns": _listings(),
    "HistoryService.ListAudit": _audit(),
    "HistoryService.ListWorkers": [[history.ListWorkersRequest()]],
    "HistoryService.StreamEvents": [
        [
            history.StreamEventsRequest(
                run_id=run_id, after_seq=2, kinds=[4, 5], view=2, follow=follow
            )
        ]
        for run_id, follow in (("finished", True), ("imported", False))
    ],
    "HistoryService.GetTrajectory": [
        [history.GetTrajectoryRequest(run_id="finished", max_points=3, view=2)]
    ],
    "HistoryService.ListCandidates": _candidates(),
    "HistoryService.CompareRuns": [
        [history.CompareRunsRequest(run_ids=["finished", "imported", "running"])]
    ],
    "ExperimentService.CreateExperiment": [
        [experiment.CreateExperimentRequest(request_id=name, spec=to_message(spec))]
        for spec in EXPERIMENTS
        for name in ("", "same")
    ],
    "ExperimentService.GetExperiment": _of_experiments(
        experiment.GetExperimentRequest, EXPERIMENTS_THERE
    ),
    "ExperimentService.CancelExperiment": _of_experiments(
        experiment.CancelExperimentRequest, EXPERIMENTS_THERE
    ),
    "ExperimentService.GetReport": _of_experiments(experiment.GetReportRequest, EXPERIMENTS_THERE),
    "ExperimentService.ListExperiments": _pages(
        experiment.ListExperimentsRequest, page_tokens.digest("experiments"), page_size=3
    ),
    "MentorService.Advise": [_session(opened) for opened in OPENS],
    "MentorService.Propose": [
        [
            mentor.ProposeRequest(
                open=to_message(opened), batches=[to_message(BATCH)] * 2, request=to_message(ASKED)
            )
        ]
        for opened in OPENS
    ],
    "PredictService.Predict": [[predict.PredictRequest(texts=texts)] for texts in TEXTS],
    "PredictService.PredictStream": [
        [predict.PredictStreamRequest(texts=texts * 100)] for texts in TEXTS
    ],
}
"""``Service.Method`` → lists of requests that are right."""
