"""Names and domains of the numeric test functions, for those who must not import torch."""

from __future__ import annotations

FUNCTION_BOUNDS: dict[str, tuple[float, float]] = {
    "rastrigin": (-5.12, 5.12),
    "ackley": (-32.768, 32.768),
    "rosenbrock": (-5.0, 10.0),
    "levy": (-10.0, 10.0),
}
"""Function → least and greatest value of every variable, as in Surjanovic and Bingham, "Virtual
Library of Simulation Experiments: Test Functions and Datasets"."""

LEAST_DIMENSIONS: dict[str, int] = {"rosenbrock": 2}
"""Functions that need more than one variable."""
