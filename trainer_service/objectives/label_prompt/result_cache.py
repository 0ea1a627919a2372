"""Cache of results for recently scored parameters, to avoid computing them twice."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable

import torch
from torch import Tensor

_MOST_BYTES = 64 * 1024 * 1024


class ResultCache:
    """Caches one result per parameter, up to 64 MiB; evicts the oldest first."""

    def __init__(self) -> None:
        self._results: OrderedDict[bytes, Tensor] = OrderedDict()

    def keep(self, parameters: Tensor, results: Tensor) -> None:
        """Stores results [k, ...] of parameters [k, *shape]."""
        for key, result in zip(_keys(parameters), results, strict=True):
            self._results[key] = result
            self._results.move_to_end(key)
        most = max(1, _MOST_BYTES // max(results[0].nbytes, 1)) if len(results) else 0
        while len(self._results) > most > 0:
            self._results.popitem(last=False)

    def get(self, parameters: Tensor, compute: Callable[[Tensor], Tensor]) -> Tensor:
        """Results [k, ...] of parameters [k, *shape], from the cache or computed now."""
        keys = _keys(parameters)
        missing = [i for i, key in enumerate(keys) if key not in self._results]
        found = {i: self._results[keys[i]] for i in range(len(keys)) if i not in missing}
        if missing:
            made = compute(parameters[missing])
            self.keep(parameters[missing], made)
            found |= dict(zip(missing, made, strict=True))
        return torch.stack([found[i] for i in range(len(keys))])


def _keys(parameters: Tensor) -> list[bytes]:
    rows = parameters.detach().cpu().contiguous().numpy()
    return [hashlib.sha256(row.tobytes()).digest() for row in rows]
