"""Files that are torn and workers that are fenced, as often as wanted, and how soon a run goes on.

    python -m campaigns.faults.torn_files --times 6

The last line is one JSON object: for each fault how often it was injected and met, what the
effective logs lost or doubled, whether all artifacts have the same bytes, and the seconds from each
fault to the next worker's claim. Processes are forked and have a lease of 1 s, as those of
`test_kills`.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from campaigns.faults.fork_server import ForkServer
from campaigns.faults.kill_cases import CASES, Kill, outcome, recoveries
from campaigns.faults.reference_runs import ReferenceRuns
from trainer_service.job import EXIT_NOT_MINE

Report = dict[str, Any]


@dataclass(frozen=True)
class Fault:
    """What is done to runs of one case."""

    case: str
    kills: Callable[[int], Sequence[Kill]]
    """In the n-th run."""
    met: Callable[[Report], int] = lambda report: len(report["kills"])
    """How often a run ran into it, by the fork server's report."""
    more: dict[str, bool] = field(default_factory=dict)
    """What else befalls its files."""


FAULTS = {
    "worker stopped, fenced, continued": Fault(
        "function-sgd",
        lambda n: [Kill("stopped", checks=80 + 7 * n)],
        lambda report: report["stopped"].count(EXIT_NOT_MINE),
    ),
    "worker killed while a checkpoint is written": Fault(
        "function-adamw", lambda n: [Kill("worker", blob=1 + n % 3)]
    ),
    "both killed while a checkpoint is written": Fault(
        "function-adamw", lambda n: [Kill("both", blob=1 + n % 3)]
    ),
    "torn checkpoint": Fault(
        "function-adamw",
        lambda n: [Kill("both", blob=3 + n % 2)],
        lambda report: report["cut"],
        {"cut_checkpoint": True},
    ),
    "torn write-ahead log": Fault(
        "function-sgd",
        lambda n: [Kill("both", checks=40 + 7 * n, delay=0.002)],
        lambda report: report["torn"],
        {"tear": True},
    ),
}


def measure(reference_runs: ReferenceRuns, fault: Fault, times: int) -> Report:
    """So many runs of a case, each of which meets the fault once."""
    whole = reference_runs.undisturbed(CASES[fault.case])
    met = lost = doubled = 0
    seconds: list[float] = []
    same = True
    for number in range(times):
        report, url, run_id = reference_runs.run(
            CASES[fault.case], fault.kills(number), **fault.more
        )
        met += fault.met(report)
        left = outcome(url, run_id)
        missing, excess = left.differences(whole)
        lost, doubled = lost + missing, doubled + excess
        same &= left.artifact == whole.artifact
        seconds += recoveries([kill["time"] for kill in report["kills"]], left.claims)
    return {
        "injected": len(seconds),
        "met": met,
        "lost": lost,
        "doubled": doubled,
        "same_bytes": same,
        "median": round(statistics.median(seconds), 2),
        "longest": round(max(seconds), 2),
    }


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--times", type=int, default=6)
    times = parser.parse_args().times
    with tempfile.TemporaryDirectory() as folder:
        fork_server = ForkServer(Path(folder))
        reference_runs, reports = ReferenceRuns(fork_server, Path(folder)), dict[str, Report]()
        for name, fault in FAULTS.items():
            reports[name] = measure(reference_runs, fault, times)
            print(f"{name}: {json.dumps(reports[name])}", flush=True)
        fork_server.close()
    print(json.dumps(reports))


if __name__ == "__main__":
    main()
