"""Figures of a soak: the callers' times in phases of attack and of burning."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

RESAMPLES = 1_000


@dataclass(frozen=True)
class Span:
    """A part of the soak."""

    name: str
    """``attack``, ``burn`` or ``faults``."""
    begin: float
    """Seconds since 1970."""
    end: float
    """Seconds since 1970."""


def percentile(seconds: Sequence[float], share: float) -> float:
    """A percentile of times; NaN without any."""
    return float(np.quantile(seconds, share)) if len(seconds) else float("nan")


def summary(calls: Sequence[dict[str, Any]], spans: Sequence[Span]) -> dict[str, Any]:
    """Times by phase in ms, failures by reason, and the ratio of the 99th percentiles, attack to
    burning, with a 95 % interval from resampling pairs of phases that follow each other.

    Args:
        calls: Each with ``at`` (seconds since 1970), ``seconds`` and ``code``.
        spans: The phases, in order of time.
    """
    times: dict[str, list[list[float]]] = {"attack": [], "burn": [], "faults": []}
    codes: dict[str, Counter[str]] = {name: Counter() for name in times}
    for span in spans:
        found = [call for call in calls if span.begin <= call["at"] < span.end]
        times[span.name].append([call["seconds"] for call in found if call["code"] == "OK"])
        codes[span.name].update(call["code"] for call in found if call["code"] != "OK")
    shown: dict[str, Any] = {}
    for name, parts in times.items():
        joined = [seconds for part in parts for seconds in part]
        shown[name] = {
            "calls": len(joined),
            "failed": dict(codes[name]),
            **{
                f"p{round(share * 100)} ms": round(percentile(joined, share) * 1e3, 1)
                for share in (0.5, 0.95, 0.99)
            },
        }
    ratio, low, high = ratio_of_tails(times["attack"], times["burn"])
    return {
        **shown,
        "p99 attack/burn": round(ratio, 3),
        "interval": [round(low, 3), round(high, 3)],
    }


def ratio_of_tails(
    attack: Sequence[Sequence[float]], burn: Sequence[Sequence[float]], share: float = 0.99
) -> tuple[float, float, float]:
    """Ratio of the percentiles of all times, and its 95 % interval over resampled pairs."""

    def ratio(pairs: Sequence[int]) -> float:
        above, below = (
            percentile([seconds for n in pairs for seconds in parts[n]], share)
            for parts in (attack, burn)
        )
        return above / below

    count = min(len(attack), len(burn))
    if not count:
        return (float("nan"),) * 3
    draw = np.random.default_rng(0)
    drawn = [ratio(list(draw.integers(0, count, count))) for _ in range(RESAMPLES)]
    low, high = np.nanquantile(drawn, [0.025, 0.975])
    return ratio(range(count)), float(low), float(high)
