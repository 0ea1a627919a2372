"""How often a report's 95% interval excludes zero, in simulated experiments without an effect.

For comparison: percentile and BCa bootstrap intervals of the same differences, and the report's
interval if the variations of a seed were treated as independent.

    python -m bench.intervals [--experiments 1000]
"""

from __future__ import annotations

import argparse
import json

import numpy as np
from scipy import stats

from bench.paired import environment
from trainer_service.experiments.statistics import Figures, estimate

_SEED = 20_250_101


def one_task(experiments: int, seeds: int) -> dict[str, float]:
    """One task with normal differences: share of intervals without zero, by kind."""
    values = np.random.default_rng(_SEED).normal(size=(experiments, seeds))
    missed = {
        "report": float(np.mean([_misses({("a", "x"): _by_seed(row)}) for row in values])),
    }
    for method in ("percentile", "BCa"):
        found = stats.bootstrap(
            (values,),
            np.mean,
            axis=-1,
            n_resamples=2_000,
            batch=50,
            method=method,
            rng=np.random.default_rng(_SEED),
        ).confidence_interval
        missed[method] = float(np.mean((found.low > 0) | (found.high < 0)))
    return _rounded(missed)


def shared_runs(experiments: int, variations: int) -> dict[str, float]:
    """Five tasks of ten seeds, whose variations share the run of the other arm: share of intervals
    without zero if seeds are resampled as a whole, and if every pair is independent."""
    random = np.random.default_rng(_SEED)
    missed = {"report": 0.0, "pair by pair": 0.0}
    for _ in range(experiments):
        own = random.normal(size=(5, variations, 10))
        differences = own - random.normal(size=(5, 1, 10))
        whole = {
            (f"task{task}", f"variation{variation}"): _by_seed(differences[task, variation])
            for task in range(5)
            for variation in range(variations)
        }
        apart = {(f"{task}/{variation}", ""): of for (task, variation), of in whole.items()}
        missed["report"] += _misses(whole) / experiments
        missed["pair by pair"] += _misses(apart) / experiments
    return _rounded(missed)


def _rounded(shares: dict[str, float]) -> dict[str, float]:
    return {kind: round(share, 4) for kind, share in shares.items()}


def _by_seed(values: np.ndarray) -> dict[int, float]:
    return dict(enumerate(map(float, values)))


def _misses(figures: Figures) -> bool:
    found = estimate(figures)
    return found is None or not found.low <= 0.0 <= found.high


def main() -> None:
    """Runs the simulation and prints one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--experiments", type=int, default=1_000)
    experiments = parser.parse_args().experiments
    figures = {
        "experiments": experiments,
        "one task, 10 seeds": one_task(experiments, 10),
        "one task, 5 seeds": one_task(experiments, 5),
        "5 tasks, 10 seeds, 1 variation": shared_runs(experiments, 1),
        "5 tasks, 10 seeds, 2 variations": shared_runs(experiments, 2),
        "5 tasks, 10 seeds, 4 variations": shared_runs(experiments, 4),
    }
    print(json.dumps({"benchmark": "intervals", **figures, "environment": environment()}))


if __name__ == "__main__":
    main()
