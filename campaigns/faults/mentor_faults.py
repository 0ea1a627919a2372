"""Mentors that fail in mid-run, as often as wanted, and how soon they reply again.

    python -m campaigns.faults.mentor_faults --times 6

The last line is one JSON object: for each fault how often it was injected, how many questions the
run asked in all, how often a question ran into the fault, what was lost (questions without an
outcome in the log) or doubled (outcomes in the log a second time); and the seconds to its next
reply, from the fault and from the mentor's return (the same where it never was away).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import dataclasses
import json
import signal
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any
from unittest import mock

import torch

from campaigns.faults.local_mentors import Mentors
from campaigns.faults.proxy import Proxy
from campaigns.faults.run_harness import SPEC, RunHarness
from mentor_service import servicer
from mentorgrad.domain.advice import Answer, AnswerStatus
from mentorgrad.domain.event import EventKind
from mentorgrad.domain.query import EventQuery
from mentorgrad.domain.run import RunState
from mentorgrad.domain.spec import Stages
from service_common import logs
from tests.support.mentor_process import MentorProcess


class CountingProxy(Proxy):
    """Knows how often it was connected to."""

    connections = 0

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        await super()._serve(reader, writer)


def _nothing() -> None:
    """For faults that leave the mentor there."""


@dataclass(frozen=True)
class Fault:
    """What is done to a mentor just before a question, and undone when that has its outcome."""

    address: str
    begin: Callable[[], object]
    end: Callable[[], object] = _nothing
    witness: Callable[[], object] = _nothing
    """What it says is different behind a question that ran into the fault; unless `met` knows."""
    met: Callable[[Answer, Answer], bool] | None = None
    """By the answer before the fault and the one after it."""


Open = Callable[[], contextlib.AbstractContextManager[Fault]]


def _is_reply(answer: Answer) -> bool:
    """Also one that proposes what is known already: a script begins anew with its process."""
    return answer.status in (AnswerStatus.USABLE, AnswerStatus.UNUSABLE)


def _no_reply(_: Answer, answer: Answer) -> bool:
    return not _is_reply(answer)


def _from_another(before: Answer, answer: Answer) -> bool:
    return {record.model for record in before.records} != {r.model for r in answer.records}


@contextlib.contextmanager
def killed() -> Iterator[Fault]:
    """A process of its own, started again at the same port."""
    running = [MentorProcess(0, 0.0)]

    def start() -> None:
        running.append(MentorProcess(running[0].port, 0.0))

    yield Fault(running[0].address, lambda: running[-1].kill(), start, met=_no_reply)
    running[-1].kill()


@contextlib.contextmanager
def hung() -> Iterator[Fault]:
    process = MentorProcess(0, 0.0)
    stop, go_on = (partial(process.signal, sent) for sent in (signal.SIGSTOP, signal.SIGCONT))
    yield Fault(process.address, stop, go_on, met=_no_reply)
    process.kill()


@contextlib.contextmanager
def _behind_a_proxy() -> Iterator[tuple[Mentors, CountingProxy]]:
    with contextlib.ExitStack() as stack:
        mentors = Mentors()
        stack.callback(mentors.close)
        proxy = CountingProxy(mentors.start()[0])
        stack.callback(proxy.close)
        yield mentors, proxy


@contextlib.contextmanager
def line(name: str) -> Iterator[Fault]:
    """A line that does not carry what it should."""
    with _behind_a_proxy() as (_, proxy):
        broken = partial(Fault, witness=lambda: proxy.connections)
        put = proxy.__dict__.update
        yield {
            "cut": broken(proxy.address, proxy.cut),
            "reset": broken(proxy.address, lambda: proxy.cut(reset=True)),
            "half-closed": broken(proxy.address, proxy.half_close),
            "refused": Fault(proxy.address, proxy.refuse, proxy.accept, met=_no_reply),
            "half-open": Fault(
                proxy.address, lambda: put(flows=False), lambda: put(flows=True), met=_no_reply
            ),
        }[name]


@contextlib.contextmanager
def throttled() -> Iterator[Fault]:
    """50 pieces of 512 bytes a second each way; met by a question that came through."""
    with _behind_a_proxy() as (mentors, proxy):
        proxy.target, backend = mentors.start()
        put = proxy.__dict__.update
        yield Fault(
            proxy.address,
            lambda: put(delay=0.02, piece=512),
            lambda: put(delay=0.0, piece=1 << 16),
            lambda: len(backend.questions),
        )


@contextlib.contextmanager
def replaced() -> Iterator[Fault]:
    """By a mentor with another model, to and fro; the line ends as it would with the process."""
    with _behind_a_proxy() as (mentors, proxy):
        ports = [int(proxy.target), mentors.start(model="another")[0]]

        def replace() -> None:
            ports.reverse()
            proxy.target = ports[0]
            proxy.cut()

        yield Fault(proxy.address, replace, met=_from_another)


@contextlib.contextmanager
def answering_twice() -> Iterator[Fault]:
    answer = servicer._Call._answer
    times, second = [1], [0]

    async def answer_as_often(call: Any, request: Any) -> None:
        await answer(call, request)
        if times[0] == 2:
            await answer(call, request)
            second[0] += 1

    put = partial(times.__setitem__, 0)
    with (
        mock.patch.object(servicer._Call, "_answer", answer_as_often),
        _behind_a_proxy() as (_, proxy),
    ):
        yield Fault(proxy.address, lambda: put(2), lambda: put(1), lambda: second[0])


LINES = ("cut", "reset", "half-closed", "refused", "half-open")
FAULTS: dict[str, Open] = {
    "killed": killed,
    "hung": hung,
    **{name: partial(line, name) for name in LINES},
    "throttled": throttled,
    "another model": replaced,
    "answering twice": answering_twice,
}


@dataclass
class Injection:
    """One time that the mentor was bad, on the clock of `time.time`, as the log is."""

    began: float
    ended: float
    before: object
    after: object = None


class Acts:
    """Done before each question: the fault before every second one, its end before the others."""

    def __init__(self, fault: Fault) -> None:
        self._fault = fault
        self._asked = 0
        self.injections: list[Injection] = []

    def __call__(self) -> None:
        if self._asked % 2:
            now = time.time()
            self.injections.append(Injection(now, now, self._fault.witness()))
            self._fault.begin()
        elif self._asked:
            latest = self.injections[-1]
            latest.after = self._fault.witness()
            self._fault.end()
            if self._fault.end is not _nothing:
                latest.ended = time.time()
        self._asked += 1


def measure(opened: Open, times: int) -> dict[str, Any]:
    """One run that meets a fault so often.

    Raises:
        SystemExit: The run did not end as it should.
    """
    questions = 2 * times + 1  # and none behind the last stage
    spec = dataclasses.replace(SPEC, stages=Stages(count=questions + 1, steps=15))
    with opened() as fault:
        harness, acts = RunHarness(fault.address, spec), Acts(fault)
        harness.before["propose"] = acts
        if harness.execute() is not RunState.SUCCEEDED:
            raise SystemExit("a run did not end as it should")
    kinds = (EventKind.PROPOSALS_RECEIVED,)
    events = list(harness.store.events(harness.run_id, EventQuery(kinds=kinds)))
    own = [event for event in events if not event.payload.is_fallback]
    replies = [e.time.timestamp() for e in own if _is_reply(e.payload.answer)]
    answers = {event.payload.answer.request_id: event.payload.answer for event in own}
    first = [answers.get(f"s{number}", Answer()) for number in range(questions)]
    pairs = zip(first[::2], first[1::2], acts.injections, strict=False)
    return {
        "injected": len(acts.injections),
        "questions": questions,
        "met": sum(
            fault.met(before, after) if fault.met else injection.before != injection.after
            for before, after, injection in pairs
        ),
        "lost": questions - len(answers),
        "doubled": len(own) - len(answers),
        "from_fault": _seconds([i.began for i in acts.injections], replies),
        "from_return": _seconds([i.ended for i in acts.injections], replies),
    }


def _seconds(moments: list[float], replies: list[float]) -> dict[str, float]:
    """From each moment to the mentor's next reply."""
    seconds = [min(when for when in replies if when > moment) - moment for moment in moments]
    return {"median": round(statistics.median(seconds), 2), "longest": round(max(seconds), 2)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--times", type=int, default=6)
    times = parser.parse_args().times
    logs.configure("error")
    torch.set_num_threads(1)
    reports = {}
    for name, opened in FAULTS.items():
        reports[name] = measure(opened, times)
        sys.stderr.write(f"{name}: {json.dumps(reports[name])}\n")
    sys.stdout.write(json.dumps(reports) + "\n")


if __name__ == "__main__":
    main()
