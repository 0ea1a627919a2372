"""Formats the events of a run as lines of text."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta

from mentorgrad.cli.support.output import counted, number, seconds, shorten
from mentorgrad.domain.advice import AnswerStatus, Proposal, ProposalOutcome
from mentorgrad.domain.event import (
    CandidatesScored,
    Created,
    Finished,
    MentorBack,
    MentorLost,
    ProposalsReceived,
    RestartDecided,
    Resumed,
    RunEvent,
    Segment,
    StageStarted,
    StateChanged,
    StepDivided,
)
from mentorgrad.domain.fold import fold_figures, fold_history
from mentorgrad.domain.objective import External, Function
from mentorgrad.domain.run import Candidate, CandidateSource, Run, RunResult
from mentorgrad.domain.spec import RunSpec
from mentorgrad.schema import snake_case

_QUIET = timedelta(seconds=2)
"""Minimum time between two progress lines about steps."""


def title(spec: RunSpec) -> str:
    """A short title of a run: objective, task and mentor."""
    if isinstance(spec.objective, Function):
        what = f"{spec.objective.name} in {spec.objective.dimensions} dimensions"
    elif isinstance(spec.objective, External):
        what = spec.objective.name
    else:
        what = f"{snake_case(type(spec.objective).__name__)} on {spec.task.name}"
    mentor = spec.mentor.name
    return f"{what}, restarts proposed by {mentor}" if mentor != "none" else f"{what}, no restarts"


class EventFormatter:
    """Formats events as lines, and remembers what later lines need from earlier events.

    Args:
        steps: Whether to print lines about gradient steps; False if a progress bar shows them.
    """

    def __init__(self, steps: bool = True) -> None:
        self.run = Run()
        """The run so far; without its creation if watched from a later event."""
        self._steps = steps
        self._proposals: dict[str, Proposal] = {}
        self._texts: dict[str, str] = {}
        self._told: datetime | None = None
        self._pending = ""

    @property
    def stages(self) -> str:
        """The number of stages; ``?`` if unknown."""
        return "?" if self.run.created_at is None else str(self.run.spec.stages.count)

    @property
    def total_steps(self) -> int | None:
        """Gradient steps that the run will take according to its spec; None: unknown or none."""
        spec = self.run.spec
        limit = spec.budget.gradient_steps
        total = spec.stages.total_steps if limit is None else limit
        return None if self.run.created_at is None else total or None

    @property
    def steps_taken(self) -> int:
        """Gradient steps taken, including races and hints."""
        return self.run.step + self.run.usage.probe_steps + self.run.usage.hint_steps

    def lines(self, event: RunEvent) -> Iterator[str]:
        """The lines for an event; often none."""
        self.run = fold_history(fold_figures(self.run, event), event)
        payload = event.payload
        if isinstance(payload, Segment):
            yield from self._segment(payload, event.time)
            return
        if self._pending:
            yield self._pending
            self._pending = ""
        if isinstance(payload, (CandidatesScored, ProposalsReceived, RestartDecided)):
            yield from self._advice(payload)
        else:
            yield from self._life(payload)

    def _segment(self, payload: Segment, time: datetime) -> Iterator[str]:
        if not self._steps or not payload.snapshots:
            return
        loss = number(payload.snapshots[-1].train_loss)
        line = f"  step {payload.step_end}: train loss {loss}"
        # The clock may have been set back meanwhile.
        if self._told is not None and timedelta() <= time - self._told < _QUIET:
            self._pending = line
            return
        self._told, self._pending = time, ""
        yield line

    def _advice(
        self, payload: CandidatesScored | ProposalsReceived | RestartDecided
    ) -> Iterator[str]:
        if isinstance(payload, CandidatesScored):
            self._texts.update({c.candidate_id: c.text for c in payload.candidates})
            yield from _scored(payload.candidates)
        elif isinstance(payload, ProposalsReceived):
            self._proposals = {p.proposal_id: p for p in payload.answer.proposals}
            yield _answered(payload)
        else:
            yield from self._decided(payload)

    def _decided(self, payload: RestartDecided) -> Iterator[str]:
        for branch in payload.branches:
            if branch.candidate_id == payload.incumbent_id and branch.loss_after is not None:
                course = f"{number(branch.loss_before)} → {number(branch.loss_after)}"
                yield f"    incumbent {branch.candidate_id} {course}"
        for outcome in payload.outcomes:
            yield f"    {_outcome(outcome, self._what(outcome.proposal_id))}"
        chosen = f"{payload.chosen_id} {self._what(payload.chosen_id)}".rstrip()
        if payload.restarted:
            yield f"  restart from {chosen}" + (f": {payload.reason}" if payload.reason else "")
        else:
            yield "  no restart" + (f": {payload.reason}" if payload.reason else "")

    def _what(self, name: str) -> str:
        """The words of a proposal or candidate in quotes; empty if it has none."""
        proposal = self._proposals.get(name)
        text = proposal.text if proposal is not None else self._texts.get(name, "")
        if proposal is not None and proposal.settings is not None:
            return json.dumps(dict(proposal.settings))
        if not text and proposal is not None and proposal.values:
            text = ", ".join(f"{value:.3g}" for value in proposal.values[:6])
        return f"“{shorten(text, 48)}”" if text else ""

    def _life(self, payload: object) -> Iterator[str]:
        if isinstance(payload, Created):
            yield title(payload.spec)
        elif isinstance(payload, StageStarted):
            words = f" from “{shorten(payload.text, 48)}”" if payload.text else ""
            device = f" on {payload.device}" if payload.device else ""
            yield f"stage {payload.stage + 1} of {self.stages}{words}{device}"
        elif isinstance(payload, StateChanged):
            yield f"state: {payload.state}" + (f" ({payload.reason})" if payload.reason else "")
        elif isinstance(payload, MentorLost):
            yield (
                f"  mentor {payload.mentor} does not answer, the run continues without it: "
                f"{payload.reason}"
            )
        elif isinstance(payload, StepDivided):
            yield (
                f"  a step lacked memory: {counted(payload.rows_at_once, 'row')} at a time from "
                "now on"
            )
        elif isinstance(payload, MentorBack):
            yield f"  mentor {payload.mentor} answers again"
        elif isinstance(payload, Resumed):
            yield f"resumed from event {payload.checkpoint_seq}" + (
                f": {payload.reason}" if payload.reason else ""
            )
        elif isinstance(payload, Finished):
            yield from _finished(payload)


def _scored(candidates: tuple[Candidate, ...]) -> Iterator[str]:
    if not candidates or all(map(_is_unscored, candidates)):
        return
    best = min(candidates, key=lambda candidate: candidate.score.rank)
    accuracy = best.score.accuracy
    extra = f", accuracy {accuracy:.3f}" if accuracy is not None else ""
    yield (
        f"  {counted(len(candidates), 'candidate')} scored: best selection loss "
        f"{number(best.score.loss)}{extra} ({best.candidate_id}, “{shorten(best.text, 40)}”)"
    )


def _is_unscored(candidate: Candidate) -> bool:
    """Whether it is proposed settings, which have the incumbent's score."""
    return candidate.source is CandidateSource.PROPOSAL and candidate.settings is not None


