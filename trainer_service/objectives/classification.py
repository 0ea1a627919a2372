"""Helpers shared by the text classification objectives."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from mentorgrad.domain.advice import Proposal, ProposalStatus
from mentorgrad.domain.run import Score
from trainer_service.protocols import ProposalRejected
from trainer_service.tasks.data import Row


def labels_of(rows: Sequence[Row], device: torch.device) -> Tensor:
    """Class indices of the rows, int64 [rows]."""
    return torch.tensor([row.label for row in rows], dtype=torch.int64, device=device)


def losses_and_hits(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Cross-entropy in nats and correctness, both [k, rows], of logits [k, rows, classes]."""
    wanted = labels.expand(len(logits), -1)
    losses = functional.cross_entropy(logits.flatten(0, 1), wanted.flatten(), reduction="none")
    return losses.view_as(wanted), logits.argmax(-1) == wanted


def mean_scores(losses: Tensor, hits: Tensor) -> list[Score]:
    """Averages losses and hits [k, rows] over the rows into k scores."""
    return [
        Score(loss=loss, accuracy=share, rows=losses.shape[1])
        for loss, share in zip(losses.mean(1).tolist(), hits.float().mean(1).tolist(), strict=True)
    ]


def raw_parameters(proposal: Proposal, shape: Sequence[int], device: torch.device) -> Tensor:
    """Copies a proposal's raw parameters to the device, as float32.

    Raises:
        ProposalRejected: The shape is wrong or a value is not finite.
    """
    raw = torch.as_tensor(proposal.parameters, dtype=torch.float32)
    if tuple(raw.shape) != tuple(shape) or not bool(torch.isfinite(raw).all()):
        raise ProposalRejected(
            ProposalStatus.MALFORMED,
            f"raw parameters must be finite and have shape {list(shape)}",
        )
    return raw.to(device, copy=True)
