"""Calibration: removes a language model's preference for some labels, whatever the text.

Calibrated log-probabilities are log p(label | text) − log prior(label), normalised over the labels.
The prior is a mean of label probabilities under the same prompt: over inputs without content (Zhao
et al., ICML 2021) or over a set of texts without their labels (Zhou et al., ICLR 2024). Or it is
the one under which the mean calibrated probabilities of labelled texts equal the labels'
frequencies among them (prior matching: Liusie et al., IJCNLP-AACL 2023). A mean of probabilities is
the first step towards that one, and far from it where a model is sure of nearly every answer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

LEAST = 1e-30
"""Minimum of a prior's probabilities, so that their logarithms are finite. A model that is sure of
every answer needs priors far below what a mean of probabilities shows."""

_ABSENT = 1e-12
"""Frequency of a class without a row, instead of 0."""
_STEPS = 1000
_CLOSE = 1e-4
"""Maximum steps of `matched_prior`, and the error of a frequency's logarithm that ends it."""


def calibrated(log_probs: Tensor, prior: Tensor) -> Tensor:
    """Removes a prior [..., classes] from log-probabilities [..., rows, classes]."""
    shifted = log_probs - prior.clamp_min(LEAST).log().unsqueeze(-2)
    return shifted.log_softmax(-1)


def prior_of(log_probs: Tensor, labels: Tensor | None = None) -> Tensor:
    """The prior [..., classes] of log-probabilities [..., rows, classes].

    Args:
        log_probs: Of the reference inputs.
        labels: Their classes [rows], to match their frequencies; None: the mean of the
            probabilities is the prior.
    """
    return log_probs.exp().mean(-2) if labels is None else matched_prior(log_probs, labels)


def matched_prior(log_probs: Tensor, labels: Tensor) -> Tensor:
    """The prior under which the mean calibrated probabilities equal the frequencies of the labels.

    Of all priors it is the one with the lowest mean cross-entropy of these rows: the frequencies
    match where its gradient is zero, and it is convex in the prior's logarithm. Each step divides
    the prior's odds by what is left of the preference, as in iterative proportional fitting.
    """
    classes = log_probs.shape[-1]
    shares = torch.bincount(labels, minlength=classes).clamp_min(_ABSENT) / len(labels)
    wanted = shares.double().log() + math.log(len(labels))
    rows = log_probs.double()
    log_prior = rows.new_zeros(*rows.shape[:-2], classes)
    for _ in range(_STEPS):
        excess = (rows - log_prior.unsqueeze(-2)).log_softmax(-1).logsumexp(-2) - wanted
        # Each by itself: a prior must not depend on what else is scored.
        is_far = excess.abs().amax(-1, keepdim=True) >= _CLOSE
        if not is_far.any():
            break
        log_prior = torch.where(is_far, log_prior + excess, log_prior)
    return log_prior.softmax(-1).to(log_probs.dtype)


@dataclass(eq=False)
class Reference:
    """The inputs whose label probabilities make the prior of some parameters.

    They are computed when they are first needed: in a screening, the results on further rows are
    joined to earlier ones, whose reference holds for all.
    """

    points: Tensor
    """The parameters, [k, *shape]."""
    compute: Callable[[Tensor], Tensor]
    """[k, *shape] → log-probabilities of the labels of the reference inputs, [k, rows, classes]."""
    labels: Tensor | None = None
    """Their classes [rows], whose frequencies the prior matches; None: it is a mean."""
    with_scored: bool = False
    """Whether the scored rows themselves belong to the reference inputs."""
    _known: Tensor | None = field(default=None, repr=False)

    def at(self, parameters: Sequence[int]) -> Reference:
        """The reference of these parameters only."""
        chosen = list(parameters)
        known = None if self._known is None else self._known[chosen]
        return replace(self, points=self.points[chosen], _known=known)

    def prior(self, log_probs: Tensor, labels: Tensor) -> Tensor:
        """The prior [k, classes], float32.

        Args:
            log_probs: Log-probabilities of the scored rows [k, rows, classes].
            labels: Their classes [rows].
        """
        if self._known is None:
            self._known = self.compute(self.points)
        if not self.with_scored:
            return prior_of(self._known, self.labels)
        both = torch.cat([self._known, log_probs], dim=-2)
        return prior_of(both, None if self.labels is None else torch.cat([self.labels, labels]))
