"""The picture: what the mentor is worth, by tuned model and budget."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

from bench.mentor_value.figures import Place, arms_of, difference, none_at, place_of
from bench.mentor_value.plan import weights
from bench.mentor_value.records import Record
from bench.mentor_value.tables import largest_mentor

_OTHERS = (("random_tokens", "random words"), ("description", "the description"), ("", "nothing"))


def draw(records: Sequence[Record], path: Path) -> None:
    """Saves the differences in test loss between the largest mentor and what needs no LLM, one
    panel per tuned model; the line is the linear probe."""
    chosen = [record for record in records if record["objective"] == "causal_prompt"]
    sizes = sorted({record["tuned"] for record in chosen}, key=weights)
    if not sizes:
        return
    figure, panels = plt.subplots(
        1, len(sizes), figsize=(4.6 * len(sizes), 3.8), sharey=True, squeeze=False
    )
    for panel, size in zip(panels[0], sizes, strict=True):
        _panel(panel, [record for record in chosen if record["tuned"] == size])
        panel.set_title(f"tuned model of {size}")
    panels[0][0].set_ylabel("test loss: mentor minus other\n(below 0: the mentor is better)")
    if panels[0][-1].get_legend_handles_labels()[0]:
        panels[0][-1].legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    plt.close(figure)


def _panel(panel: Axes, records: Sequence[Record]) -> None:
    # A budget of one seed has no interval, and so no place.
    places = [
        place
        for place in sorted({place_of(record) for record in records}, key=_budget)
        if any(_found(records, place, arm) for arm in arms_of(records, place))
    ]
    panel.axhline(0.0, color="0.7", linewidth=1)
    for number, (arm, label) in enumerate(_OTHERS):
        _points(panel, records, places, arm, label, (number - 1) * 0.18)
    probes = [_found(records, place, "linear_probe") for place in places]
    drawn = [(at, found[0]) for at, found in enumerate(probes) if found is not None]
    if drawn:
        at, probed = map(np.array, zip(*drawn, strict=True))
        # Per budget, so that a single one is seen too.
        panel.hlines(
            probed, at - 0.3, at + 0.3, "0.4", linestyle="--", label="other: the linear probe"
        )
    panel.set_xticks(range(len(places)), [_named(place[2]) for place in places], fontsize=8)


def _points(
    panel: Axes,
    records: Sequence[Record],
    places: Sequence[Place],
    arm: str,
    label: str,
    shift: float,
) -> None:
    found = [
        (at + shift, *ends)
        for at, place in enumerate(places)
        if (ends := _found(records, place, arm or none_at(arms_of(records, place))))
    ]
    if not found:
        return
    at, means, lows, highs = zip(*found, strict=True)
    below = [mean - low for mean, low in zip(means, lows, strict=True)]
    above = [high - mean for mean, high in zip(means, highs, strict=True)]
    panel.errorbar(at, means, yerr=[below, above], fmt="o", capsize=3, label=f"other: {label}")


def _found(records: Sequence[Record], place: Place, arm: str) -> tuple[float, float, float] | None:
    """Mean and interval of the largest mentor minus an arm."""
    mentor = largest_mentor(arms_of(records, place))
    found = difference(records, place, mentor, arm) if mentor else None
    if found is None or not math.isfinite(found.estimate.low + found.estimate.high):
        return None
    return found.estimate.mean, found.estimate.low, found.estimate.high


def _budget(place: Place) -> tuple[bool, int, str]:
    budget = place[2]
    return budget.startswith("f"), len(budget), budget


def _named(budget: str) -> str:
    if budget.startswith("0x"):
        return f"no step,\n{budget[2:]} rounds"
    if budget.startswith("f"):
        return f"{budget[1:]} forward\npasses"
    return "no step" if budget == "0" else f"{budget} steps"
