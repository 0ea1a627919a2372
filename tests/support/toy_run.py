"""A small run as a worker records it: two stages with one restart, and a result."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from mentorgrad.domain.advice import (
    Answer,
    AnswerRecord,
    AnswerStatus,
    Proposal,
    ProposalOutcome,
    ProposalStatus,
)
from mentorgrad.domain.event import (
    Branch,
    CandidatesScored,
    Created,
    Finished,
    ProposalsReceived,
    RestartDecided,
    RunEvent,
    Segment,
    StageStarted,
    StateChanged,
)
from mentorgrad.domain.fold import fold
from mentorgrad.domain.label_score import label_scores
from mentorgrad.domain.run import (
    Baseline,
    Candidate,
    CandidateSource,
    Run,
    RunResult,
    RunState,
    Score,
    Snapshot,
    Usage,
)
from mentorgrad.domain.spec import MentorChoice, RunSpec, Stages

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SPEC = RunSpec(
    stages=Stages(count=2, steps=5), mentor=MentorChoice(name="random_tokens"), name="toy"
)


def _segment(stage: int, first: int, count: int) -> Segment:
    steps = range(first, first + count)
    parameters = np.array([[np.cos(step), np.sin(step), step] for step in steps], dtype=np.float32)
    return Segment(
        stage=stage,
        step_start=first,
        step_end=first + count - 1,
        snapshots=tuple(
            Snapshot(step=step, train_loss=1.0 / step, learning_rate=0.01, text="a few words")
            for step in steps
        ),
        parameters=parameters,
    )


def _candidate(name: str, loss: float, source: CandidateSource, stage: int) -> Candidate:
    score = Score(loss=loss, accuracy=0.75, rows=20)
    return Candidate(candidate_id=name, source=source, stage=stage, text="kind words", score=score)


def payloads() -> list[Any]:
    """What a worker records."""
    first = _candidate("s0/step5", 0.6, CandidateSource.SNAPSHOT, 0)
    proposed = _candidate("s0/p0", 0.5, CandidateSource.PROPOSAL, 0)
    last = _candidate("s1/step10", 0.4, CandidateSource.SNAPSHOT, 1)
    record = AnswerRecord(mentor="random_tokens", reply_tokens=7, duration=timedelta(seconds=1.5))
    usage = Usage(gradient_steps=5, evaluations=1)
    raced = Usage(gradient_steps=9, probe_steps=4, evaluations=3, mentor_calls=1, usable_answers=1)
    done = replace(raced, gradient_steps=14, evaluations=4, train_time=timedelta(seconds=2.5))
    answer = Answer(
        status=AnswerStatus.USABLE,
        proposals=(Proposal(proposal_id="s0/p0", text="kind words"),),
        records=(record,),
    )
    outcome = ProposalOutcome("s0/p0", ProposalStatus.APPLIED, proposed.score, probe_loss=0.45)
    return [
        StageStarted(stage=0, step=0, text="initial words", device="cpu"),
        _segment(0, 1, 5),
        CandidatesScored(stage=0, candidates=(first,), usage=usage),
        ProposalsReceived(stage=0, answer=answer, usage=usage),
        CandidatesScored(stage=0, candidates=(proposed,), usage=usage),
        RestartDecided(
            stage=0,
            restarted=True,
            chosen_id="s0/p0",
            incumbent_id="s0/step5",
            branches=(Branch("s0/step5", 0.6, 0.55), Branch("s0/p0", 0.5, 0.45)),
            outcomes=(outcome,),
            usage=raced,
        ),
        StageStarted(stage=1, step=5, text="kind words", device="cpu"),
        _segment(1, 6, 5),
        CandidatesScored(stage=1, candidates=(last,), usage=done),
        Finished(
            state=RunState.SUCCEEDED,
            result=RunResult(
                returned=last,
                test=Score(loss=0.42, accuracy=0.8, rows=20),
                zero_shot=Score(loss=0.9, accuracy=0.5, rows=20),
                majority_accuracy=0.25,
                restarts_applied=1,
                usage=done,
                baselines=(
                    Baseline("zero_shot", Score(loss=0.9, accuracy=0.5, rows=20)),
                    Baseline("linear_probe", Score(0.3, 0.85, 20), 40, "C = 0.1"),
                    Baseline("prototypes", None, 40, "no labelled row is of class 'b'"),
                ),
                rows_at_once=8,
            ),
            label_scores=label_scores(("good", "bad"), np.array([[9, 1], [3, 7]])),
        ),
    ]


def toy_log() -> list[RunEvent]:
    """The log of the run, as `import_run` takes it."""
    head: list[Any] = [
        Created(spec=SPEC, request_id="toy-request"),
        StateChanged(state=RunState.RUNNING),
    ]
    return [
        RunEvent("toy-run", seq, min(1, seq - 1), NOW + timedelta(seconds=seq), payload)
        for seq, payload in enumerate([*head, *payloads()], start=1)
    ]


def toy_run(events: int | None = None) -> Run:
    """The run after its first events; None: after all."""
    run = Run()
    for event in toy_log()[:events]:
        run = fold(run, event)
    return run
