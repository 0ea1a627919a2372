"""Run log of a custom training loop: stages, candidate ids, usage, and the run's events."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import timedelta

import numpy as np

from mentorgrad.domain.advice import Answer, AnswerStatus, ProposalOutcome, ProposalStatus
from mentorgrad.domain.event import (
    Branch,
    CandidatesScored,
    Finished,
    Payload,
    ProposalsReceived,
    RestartDecided,
    StageStarted,
)
from mentorgrad.domain.run import (
    Candidate,
    CandidateSource,
    RunResult,
    RunState,
    Score,
    Snapshot,
    Usage,
)
from mentorgrad.domain.spec import Policy
from mentorgrad.run_recorder import RunRecorder


class SessionLog:
    """Converts the calls of a session to the events of a run. Not thread-safe.

    A stage begins with its first snapshot, candidate or question, and ends with the answer to a
    question and the report of the outcomes.

    Args:
        recorder: Writes the events; None: they are discarded.
    """

    def __init__(self, recorder: RunRecorder | None = None) -> None:
        self.recorder = recorder
        self.stage = 0
        self.step = 0
        self.incumbent_id = ""
        """The latest candidate that is not a proposal."""
        self._incumbent_loss = math.nan
        self._began = time.monotonic()
        self._usage = Usage()
        self._restarts = 0
        self._best: Candidate | None = None
        self._names: set[str] = set()
        self._is_over = False
        self._put(StageStarted(0))

    def _put(self, payload: Payload) -> None:
        if self.recorder is not None:
            self.recorder.put(payload)

    @property
    def usage(self) -> Usage:
        """Usage so far."""
        spent = timedelta(seconds=time.monotonic() - self._began)
        return replace(self._usage, train_time=spent)

    def _spend(self, **more: int | timedelta) -> None:
        self._usage = replace(
            self._usage, **{name: getattr(self._usage, name) + n for name, n in more.items()}
        )

    def _go_on(self, text: str = "") -> None:
        """Begins the next stage if the current one has ended."""
        if self._is_over:
            self._is_over = False
            self.stage += 1
            self._put(StageStarted(self.stage, self.step, text))

    def snapshot(self, snapshot: Snapshot, parameters: np.ndarray | None) -> None:
        """Adds a gradient step."""
        self._go_on(snapshot.text)
        self._spend(gradient_steps=max(0, snapshot.step - self.step))
        self.step = max(self.step, snapshot.step)
        if self.recorder is not None:
            self.recorder.snapshot(self.stage, snapshot, parameters)

    def name(self, source: CandidateSource) -> str:
        """Returns a new candidate id."""
        stem = f"s{self.stage}/step{self.step}"
        stem += "/words" if source is CandidateSource.PROJECTION else ""
        number, name = 1, stem
        while name in self._names:
            number += 1
            name = f"{stem}.{number}"
        return name

    def candidate(self, candidate: Candidate) -> None:
        """Adds a scored candidate."""
        self._names.add(candidate.candidate_id)
        self._spend(evaluations=1)
        loss = candidate.score.loss
        if candidate.source is not CandidateSource.PROPOSAL:
            self.incumbent_id, self._incumbent_loss = candidate.candidate_id, loss
        if math.isfinite(loss) and (self._best is None or loss < self._best.score.loss):
            self._best = candidate
        self._put(CandidatesScored(self.stage, (candidate,), self.usage))

    def asked(self) -> int:
        """Notes that a question is asked; returns the stage that it ends."""
        self._go_on()
        return self.stage

    def answered(self, answer: Answer, waited: float) -> None:
        """Adds the answer to a question; `waited` is the time it took, seconds."""
        self._is_over = True
        self._spend(
            mentor_calls=1,
            usable_answers=int(answer.status is AnswerStatus.USABLE),
            prompt_tokens=sum(record.prompt_tokens for record in answer.records),
            reply_tokens=sum(record.reply_tokens for record in answer.records),
            mentor_time=timedelta(seconds=waited),
        )
        self._put(ProposalsReceived(self.stage, answer, usage=self.usage))

    def decided(
        self,
        outcomes: Sequence[ProposalOutcome],
        policy: Policy,
        probe_steps: int,
        incumbent_probe_loss: float | None,
        reason: str,
    ) -> None:
        """Adds the restart decision."""
        applied = [item for item in outcomes if item.status is ProposalStatus.APPLIED]
        self._restarts += bool(applied)
        ends = [incumbent_probe_loss, *(item.probe_loss for item in outcomes)]
        self._spend(
            gradient_steps=probe_steps,
            probe_steps=probe_steps,
            evaluations=len(ends) - ends.count(None),
        )
        incumbent = Branch(self.incumbent_id, self._incumbent_loss, incumbent_probe_loss)
        self._put(
            RestartDecided(
                stage=self.stage,
                policy=policy,
                restarted=bool(applied),
                chosen_id=applied[0].proposal_id if applied else self.incumbent_id,
                incumbent_id=self.incumbent_id,
                branches=(incumbent, *_branches(outcomes)),
                outcomes=tuple(outcomes),
                reason=reason,
                usage=self.usage,
            )
        )

    def finish(self, state: RunState, error: str, test: Score | None) -> None:
        """Adds the last event."""
        if self.recorder is None:
            return
        result = None
        if state is RunState.SUCCEEDED:
            returned = self._best or Candidate()
            result = RunResult(returned, test, restarts_applied=self._restarts, usage=self.usage)
        self.recorder.finish(Finished(state, result, error))


def _branches(outcomes: Sequence[ProposalOutcome]) -> Iterator[Branch]:
    for item in outcomes:
        if item.score is not None:
            yield Branch(item.proposal_id, item.score.loss, item.probe_loss)