def _answered(payload: ProposalsReceived) -> str:
    answer = payload.answer
    record = answer.records[0] if answer.records else None
    who = record.mentor if record is not None and record.mentor else "mentor"
    who = f"fallback {who}" if payload.is_fallback else who
    lag = f", {counted(payload.lag_steps, 'step')} after the question" if payload.lag_steps else ""
    if answer.status is not AnswerStatus.USABLE:
        why = f": {shorten(answer.detail, 100)}" if answer.detail else ""
        return f"  {who}: {answer.status}{lag}{why}"
    tokens = sum(item.reply_tokens for item in answer.records)
    spent = sum((item.duration for item in answer.records), timedelta())
    cost = f" in {seconds(spent)} s, {counted(tokens, 'token')}" if tokens else ""
    return f"  {who}: {counted(len(answer.proposals), 'proposal')}{cost}{lag}"


def _outcome(outcome: ProposalOutcome, what: str) -> str:
    parts = [outcome.proposal_id, what, str(outcome.status).replace("_", " ")]
    if outcome.score is not None:
        course = number(outcome.score.loss)
        if outcome.probe_loss is not None:
            course += f" → {number(outcome.probe_loss)}"
        parts.append(course)
    if outcome.detail and outcome.score is None:
        parts.append(f"({shorten(outcome.detail, 60)})")
    return " ".join(part for part in parts if part)


def _finished(payload: Finished) -> Iterator[str]:
    if payload.error:
        yield f"{payload.state}: {payload.error}"
    elif payload.result is not None:
        yield f"{payload.state}: {result_line(payload.result)}"
    else:
        yield str(payload.state)


def result_line(result: RunResult) -> str:
    """The result of a run in one line."""
    parts = [f"selection loss {number(result.returned.score.loss)}"]
    if result.test is not None:
        parts.insert(0, f"test loss {number(result.test.loss)}")
        if result.test.accuracy is not None:
            parts.insert(1, f"accuracy {result.test.accuracy:.3f}")
    parts.append(counted(result.restarts_applied, "restart"))
    return ", ".join(parts)
