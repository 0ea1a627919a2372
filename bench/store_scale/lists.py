"""Milliseconds of one page of a list of runs, by order and filters, at up to 100,000 runs.

    python -m bench.store_scale.lists [--counts 1000 10000 100000] [--databases sqlite postgres]

The time is that of `list_runs` for 50 runs, the median of several calls after the first ones: of
SQLite, which works in this process, processor time; of Postgres, wall time.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.paired import environment
from bench.store_scale.made import store_of
from bench.store_scale.many_runs import START, fill
from mentorgrad.domain.query import FieldFilter, RunFilter, RunOrder
from mentorgrad.domain.run import RunState
from run_store.sql_store import SqlRunStore
from run_store.visibility import EVERYTHING, OnBehalf, Viewer

_FIRST, _CALLS = 2, 9

MEMBER, RARE = OnBehalf("carol", "vision"), OnBehalf("dora", "")


def _filters(count: int) -> dict[str, RunFilter]:
    """One filter of each kind; some that many runs meet, some that few do."""
    middle = START.timestamp() + count / 2
    moment = START.fromtimestamp(middle, START.tzinfo)
    return {
        "owner": RunFilter(owner="alice"),
        "rare owner": RunFilter(owner="dora"),
        "state": RunFilter(states=(RunState.SUCCEEDED,)),
        "states": RunFilter(states=(RunState.FAILED, RunState.RUNNING)),
        "after": RunFilter(created_after=moment),
        "before": RunFilter(created_before=moment),
        "label": RunFilter(labels={"team": "t1"}),
        "rare label": RunFilter(labels={"rare": "yes"}),
        "task": RunFilter(task="toxic"),
        "objective": RunFilter(objective="causal_prompt"),
        "mentor": RunFilter(mentor="perturb"),
        "experiment": RunFilter(experiment_id="e1"),
        "loss": RunFilter(fields=(FieldFilter("best_selection_loss", at_most=0.34),)),
        "high loss": RunFilter(fields=(FieldFilter("best_selection_loss", at_least=1.0),)),
        "accuracy": RunFilter(fields=(FieldFilter("result.test.accuracy", at_least=0.94),)),
        "rate": RunFilter(fields=(FieldFilter("spec.optimizer.learning_rate", "0.01"),)),
        "rates": RunFilter(fields=(FieldFilter("spec.optimizer.learning_rate", at_most=0.02),)),
        "default": RunFilter(fields=(FieldFilter("spec.task.shots", "16"),)),
        "seed": RunFilter(fields=(FieldFilter("spec.seed", "77"),)),
        "seeds": RunFilter(fields=(FieldFilter("spec.seed", at_least=count / 2),)),
        "text": RunFilter(text="sweep 1 seed"),
        "frequent text": RunFilter(text="sweep"),
        "pattern": RunFilter(name_pattern="sweep 1.*9$"),
        "pattern of none": RunFilter(name_pattern="^[0-9]+x"),
    }


def _both(one: RunFilter, other: RunFilter) -> RunFilter | None:
    """Both filters at once; None if they are of one kind, so that they cannot be given together."""
    fields: dict[str, Any] = {}
    for item in (one, other):
        for name, value in vars(item).items():
            if not value:
                continue
            if name in fields and name not in ("fields", "labels"):
                return None
            fields[name] = (
                (*fields.get(name, ()), *value)
                if name == "fields"
                else fields.get(name, {}) | value
                if name == "labels"
                else value
            )
    return RunFilter(**fields)


def _time(
    store: Any, wanted: RunFilter, order: RunOrder, token: str = ""
) -> tuple[float, int, str]:
    """Milliseconds of a page, number of its runs, and the token of the next page."""
    clock = time.process_time if store.url.startswith("sqlite") else time.perf_counter
    taken = []
    for _ in range(_FIRST + _CALLS):
        started = clock()
        page = store.list_runs(wanted, order, 50, token)
        taken.append((clock() - started) * 1000)
    return statistics.median(taken[_FIRST:]), len(page.runs), page.next_page_token


def measure(store: SqlRunStore, count: int, *, pairs: bool = True) -> dict[str, Any]:
    """Medians of all queries of a filled store, milliseconds.

    Returns:
        Viewer → filter → order → median; ``next page`` likewise; of pairs, the slowest ones.
    """
    filters = {"": RunFilter()} | _filters(count)
    viewers: dict[str, Viewer] = {"all": EVERYTHING, "member": MEMBER, "new member": RARE}
    found: dict[str, Any] = {"first page": {}, "second page": {}}
    for name, viewer in viewers.items():
        view = store.seen_by(viewer)
        for kind in ("first page", "second page"):
            found[kind][name] = {label: {} for label in filters}
        for label, wanted in filters.items():
            for order in RunOrder:
                median, _, token = _time(view, wanted, order)
                found["first page"][name][label][order.value] = round(median, 2)
                if token:
                    median, _, _ = _time(view, wanted, order, token)
                    found["second page"][name][label][order.value] = round(median, 2)
    if pairs:
        found["pairs"] = _slowest(store, filters)
    return found


def _slowest(store: SqlRunStore, filters: dict[str, RunFilter]) -> dict[str, Any]:
    names = [name for name in filters if name]
    times = {}
    for index, one in enumerate(names):
        for other in names[index + 1 :]:
            wanted = _both(filters[one], filters[other])
            if wanted is None:
                continue
            for order in RunOrder:
                times[f"{one} + {other}, {order.value}"] = _time(store, wanted, order)[0]
    ordered = sorted(times.items(), key=lambda item: -item[1])
    return {
        "number": len(times),
        "median": round(statistics.median(times.values()), 2),
        "slowest": {name: round(median, 2) for name, median in ordered[:10]},
    }


def _slow(singles: dict[str, Any]) -> dict[str, float]:
    """The slowest queries of one filter."""
    flat = {
        f"{viewer}: {label or 'no filter'}, {order}": median
        for viewer, filters in singles.items()
        for label, orders in filters.items()
        for order, median in orders.items()
    }
    return dict(sorted(flat.items(), key=lambda item: -item[1])[:10])


def run(counts: Sequence[int], databases: Sequence[str]) -> dict[str, Any]:
    """Measures fresh stores of each size on each database."""
    results: dict[str, Any] = {}
    for kind in databases:
        for count in counts:
            with tempfile.TemporaryDirectory() as folder, store_of(kind, Path(folder)) as store:
                started = time.process_time()
                fill(store, count)
                filled = time.process_time() - started
                found = measure(store, count)
            found |= {"slowest": _slow(found["first page"]), "filled in": round(filled, 1)}
            results.setdefault(kind, {})[str(count)] = found
            print(kind, count, json.dumps(found["slowest"], indent=1), file=sys.stderr)
            print(json.dumps(found["pairs"], indent=1), file=sys.stderr)
    return results


def main() -> None:
    """Prints the results as one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--counts", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--databases", nargs="+", default=["sqlite", "postgres"])
    options = parser.parse_args()
    print(json.dumps({**environment(), "lists": run(options.counts, options.databases)}))


if __name__ == "__main__":
    main()
