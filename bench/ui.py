"""What the page costs: a long curve in a tab, an event's way to the screen, and 50 watchers.

- `curve`: seconds from opening a run of 100,000 snapshots until its loss curve is drawn, and what
  the tab's scripts hold then, in MB after a garbage collection.
- `to_screen`: milliseconds from the append of an event to the store until its step stands on the
  screen. The trainer looks every 100 ms, and a tab is drawn at once after a quiet while, else four
  times a second.
- `watchers`: CPU seconds of the trainer, and of the page's service, while a run of many events is
  watched by 50 streams, relative to one; in ABBA blocks.
- `list`: milliseconds of a tab's work for a step of scrolling a list of 100,000 runs, of which
  2,000 have been read, relative to one of 100; what the scripts of each hold, and the nodes and
  rows in the document.
- `bundle`: bytes of the built page, as they are and compressed.

The trainer is its history service alone, which is what a page reads from; it and the page have a
process each. The browser is the system's Chromium (`apt-get install
chromium`), without a window.

    python -m bench.ui [--blocks 5] [--events 500] [--loads 5] [--runs 100000] [--rows 2000]
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import shutil
import socket
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

from bench.paired import abba, environment
from bench.services import announced
from bench.store_scale.many_runs import fill
from bench.ui_list import ListTab, compared
from mentorgrad.domain.event import Created, Payload, RunEvent, Segment, StageStarted
from mentorgrad.domain.run import Snapshot
from mentorgrad.domain.spec import RunSpec
from run_store.open import open_store
from run_store.protocols import RunStore
from run_store.sql_store import SqlRunStore
from ui_service.app import built_page

SNAPSHOTS = 100_000
WATCHERS = 50
EACH = 100
"""Snapshots of a segment of the long run."""
SHORT = 100
"""Runs of the short list."""
PAUSE = 0.4
"""Seconds between two events on their way to the screen."""

_DRAWN = """() => [...document.querySelectorAll('.chart-axis.below')]
  .some(it => it.textContent.includes('of 100,000 steps')) && performance.now()"""
_NOTE_STEPS = """() => {
  window.seenAt = {};
  new MutationObserver(() => {
    for (const note of document.querySelectorAll('.tile-note')) {
      const step = /^step (\\d+)/.exec(note.textContent)?.[1];
      if (step !== undefined) window.seenAt[step] ??= Date.now();
    }
  }).observe(document.body, {subtree: true, childList: true, characterData: true});
}"""


class Recorded:
    """A run of one step a segment, which this process records as a worker does.

    Args:
        store: The store of the trainer.
    """

    def __init__(self, store: RunStore) -> None:
        self._store = store
        self.run_id = store.create(Created(spec=RunSpec(name="bench")))[0].run_id
        lease = store.claim(self.run_id, "bench", timedelta(hours=1))
        self._attempt, self.last = lease.attempt, lease.last_seq
        self.step = 0
        self._write([StageStarted(stage=0)])

    def add(self, segments: int, steps: int = 1) -> None:
        """Appends segments, at once."""
        made: list[Payload] = []
        for _ in range(segments):
            first, self.step = self.step + 1, self.step + steps
            numbers = range(first, self.step + 1)
            snapshots = tuple(Snapshot(n, 1 / n, 1e-3, 0.1, "a few words") for n in numbers)
            made.append(Segment(0, first, self.step, snapshots))
        self._write(made)

    def _write(self, payloads: Sequence[Payload]) -> None:
        now = datetime.now(UTC)
        events = [
            RunEvent(self.run_id, self.last + n, self._attempt, now, payload)
            for n, payload in enumerate(payloads, start=1)
        ]
        self.last = self._store.append(self.run_id, self._attempt, events)


@dataclass(frozen=True)
class Services:
    """The history service of a trainer, and its page."""

    store: RunStore
    page: str
    """``HOST:PORT``."""
    trainer_pid: int
    page_pid: int

    def watched(self, watchers: int, events: int) -> tuple[float, float]:
        """CPU seconds of the trainer and of the page for a run while it is watched."""
        run = Recorded(self.store)
        with ExitStack() as stack:
            streams = [stack.enter_context(closing(Watch(self.page, run))) for _ in range(watchers)]
            before = cpu_of(self.trainer_pid), cpu_of(self.page_pid)
            for _ in range(events):
                run.add(1)
            for stream in streams:
                stream.until(run.last)
        return cpu_of(self.trainer_pid) - before[0], cpu_of(self.page_pid) - before[1]


class Watch:
    """A stream of the page, read by a thread.

    Args:
        page: ``HOST:PORT``.
        run: The run; the stream has its present last event when this returns.
    """

    def __init__(self, page: str, run: Recorded) -> None:
        host, _, port = page.rpartition(":")
        self._socket = socket.create_connection((host, int(port)))
        ask = f"GET /api/v1/stream?run={run.run_id}:0 HTTP/1.1\r\nHost: {page}\r\n\r\n"
        self._socket.sendall(ask.encode())
        self._seen = 0
        self._news = threading.Condition()
        self._reader = threading.Thread(target=self._read, args=(run.run_id,), daemon=True)
        self._reader.start()
        self.until(run.last)

    def _read(self, run_id: str) -> None:
        head = f"id: {run_id}:".encode()
        with self._socket.makefile("rb") as lines:
            for line in lines:
                if line.startswith(head):
                    with self._news:
                        self._seen = int(line[len(head) :])
                        self._news.notify()

    def until(self, seq: int) -> None:
        """Waits for an event."""
        with self._news:
            if not self._news.wait_for(lambda: self._seen >= seq, timeout=300):
                raise SystemExit("a stream has stalled")

    def close(self) -> None:
        """Ends the stream."""
        self._socket.shutdown(socket.SHUT_RDWR)
        self._reader.join()
        self._socket.close()


def cpu_of(pid: int) -> float:
    """CPU seconds of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def curve(tab: Page, services: Services, loads: int) -> dict[str, float]:
    """Seconds until the long curve is drawn, and MB of the tab's scripts."""
    run = Recorded(services.store)
    run.add(SNAPSHOTS // EACH, EACH)
    taken = []
    for _ in range(loads + 1):  # the first one compiles
        tab.goto(f"http://{services.page}/runs/{run.run_id}")
        taken.append(tab.wait_for_function(_DRAWN, timeout=0, polling="raf").json_value() / 1000)
    session = tab.context.new_cdp_session(tab)
    session.send("HeapProfiler.collectGarbage")
    session.send("Performance.enable")
    figures = {
        one["name"]: one["value"] for one in session.send("Performance.getMetrics")["metrics"]
    }
    return {
        "snapshots": SNAPSHOTS,
        "seconds": round(statistics.median(taken[1:]), 3),
        "heap_mb": round(figures["JSHeapUsedSize"] / 1e6, 1),
    }


def to_screen(tab: Page, services: Services, events: int) -> dict[str, float]:
    """Milliseconds from an append to the screen."""
    run = Recorded(services.store)
    tab.goto(f"http://{services.page}/runs/{run.run_id}")
    tab.wait_for_selector(".live:has-text('live')")
    tab.evaluate(_NOTE_STEPS)
    written = {}
    for _ in range(events):
        time.sleep(PAUSE)
        written[str(run.step + 1)] = time.time() * 1000
        run.add(1)
    tab.wait_for_function("step => window.seenAt[step] !== undefined", arg=str(run.step), timeout=0)
    seen: dict[str, float] = tab.evaluate("window.seenAt")
    taken = [seen[step] - written[step] for step in written if step in seen]
    cuts = statistics.quantiles(taken, n=20)
    return {"events": len(taken), "p50_ms": round(cuts[9]), "p95_ms": round(cuts[18])}


def watchers(services: Services, events: int, blocks: int) -> dict[str, Any]:
    """CPU seconds with many watchers, relative to one."""
    of_page: dict[int, list[float]] = {WATCHERS: [], 1: []}

    def measured(count: int) -> float:
        trainer, page = services.watched(count, events)
        of_page[count].append(page)
        return trainer

    found = abba(lambda: measured(WATCHERS), lambda: measured(1), blocks)
    page = [statistics.median(of_page[count]) for count in (WATCHERS, 1)]
    return {
        "watchers": WATCHERS,
        "events": events,
        "trainer": found.rounded(),
        "page": {
            "ratio": round(page[0] / page[1], 2),
            "a": round(page[0], 2),
            "b": round(page[1], 2),
        },
    }


def bundle() -> dict[str, int]:
    """Bytes of the built page."""
    files = [file.read_bytes() for file in built_page().iterdir()]
    return {"bytes": sum(map(len, files)), "gzip": sum(len(gzip.compress(file)) for file in files)}


@contextmanager
def served(folder: Path) -> Iterator[Services]:
    """Starts the history service of a trainer, and its page."""
    url = f"sqlite:///{folder / 'runs.sqlite'}"
    with closing(open_store(url)) as store, announced(["-m", "bench.peer_history", url]) as said:
        page = ["-m", "ui_service", "serve", "--listen", "127.0.0.1:0", "--log-level", "error"]
        with announced([*page, "--server", said["address"]]) as shown:
            yield Services(store, shown["address"], said["pid"], shown["pid"])


@contextmanager
def listed(browser: Browser, count: int) -> Iterator[ListTab]:
    """A tab with a list of many runs, of a trainer of its own."""
    with tempfile.TemporaryDirectory() as folder, served(Path(folder)) as services:
        assert isinstance(services.store, SqlRunStore)
        fill(services.store, count)
        with closing(browser.new_page(viewport={"width": 1280, "height": 900})) as tab:
            yield ListTab(tab, services.page)


def main() -> None:
    """Runs the benchmark and prints the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--blocks", type=int, default=5)
    parser.add_argument("--events", type=int, default=500)
    parser.add_argument("--loads", type=int, default=5)
    parser.add_argument("--runs", type=int, default=100_000)
    parser.add_argument("--rows", type=int, default=2_000)
    arguments = parser.parse_args()
    flags = ["--no-sandbox"] if os.geteuid() == 0 else []
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        services = stack.enter_context(served(folder))
        result: dict[str, Any] = {"bundle": bundle()}
        result["watchers"] = watchers(services, arguments.events, arguments.blocks)
        playwright = stack.enter_context(sync_playwright())
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=flags)
        stack.callback(browser.close)
        tab = browser.new_page(viewport={"width": 1280, "height": 900})
        result["curve"] = curve(tab, services, arguments.loads)
        result["to_screen"] = to_screen(tab, services, 40)
        long = stack.enter_context(listed(browser, arguments.runs))
        short = stack.enter_context(listed(browser, SHORT))
        counts = {"runs": arguments.runs, "short_runs": SHORT}
        result["list"] = counts | compared(long, short, arguments.rows, arguments.blocks)
    result["chromium"] = browser.version
    result["blocks"] = arguments.blocks
    result["environment"] = environment("playwright", "starlette", "uvicorn", "grpcio")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
