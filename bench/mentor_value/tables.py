"""The records as tables in Markdown."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean

from bench.mentor_value.figures import Place, arms_of, difference, figures, place_of
from bench.mentor_value.plan import MENTOR, weights
from bench.mentor_value.records import Record

_FIGURES = ("loss", "accuracy", "macro_f1")
_COMPARED = ("loss", "accuracy")


def largest_mentor(arms: Sequence[str]) -> str:
    """Arm of the largest mentor, asked as by default; empty without one."""
    plain = [arm for arm in arms if arm.startswith(f"{MENTOR}_") and "/" not in arm]
    return max(plain, key=lambda arm: weights(arm.removeprefix(f"{MENTOR}_")), default="")


def tables(records: Sequence[Record]) -> str:
    """One table per objective, tuned model and budget."""
    places = sorted({place_of(record) for record in records}, key=_order)
    return "\n\n".join(_table(records, place) for place in places) + "\n"


def _order(place: Place) -> tuple[str, float, int, str]:
    objective, tuned, budget = place
    return objective, weights(tuned), len(budget), budget


def _table(records: Sequence[Record], place: Place) -> str:
    objective, tuned, budget = place
    arms = arms_of(records, place)
    mentor = largest_mentor(arms)
    strata = sorted({stratum for arm in arms for stratum in figures(records, place, arm)})
    head = ["arm", "runs", *(f"test {name.replace('_', ' ')}" for name in _FIGURES)]
    head += [f"{task}, {shots}" for task, shots in strata]
    head += [f"{mentor} minus this: {name}" for name in _COMPARED if mentor]
    head += ["pairs"] if mentor else []
    lines = [f"### {objective}, tuned model of {tuned}, budget {budget}", "", _row(head)]
    lines.append(_row(["---"] * len(head)))
    for arm in arms:
        by_stratum = figures(records, place, arm)
        runs = sum(map(len, by_stratum.values()))
        cells = [arm, f"{runs}", *(_mean(records, place, arm, name) for name in _FIGURES)]
        for stratum in strata:
            values = list(by_stratum.get(stratum, {}).values())
            cells.append(f"{sum(values) / len(values):.3f}" if values else "")
        if mentor:
            cells += _against(records, place, mentor, arm)
        lines.append(_row(cells))
    return "\n".join(lines)


def _mean(records: Sequence[Record], place: Place, arm: str, name: str) -> str:
    """Mean over tasks of the means over seeds; a task with one seed counts as the others do."""
    by_stratum = figures(records, place, arm, name).values()
    means = [fmean(by_seed.values()) for by_seed in by_stratum]
    return f"{fmean(means):.3f}" if means else ""


def _against(records: Sequence[Record], place: Place, mentor: str, arm: str) -> list[str]:
    cells, pairs = [], ""
    for name in _COMPARED:
        found = None if arm == mentor else difference(records, place, mentor, arm, name)
        if found is None:
            cells.append("")
            continue
        ends = found.estimate
        is_bounded = math.isfinite(ends.low + ends.high)
        interval = f" [{ends.low:+.3f}, {ends.high:+.3f}]" if is_bounded else ""
        cells.append(f"{ends.mean:+.3f}{interval}")
        pairs = f"{ends.count}{' (weak)' if found.is_weak else ''}"
    return [*cells, pairs]


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
