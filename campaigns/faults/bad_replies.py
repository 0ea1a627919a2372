"""A live mentor whose model writes invalid replies.

    python -m campaigns.faults.bad_replies --cases 10000

Two mentors, one of each profile, run as processes of their own. Every reply must come back as
proposals within the constraints or as a typed outcome, with the reply in its record. The last line
is one JSON object: answers by status, deaths, answers that were wrong or late, and the most memory
that each process held.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Any

import grpc
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from campaigns.faults.generated_replies import LIMITS, Bad, bad_replies, broken_rule
from mentor_service.answer_limits import MAX_REPLY_BYTES
from mentorgrad.domain.advice import (
    AdviseOpen,
    Answer,
    AnswerStatus,
    Proposal,
    ProposalKind,
    ProposalRequest,
    TaskCard,
)
from mentorgrad.errors import MentorgradError
from mentorgrad.v1 import mentor_service_pb2 as pb
from mentorgrad.v1.mentor_service_pb2_grpc import MentorServiceStub
from mentorgrad.wire.channels import STREAM_OPTIONS
from mentorgrad.wire.codec import from_message, to_message
from tests.support.child import Child

PROFILES = ("small", "capable")
COUNT = 4
"""Proposals that are asked for."""
_CARD = TaskCard("label_prompt", "what a message is about", ("billing", "refund"))
_LATE = 30.0
"""Seconds after which an answer counts as none: a stall, not a slow machine."""
_ROUND = 250
"""Replies that one seed makes."""
_KEPT = 20
"""Failures that are reported whole."""


@dataclass
class Report:
    """What came of a campaign."""

    seed: int
    cases: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    questions: Counter[str] = field(default_factory=Counter)
    ways: Counter[str] = field(default_factory=Counter)
    proposals: int = 0
    longest: int = 0
    deaths: list[dict[str, Any]] = field(default_factory=list)
    wrong: list[dict[str, Any]] = field(default_factory=list)
    memory: dict[str, dict[str, int]] = field(default_factory=dict)
    seconds: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        return {
            "cases": self.cases,
            "seed": self.seed,
            "seconds": round(self.seconds, 1),
            "statuses": dict(self.statuses),
            "questions": dict(self.questions),
            "proposals": self.proposals,
            "longest_reply_characters": self.longest,
            "ways": dict(self.ways.most_common()),
            "deaths": len(self.deaths),
            "wrong": len(self.wrong),
            "memory_mib": self.memory,
            "failures": [*self.deaths, *self.wrong][:_KEPT],
        }


class Mentor:
    """One live mentor that says what it is told to."""

    def __init__(self, profile: str, folder: Path) -> None:
        self.profile = profile
        self._file = folder / f"{profile}.reply"
        self._start()

    def _start(self) -> None:
        command = ("tests.support.told_mentor", self.profile, str(self._file))
        self.process = Child(self._file.with_suffix(".log"), *command)
        self._channel = grpc.insecure_channel(self.process.address, options=STREAM_OPTIONS)
        self._stub = MentorServiceStub(self._channel)  # type: ignore[no-untyped-call]

    def ask(self, bad: Bad, kind: ProposalKind, number: int) -> Answer:
        """The answer to a question that the model meets with this reply.

        Raises:
            grpc.RpcError: There is none.
        """
        self._file.write_bytes(bad.text.encode("utf-8", "surrogatepass"))
        opened = AdviseOpen("session", _CARD, LIMITS[kind])
        wait = timedelta(seconds=_LATE)
        asked = ProposalRequest(f"r{number}", count=COUNT, seed=number, timeout=wait)
        request = pb.ProposeRequest(open=to_message(opened), request=to_message(asked))
        response = self._stub.Propose(request, timeout=_LATE)
        return from_message(Answer, response.answer, checked=True)

    def restart(self) -> None:
        self.close()
        self._start()

    def close(self) -> None:
        self._channel.close()
        self.process.stop()


def fault_of(answer: Answer, bad: Bad, kind: ProposalKind) -> str:
    """What is wrong with an answer; empty: nothing."""
    if answer.status not in (AnswerStatus.USABLE, AnswerStatus.UNUSABLE):
        return f"status {answer.status.value}: {answer.detail[:200]}"
    proposals = answer.proposals
    if (answer.status is AnswerStatus.USABLE) is not bool(proposals) or len(proposals) > COUNT:
        return f"{answer.status.value} with {len(proposals)} proposals"
    if not proposals and not answer.detail:
        return "no reason given"
    said = [reply for record in answer.records for reply in record.raw_replies]
    if not said or set(said) != {_recorded(bad.text, len(said))}:
        return f"the record holds {[reply[:80] for reply in said]}"
    if len({(item.text, item.values, str(item.settings)) for item in proposals}) < len(proposals):
        return "a proposal twice"
    return next(filter(None, (_broken(item, kind) for item in proposals)), "")


def _broken(item: Proposal, kind: ProposalKind) -> str:
    return broken_rule(item, LIMITS[kind])


def _recorded(text: str, times: int) -> str:
    """What a record holds of a reply that was given so often."""
    data = text.encode("utf-8", "replace")
    if times * len(data) > MAX_REPLY_BYTES:
        data = data[: MAX_REPLY_BYTES // times]
    return data.decode(errors="ignore")


class Campaign:
    """Both mentors, from entering to leaving the block.

    Args:
        folder: Where what they say and log goes.
        number: Seed of the replies.
    """

    def __init__(self, folder: Path, number: int) -> None:
        self._folder = folder
        self.report = Report(number)

    def __enter__(self) -> Campaign:
        self._mentors = [Mentor(profile, self._folder) for profile in PROFILES]
        for mentor in self._mentors:
            mentor.ask(Bad(("right",), ""), ProposalKind.TEXT, 0)  # loads what is loaded late
            self.report.memory[mentor.profile] = {"before": mentor.process.memory() >> 20}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for mentor in self._mentors:
            mentor.close()

    def run(self, cases: int, progress: Callable[[Report], None] = lambda _: None) -> Report:
        """Meets that many questions with rubbish."""
        report, began = self.report, time.monotonic()
        kinds = st.sampled_from(tuple(ProposalKind))
        mentors = st.sampled_from(self._mentors)
        while report.cases < cases:

            @seed(report.seed + report.cases)
            @settings(
                max_examples=min(_ROUND, cases - report.cases),
                database=None,
                deadline=None,
                phases=(Phase.generate,),
                suppress_health_check=list(HealthCheck),
            )
            @given(data=st.data(), kind=kinds, mentor=mentors)
            def meet(data: Any, mentor: Mentor, kind: ProposalKind) -> None:
                self._meet(mentor, data.draw(bad_replies(kind)), kind)

            meet()
            report.seconds = time.monotonic() - began
            for mentor in self._mentors:
                self.report.memory[mentor.profile] |= {
                    "peak": mentor.process.memory("VmHWM") >> 20,
                    "after": mentor.process.memory() >> 20,
                }
            progress(report)
        return report

    def _meet(self, mentor: Mentor, bad: Bad, kind: ProposalKind) -> None:
        report = self.report
        report.cases += 1
        report.questions[f"{mentor.profile}, {kind.value}"] += 1
        report.ways.update(bad.ways)
        report.longest = max(report.longest, len(bad.text))
        case = {"profile": mentor.profile, "kind": kind.value, "ways": bad.ways}
        case["reply"] = bad.text[:500]
        try:
            answer = mentor.ask(bad, kind, report.cases)
        except (grpc.RpcError, MentorgradError) as error:
            report.statuses["none"] += 1
            code = mentor.process.code
            failure = case | {"exit_code": code, "error": str(error)[:500]}
            (report.wrong if code is None else report.deaths).append(failure)
            if code is not None:
                mentor.restart()
            return
        report.statuses[answer.status.value] += 1
        report.proposals += len(answer.proposals)
        if fault := fault_of(answer, bad, kind):
            report.wrong.append(case | {"fault": fault})


def tell(report: Report) -> None:
    """One line of progress."""
    failures = len(report.deaths) + len(report.wrong)
    print(f"{report.cases} cases, {report.seconds:.0f} s, {failures} failures", file=sys.stderr)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--cases", type=int, default=10_000, help="replies to give")
    parser.add_argument("--seed", type=int, default=0, help="the same seed makes the same replies")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, Campaign(Path(folder), given.seed) as campaign:
        report = campaign.run(given.cases, tell)
    print(json.dumps(report.to_dict()))
    return 1 if report.deaths or report.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
