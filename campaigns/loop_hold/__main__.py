"""``python -m campaigns.loop_hold``: how long one request keeps a service from all others.

For every method of every service, valid requests and the worst ones are sent behind each other to
services whose event loops are watched. A hold in processor time is the service's own; one beyond
it is the machine's. The last line is one JSON object: the longest holds of each method, in
milliseconds, and which methods hold their service for longer than `MOST_MS`.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from campaigns.attacks.pulse import Pulse
from campaigns.fuzz.calls import Caller, Unexpected
from campaigns.fuzz.cases import Case
from campaigns.fuzz.methods import MENTOR, METHODS, PREDICTOR, TRAINER, Method
from campaigns.fuzz.services import Services
from campaigns.loop_hold.shapes import plain, worst
from campaigns.loop_hold.watched import TICK_SECONDS, Delay

MOST_MS = 50.0
"""Longest hold of an event loop, in its own processor time, that is as it should be."""

_IDLE_SECONDS = 5.0
_PLAIN_CALLS = 10
"""Most valid requests of a method."""


def longest(delays: Iterable[Delay], began: float, ended: float) -> dict[str, float]:
    """The longest delays of a loop between two times, in milliseconds: in processor time of its
    thread, of its process, and in all."""
    within = [delay for delay in delays if began <= delay.at and delay.at - delay.late <= ended]
    return {
        name: round(1e3 * max((getattr(delay, name) for delay in within), default=0.0), 1)
        for name in ("loop", "process", "late")
    }


class Calls:
    """Sends requests, and keeps when each was under way.

    Args:
        services: Whom to send them to.
    """

    def __init__(self, services: Services) -> None:
        self._services = services
        self._caller = Caller(services.addresses)

    def of(self, method: Method, cases: Sequence[tuple[str, Case]]) -> dict[str, Any]:
        """Sends the requests of a method; returns what they held."""
        codes: Counter[str] = Counter()
        times = []
        with Pulse(self._services.addresses[method.server]) as pulse:
            for name, case in cases:
                began = time.monotonic()
                try:
                    codes[self._caller.send(case)] += 1
                except Unexpected as error:
                    codes[f"{error.code}, which is not documented"] += 1
                time.sleep(4 * TICK_SECONDS)
                times.append((began, time.monotonic(), name))
        delays = self._services.delays(method.server)
        by_request = [(longest(delays, began, ended), name) for began, ended, name in times]
        return {
            **{
                f"{kind}_ms": max(held[kind] for held, _ in by_request) for kind in by_request[0][0]
            },
            "health_ms": pulse.longest_ms,
            "calls": len(cases),
            "codes": dict(codes),
            "request": max(by_request, key=lambda found: found[0]["loop"])[1],
            "slowest": max(by_request, key=lambda found: found[0]["process"])[1],
        }

    def close(self) -> None:
        self._caller.close()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m campaigns.loop_hold", description=__doc__)
    parser.add_argument("--requests", type=int, default=60, help="of each method, at most")
    parser.add_argument("--seed", type=int, default=0, help="the same seed makes the same ones")
    parser.add_argument("--method", default="", help="only methods whose name has this in it")
    given = parser.parse_args()
    numbers = random.Random(given.seed)
    methods = [method for method in METHODS if given.method in f"{method.server} {method.short}"]
    with (
        tempfile.TemporaryDirectory() as folder,
        Services(Path(folder), has_model=True, watched=True) as services,
    ):
        report = measure(services, methods, given.requests, numbers)
    report["exit_codes"] = services.codes
    print(json.dumps(report))
    return 1 if report["too_long"] else 0


def measure(
    services: Services, methods: Sequence[Method], most: int, numbers: random.Random
) -> dict[str, Any]:
    """What each method's requests hold, and what is without any."""
    began = time.monotonic()
    time.sleep(_IDLE_SECONDS)
    idle = {
        server: longest(services.delays(server), began, time.monotonic())
        for server in (TRAINER, MENTOR, PREDICTOR)
    }
    calls, found = Calls(services), {}
    for method in methods:
        valid = [("valid", Case(method, "plain", requests)) for requests in plain(method)]
        held = {
            "valid": calls.of(method, valid[:_PLAIN_CALLS]),
            "worst": calls.of(method, worst(method, most, numbers)),
        }
        found[f"{method.server} {method.short}"] = held
        print(f"{method.server} {method.short}: {held}", file=sys.stderr, flush=True)
    calls.close()
    return {
        "idle": idle,
        "methods": found,
        "longest_ms": max(held["worst"]["loop_ms"] for held in found.values()),
        "too_long": [name for name, held in found.items() if held["worst"]["loop_ms"] > MOST_MS],
        "dead": services.dead(),
    }


if __name__ == "__main__":
    sys.exit(main())
