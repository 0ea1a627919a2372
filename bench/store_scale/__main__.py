"""What reading costs in a large store, on SQLite and Postgres.

    python -m bench.store_scale [--databases sqlite postgres] [--repeats 15]
                                [--parts trajectories migration]
                                [--snapshots 10000 100000 1000000] [--segments 10 1000 100000]

Milliseconds of the clock: on a busy machine, compare rows of one run with each other only.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import tempfile
from pathlib import Path
from typing import Any

import structlog

from bench.paired import environment
from bench.store_scale import made, migration, trajectories

PARTS: dict[str, Any] = {"trajectories": trajectories, "migration": migration}
"""Modules that each measure one thing: `add_options`, `measure` in a store, and `headline` of the
rows of all databases."""

DATABASES = ("sqlite", "postgres")


def main() -> None:
    """Runs the benchmark and prints the result."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--databases", nargs="+", choices=DATABASES, default=DATABASES)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=[*PARTS])
    parser.add_argument("--repeats", type=int, default=15)
    for part in PARTS.values():
        part.add_options(parser)
    options = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    rows: dict[str, dict[str, list[dict[str, Any]]]] = {name: {} for name in options.parts}
    for database in options.databases:
        for name in options.parts:
            with (
                tempfile.TemporaryDirectory() as folder,
                made.store_of(database, Path(folder)) as store,
            ):
                rows[name][database] = PARTS[name].measure(store, options)
            for row in rows[name][database]:
                print(database, row, file=sys.stderr)
    headlines: dict[str, float] = {}
    for name, found in rows.items():
        headlines |= PARTS[name].headline(found)
    print(json.dumps(headlines | {"rows": rows, "environment": environment("sqlalchemy")}))


if __name__ == "__main__":
    main()
