"""Calibration: removes a language model's preference for some labels, whatever the text.

Calibrated log-probabilities are log p(label | text) − log prior(label), normalised over the labels.
The prior is a mean of label probabilities under the same prompt: over inputs without content (Zhao
et al., ICML 2021) or over a set of texts without their labels (Zhou et al., ICLR 2024).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from torch import Tensor

LEAST = 1e-12
"""Minimum of a prior's probabilities, so that their logarithms are finite."""


def calibrated(log_probs: Tensor, prior: Tensor) -> Tensor:
    """Removes a prior [..., classes] from log-probabilities [..., rows, classes]."""
    shifted = log_probs - prior.clamp_min(LEAST).log().unsqueeze(-2)
    return shifted.log_softmax(-1)


@dataclass(eq=False)
class Reference:
    """The inputs whose label probabilities make the prior of some parameters.

    They are computed when they are first needed: in a screening, the results on further rows are
    joined to earlier ones, whose reference holds for all.
    """

    points: Tensor
    """The parameters, [k, *shape]."""
    total: Callable[[Tensor], Tensor]
    """[k, *shape] → sums of the label probabilities over the reference inputs, [k, classes]."""
    rows: int
    """Number of reference inputs."""
    with_scored: bool = False
    """Whether the scored rows themselves belong to the reference inputs."""
    _known: Tensor | None = field(default=None, repr=False)

    def at(self, parameters: Sequence[int]) -> Reference:
        """The reference of these parameters only."""
        chosen = list(parameters)
        known = None if self._known is None else self._known[chosen]
        return Reference(self.points[chosen], self.total, self.rows, self.with_scored, known)

    def prior(self, log_probs: Tensor) -> Tensor:
        """The prior [k, classes], float32.

        Args:
            log_probs: Log-probabilities of the scored rows [k, rows, classes].
        """
        if self._known is None:
            self._known = self.total(self.points)
        if not self.with_scored:
            return self._known / self.rows
        scored = log_probs.exp().sum(-2)
        return (self._known + scored) / (self.rows + log_probs.shape[-2])
