"""Writes the runs of a trainer to a CSV file, with their costs and test figures.

    python examples/runs_to_csv.py --task tickets --output runs.csv

Requires the extra ``frame``.
"""

from __future__ import annotations

import argparse

from mentorgrad import Client, RunFilter
from mentorgrad.frames import to_frame

COLUMNS = {
    "run_id": "run",
    "state": "state",
    "spec.task.name": "task",
    "spec.mentor.name": "mentor",
    "spec.seed": "seed",
    "restarts_applied": "restarts",
    "usage.gradient_steps": "gradient steps",
    "usage.forward_rows": "forward rows",
    "result.test.loss": "test loss",
    "result.test.accuracy": "test accuracy",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--server", default="127.0.0.1:50551", help="address of the trainer")
    parser.add_argument("--task", default="", help="only runs of this task")
    parser.add_argument("--output", default="runs.csv", help="the CSV file")
    options = parser.parse_args()

    with Client(options.server) as client:
        runs = to_frame(client.iter_runs(RunFilter(task=options.task)))
    runs = runs.reindex(columns=list(COLUMNS)).rename(columns=COLUMNS)
    runs.to_csv(options.output, index=False)
    print(f"{len(runs)} runs written to {options.output}")


if __name__ == "__main__":
    main()
