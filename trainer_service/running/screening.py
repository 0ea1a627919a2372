"""Screening of proposals by successive halving over the rows of the selection split.

Every round scores the remaining proposals on further rows and keeps the better half (Jamieson and
Talwalkar, AISTATS 2016). A row is scored once per proposal: later rounds add rows to the results of
the earlier ones, so a proposal that reaches the last round costs one evaluation, as without
screening.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from mentorgrad.domain.run import Score, preference
from mentorgrad.domain.spec import Criterion, RunSpec
from trainer_service.costs import Cost, Prices
from trainer_service.objectives.problem import Problem
from trainer_service.objectives.results import RowResults
from trainer_service.seeds import balanced_rows
from trainer_service.tasks.data import Split


class Round(NamedTuple):
    """One round of screening."""

    entrants: int
    """Proposals that are scored in this round."""
    rows: int
    """Selection rows that they are scored on by the end of the round."""


def plan_rounds(proposals: int, rows: int, rounds: int, keep: int) -> list[Round]:
    """The rounds of a screening.

    Args:
        proposals: Number of proposals.
        rows: Selection rows; at least 2^(rounds − 1).
        rounds: Number of rounds; 1: all proposals are scored on all rows.
        keep: Minimum number of proposals in each round, if there are as many.
    """
    plan = []
    for left in reversed(range(rounds)):
        plan.append(Round(proposals, rows >> left))
        proposals = min(max(-(-proposals // 2), keep), proposals)
    return plan


class Screening:
    """Scores the proposals of one run.

    Args:
        spec: Rounds, finalists, criterion and seed.
        problem: Scores the proposals.
        prices: Costs of the run's actions.
    """

    def __init__(self, spec: RunSpec, problem: Problem, prices: Prices) -> None:
        self._rounds = spec.acceptance.screening_rounds
        self._keep = spec.acceptance.finalists
        self._criterion: Criterion = spec.criterion
        self._problem = problem
        self._prices = prices
        self._rows = problem.size(Split.SELECTION)
        self._order: Tensor | None = None
        if self._rounds > 1 and problem.task is not None:
            order = balanced_rows(problem.task.selection, self._rows, spec.seed, "screening")
            self._order = torch.tensor(order, dtype=torch.int64)

    def cost(self, proposals: int) -> Cost:
        """The cost of screening so many proposals; parts of an evaluation are rounded up."""
        scored_rows, before = 0, 0
        forward_rows = proposals * self._prices.costs.per_score
        for entrants, rows in self._plan(proposals):
            scored_rows += entrants * (rows - before)
            forward_rows += entrants * self._prices.costs.of(rows - before)
            before = rows
        return Cost(evaluations=-(-scored_rows // self._rows), forward_rows=forward_rows)

    def score(self, points: Tensor) -> Sequence[Score]:
        """Scores points [k, *shape]. At least one reaches the last round, and so is scored on the
        whole split; dropped ones have fewer `rows`."""
        if self._order is None:
            return self._problem.score(points)
        known: dict[int, Score] = {}
        left, before = list(range(len(points))), 0
        results: RowResults | None = None
        for entrants, rows in self._plan(len(points)):
            if results is not None:  # the better ones of the round before, in their order
                ranked = sorted(range(len(left)), key=lambda i: self._preference(known[left[i]]))
                kept = sorted(ranked[:entrants])
                results, left = results.at(kept), [left[i] for i in kept]
            added = self._problem.results(points[left], Split.SELECTION, self._order[before:rows])
            results, before = added if results is None else results.joined(added), rows
            known |= dict(zip(left, results.scores(), strict=True))
        return [known[i] for i in range(len(points))]

    def _plan(self, proposals: int) -> Sequence[Round]:
        rounds = self._rounds if self._order is not None else 1
        return plan_rounds(proposals, self._rows, rounds, self._keep)

    def _preference(self, score: Score) -> tuple[float, float]:
        # The first rows may hold a single class, on which only the loss is defined.
        part = None if self._criterion is Criterion.LOSS else getattr(score, self._criterion.value)
        return preference(score, Criterion.LOSS if part is None else self._criterion)
