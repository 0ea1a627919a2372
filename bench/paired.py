"""Paired measurement of two sides in ABBA blocks; the result is the median ratio of the blocks.

The speed of a machine drifts. Sides measured alternately drift together, so the ratio of a block is
not affected by changes that last longer than the block.
"""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Paired:
    """Result of a paired measurement."""

    ratio: float
    """Median over the blocks of A/B."""
    low: float
    """First quartile of the blocks' ratios."""
    high: float
    """Third quartile of the blocks' ratios."""
    a: float
    """Median of A."""
    b: float
    """Median of B."""
    blocks: int
    """Number of blocks."""

    def rounded(self) -> dict[str, float | int]:
        """The fields, rounded for JSON."""
        return {
            name: value if isinstance(value, int) else float(f"{value:.4g}")
            for name, value in vars(self).items()
        }


def abba(a: Callable[[], float], b: Callable[[], float], blocks: int = 10) -> Paired:
    """Measures A B B A, `blocks` times, after one warm-up run of each.

    Args:
        a: Measures side A once and returns its figure (a rate, or seconds per unit).
        b: The same for side B.
        blocks: Number of blocks.
    """
    a(), b()
    firsts, seconds, ratios = [], [], []
    for _ in range(blocks):
        a1, b1, b2, a2 = a(), b(), b(), a()
        firsts += [a1, a2]
        seconds += [b1, b2]
        ratios.append((a1 + a2) / (b1 + b2))
    middle = statistics.median(ratios)
    low, _, high = statistics.quantiles(ratios, n=4) if blocks > 1 else (middle,) * 3
    return Paired(
        middle,
        low,
        high,
        statistics.median(firsts),
        statistics.median(seconds),
        blocks,
    )


def environment(*packages: str) -> dict[str, Any]:
    """Describes the machine, the commit and the versions of packages."""
    cpu = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.processor(),
    )
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()
    return {
        "cpu": cpu,
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "commit": commit,
        **{name: metadata.version(name) for name in packages},
    }
