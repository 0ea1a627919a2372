"""A campaign: rounds of cases over all methods, with what came of them."""

from __future__ import annotations

import functools
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from grpc import StatusCode
from hypothesis import HealthCheck, Phase, given, seed, settings

from campaigns.fuzz.calls import Caller, Unexpected
from campaigns.fuzz.cases import Case, generated, heaviest, raw, spoilt
from campaigns.fuzz.methods import METHODS, Method
from campaigns.fuzz.services import Services
from campaigns.fuzz.valid import VALID

GROWTH_BYTES = 64 << 20
"""How much more memory a service may hold at the end than after its warm-up."""
WARM_UP = 2_000
"""Cases of the warm-up, or a third of all where those are fewer."""
SHARE = {"generated": 4, "spoilt": 8, "raw": 3}
"""Cases of a method and round, by kind; one of a method whose request says nothing."""


_AT_ONCE = 6
"""Rounds that are under way at the same time."""


class Target(NamedTuple):
    """What a round is about."""

    method: Method
    kind: str


@dataclass
class Report:
    """What came of a campaign."""

    seed: int
    cases: int = 0
    by_method: Counter[str] = field(default_factory=Counter)
    by_kind: Counter[str] = field(default_factory=Counter)
    codes: dict[str, Counter[str]] = field(default_factory=dict)
    slowest: tuple[float, str] = (0.0, "")
    spent: Counter[str] = field(default_factory=Counter)
    memory_before: dict[str, int] = field(default_factory=dict)
    memory_after: dict[str, int] = field(default_factory=dict)
    failures: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0
    turns: int = 0
    latest: deque[Case] = field(default_factory=lambda: deque(maxlen=40))
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, case: Case, kind: str, code: str, seconds: float) -> None:
        """Counts a case."""
        with self._lock:
            self._note(case, kind, code, seconds)

    def _note(self, case: Case, kind: str, code: str, seconds: float) -> None:
        name = case.method.short
        self.cases += 1
        if code != StatusCode.UNAVAILABLE.name:
            self.latest.append(case)
        self.by_method[name] += 1
        self.by_kind[kind] += 1
        self.codes.setdefault(name, Counter())[code] += 1
        self.spent[name] += seconds  # type: ignore[assignment]
        if seconds > self.slowest[0]:
            self.slowest = (seconds, name)

    def fail(self, error: Unexpected, kind: str, raised: str = "") -> None:
        """Keeps a failure with what did it."""
        said = {"code": error.code, "details": error.details[:300]}
        with self._lock:
            self.failures.append(said | {"kind": kind, "raised": raised} | error.case.reproducer())

    def to_dict(self) -> dict[str, Any]:
        mib = {name: [self.memory_before.get(name, 0) >> 20] for name in self.memory_after}
        for name, size in self.memory_after.items():
            mib[name].append(size >> 20)
        return {
            "cases": self.cases,
            "seed": self.seed,
            "seconds": round(self.seconds, 1),
            "cases_per_second": round(self.cases / max(self.seconds, 1e-9), 1),
            "slowest_seconds": round(self.slowest[0], 3),
            "slowest_method": self.slowest[1],
            "seconds_by_method": {name: round(spent, 1) for name, spent in self.spent.items()},
            "by_kind": dict(self.by_kind),
            "by_method": dict(self.by_method),
            "codes": {name: dict(found) for name, found in sorted(self.codes.items())},
            "memory_mib_before_and_after": mib,
            "failures": self.failures,
        }


def run(
    services: Services,
    cases: int,
    number: int,
    progress: Callable[[Report], None] = lambda _: None,
    methods: Sequence[Method] = METHODS,
    share: Mapping[str, int] = SHARE,
) -> Report:
    """Sends at least that many cases to the methods, in rounds of `share`, and stops at what a
    service does wrong for good."""
    report = Report(number)
    caller = Caller(services.addresses)
    started = time.monotonic()
    targets = [Target(method, kind) for method in methods for kind in share]
    try:
        for case in heaviest(methods):
            try:
                report.note(case, "heaviest", caller.send(case), 0.0)
            except Unexpected as error:
                report.fail(error, "heaviest")
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            while report.cases < cases and targets and not services.dead():
                times = 4 if cases > 1_000 else 1
                round_share = {kind: count * times for kind, count in share.items()}
                send = functools.partial(_round, caller, report, number + report.turns, round_share)
                rounds = pool.map(send, targets)
                targets = [target for target, well in zip(targets, rounds, strict=True) if well]
                report.turns += 1
                if not report.memory_before and report.cases >= min(WARM_UP, cases // 3):
                    report.memory_before = services.memory()
                report.seconds = time.monotonic() - started
                progress(report)
    finally:
        caller.close()
    _end(services, report)
    return report


def _round(
    caller: Caller, report: Report, number: int, share: Mapping[str, int], target: Target
) -> bool:
    """Some cases of one method; whether all was well."""
    method, kind = target
    if kind == "spoilt" and method.short not in VALID:
        return True
    make = {"generated": generated, "spoilt": spoilt, "raw": raw}[kind]
    last: list[Unexpected] = []

    @seed(number)
    @settings(
        max_examples=share[kind] if method.request.fields else 1,
        database=None,
        deadline=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
    )
    @given(case=make(method))
    def check(case: Case) -> None:
        began = time.monotonic()
        try:
            code = caller.send(case)
        except Unexpected as error:
            last.append(error)
            report.note(case, kind, error.code, time.monotonic() - began)
            raise
        report.note(case, kind, code, time.monotonic() - began)

    try:
        check()
    except BaseException as error:
        if not last:
            raise
        # The smallest comes last; one that does not fail again is kept all the same.
        found = min(last, key=lambda item: sum(map(len, item.case.requests)))
        report.fail(found, kind, type(error).__name__)
        return False
    return True


def _end(services: Services, report: Report) -> None:
    dead = services.dead()
    for server, code in dead.items():
        sent = [case.reproducer() for case in report.latest if case.method.server == server]
        log = services.tail(server)
        report.failures.append({"died": server, "exit_code": code, "log": log, "sent": sent})
    if dead:
        return
    report.memory_after = services.memory()
    for server, size in report.memory_after.items():
        before = report.memory_before.get(server)
        if before is None:
            report.failures.append({"not_measured": server, "why": "it ended before its warm-up"})
        elif size - before > GROWTH_BYTES:
            report.failures.append({"grew": server, "mib": (size - before) >> 20})


def stopped(codes: dict[str, int], report: Report) -> None:
    """Notes the services that were told to stop and did not end as they should.

    Args:
        codes: Exit code of each.
        report: Gets the failures; those that it says died are in it already.
    """
    died = {failure.get("died") for failure in report.failures}
    report.failures += [
        {"stopped": server, "exit_code": code}
        for server, code in codes.items()
        if code != 0 and server not in died
    ]
