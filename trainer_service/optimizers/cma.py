"""The optimizer ``cma``: covariance matrix adaptation, a search by a population of points."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping

import numpy as np
import torch
from cmaes import CMA
from torch import Tensor

from mentorgrad.domain import spec as specs
from mentorgrad.errors import InvalidInput
from trainer_service.optimizers.kinds import CMA_POPULATION
from trainer_service.protocols import Oracle, Step

WHOLE_SPACE = 300
"""Numbers of a parameter up to which all of them are searched; a step costs their third power."""

_MEMORY = {
    "sigma": "_sigma",
    "covariance": "_C",
    "path_of_sigma": "_p_sigma",
    "path_of_covariance": "_pc",
}
"""Tensors of the state → attributes of `CMA`, which has no other way to save and restore them."""


@functools.lru_cache(maxsize=2)
def random_subspace(seed: int, numbers: int, dimensions: int) -> Tensor:
    """A matrix float32 [dimensions, numbers], made again from its seed whenever it is needed.

    Its entries have variance 1 / dimensions, so that a point of the subspace with standard normal
    coordinates moves each number by 1 in root mean square, as it does without a subspace.
    """
    drawn = torch.randn(dimensions, numbers, generator=torch.Generator().manual_seed(seed))
    return drawn / math.sqrt(dimensions)


class Cma:
    """CMA-ES (Hansen, The CMA Evolution Strategy: A Tutorial, 2016), by the package `cmaes`.

    Each step draws a population around the parameters, ranks it by the criterion on the batch, the
    lower loss first in case of a tie, and moves the parameters to the weighted mean of the better
    half. What it learns of the landscape is a step size and a covariance matrix. With more than
    300 numbers it searches a random subspace (Sun et al., Black-Box Tuning for
    Language-Model-as-a-Service, ICML 2022) around the point where it started; after a reset, it
    draws another one.

    Args:
        population: Points per step.
        subspace: Dimensions of the subspace.
    """

    def __init__(self, population: int, subspace: int) -> None:
        self._population = population
        self._subspace = subspace
        self._state: dict[str, Tensor] = {}

    @classmethod
    def from_spec(cls, spec: specs.Optimizer) -> Cma:
        """The optimizer that a spec describes."""
        return cls(spec.directions or CMA_POPULATION, spec.subspace)

    @torch.no_grad()
    def step(self, parameters: Tensor, oracle: Oracle, learning_rate: float) -> Step:
        """Asks for the values of the population and updates the tensor `parameters` in place. The
        learning rate of the first step is the initial step size; later ones are not used."""
        seeds = torch.randint(2**32, (2,), generator=oracle.generator()).tolist()
        numbers = parameters.numel()
        is_whole = numbers <= max(WHOLE_SPACE, self._subspace)
        search = self._search(numbers if is_whole else self._subspace, seeds[0], learning_rate)
        seed = int(self._state.get("subspace_seed", seeds[1]))

        def moves(points: list[np.ndarray]) -> Tensor:
            found = torch.tensor(np.stack(points), dtype=torch.float32)
            if not is_whole:
                found = found @ random_subspace(seed, numbers, self._subspace)
            return found.view(len(points), *parameters.shape).to(parameters.device)

        points = [search.ask() for _ in range(self._population)]
        losses, values = oracle.values(parameters + moves(points))
        keys = list(zip(values.tolist(), losses.nan_to_num(torch.inf).tolist(), strict=True))
        order = sorted(range(len(keys)), key=keys.__getitem__)
        search.tell([(points[index], float(rank)) for rank, index in enumerate(order)])
        move = moves([search.mean])[0]
        parameters.add_(move)
        self._state = {
            name: torch.tensor(vars(search)[attribute], dtype=torch.float64)
            for name, attribute in _MEMORY.items()
        }
        self._state |= {
            "steps": torch.tensor(search.generation),
            "subspace_seed": torch.tensor(seed),
        }
        return Step(losses.mean(), torch.linalg.vector_norm(move))

    def _search(self, dimensions: int, seed: int, sigma: float) -> CMA:
        """The search around the present parameters, which are its origin: CMA-ES does not depend on
        the choice of coordinates."""
        search = CMA(np.zeros(dimensions), sigma, seed=seed, population_size=self._population)
        if self._state:
            known = {_MEMORY[name]: self._state[name].numpy() for name in _MEMORY}
            vars(search).update(known, _g=int(self._state["steps"]))
        return search

    def state(self) -> dict[str, Tensor]:
        """Copies of step size, covariance, paths, the subspace's seed and the number of steps;
        empty before the first step."""
        return {name: tensor.clone() for name, tensor in self._state.items()}

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Restores a result of `state`; an empty mapping resets the optimizer.

        Raises:
            InvalidInput: The state belongs to another kind of optimizer.
        """
        if state and state.keys() != _MEMORY.keys() | {"steps", "subspace_seed"}:
            raise InvalidInput(
                f"optimizer state does not fit {type(self).__name__}: {', '.join(state)}",
                reason="OPTIMIZER_STATE_MISMATCH",
            )
        self._state = {name: tensor.detach().cpu().clone() for name, tensor in state.items()}
