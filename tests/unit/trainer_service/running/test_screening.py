"""Successive halving: the better half goes on, and only whole scores count."""

from __future__ import annotations

import dataclasses
import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from mentorgrad.domain.advice import ProposalStatus
from mentorgrad.domain.event import RestartDecided
from mentorgrad.domain.run import CandidateSource, RunState
from mentorgrad.domain.spec import Acceptance, Criterion, MentorChoice, Optimizer, RunSpec, Stages
from tests.support.numerics import causal, function, label_prompt_on, tiny, tiny_task
from tests.unit.trainer_service.running.test_alternation import Done, parts
from trainer_service.costs import Prices, RowCosts
from trainer_service.objectives.problem import Problem
from trainer_service.objectives.results import RowResults
from trainer_service.running.screening import Screening, plan_rounds
from trainer_service.tasks.data import Row, Split, TaskData


@given(
    proposals=st.integers(1, 256),
    rounds=st.integers(1, 6),
    spare=st.integers(0, 100),
    keep=st.integers(1, 64),
)
def test_the_rounds_halve_the_proposals_and_double_the_rows(
    proposals: int, rounds: int, spare: int, keep: int
) -> None:
    rows = 2 ** (rounds - 1) + spare
    plan = plan_rounds(proposals, rows, rounds, keep)
    assert len(plan) == rounds
    assert plan[0].entrants == proposals
    assert plan[-1].rows == rows
    for before, after in itertools.pairwise(plan):
        assert before.rows < after.rows <= 2 * before.rows + 1
        assert min(proposals, keep) <= after.entrants <= before.entrants
        assert 2 * after.entrants >= before.entrants


class Known(Problem):
    """Every point is its own loss on each row, which may be written before."""

    shape = (1,)
    device = torch.device("cpu")
    costs = RowCosts(per_row=1)

    def __init__(self, rows: int, classes: int = 2) -> None:
        made = tuple(Row(str(i), i % classes) for i in range(rows))
        self.task = TaskData("t", "d", ("a", "b"), made, made, ())
        self.asked: list[tuple[int, list[int]]] = []

    def losses(self, points: Tensor, rows: Tensor) -> Tensor:
        raise AssertionError("a screening takes no gradients")

    def results(self, points: Tensor, split: Split, rows: Tensor | None = None) -> RowResults:
        assert split is Split.SELECTION
        chosen = list(range(self.size(split))) if rows is None else rows.tolist()
        self.asked.append((len(points), chosen))
        labels = torch.tensor([self.task.selection[i].label for i in chosen])
        # A point right of zero gets class 1 right, one left of it class 0.
        predicted = (points > 0).long().expand(-1, len(chosen))
        return RowResults(points.abs().expand(-1, len(chosen)), predicted, labels)


def screening(problem: Known, rounds: int, keep: int = 1, **fields: object) -> Screening:
    rule = Acceptance(screening_rounds=rounds, finalists=keep)
    spec = RunSpec(acceptance=rule, **fields)  # type: ignore[arg-type]
    return Screening(spec, problem, Prices(problem.costs, 1, problem.size(Split.SELECTION)))


def test_the_best_are_scored_on_the_whole_and_no_row_is_scored_twice() -> None:
    problem = Known(rows=16)
    found = screening(problem, rounds=3).score(torch.tensor([[5.0], [1.0], [3.0], [2.0], [4.0]]))
    assert [score.rows for score in found] == [4, 16, 8, 16, 4]
    assert [score.loss for score in found] == [5.0, 1.0, 3.0, 2.0, 4.0]
    assert [count for count, _ in problem.asked] == [5, 3, 2]
    scored = [row for _, rows in problem.asked for row in rows]
    assert sorted(scored) == list(range(16))


def test_the_first_rows_are_of_all_classes() -> None:
    problem = Known(rows=64)
    screening(problem, rounds=6).score(torch.zeros(40, 1))
    first = [problem.task.selection[row].label for row in problem.asked[0][1]]
    assert sorted(first) == [0, 1]


@given(proposals=st.integers(1, 40), rounds=st.integers(1, 5), keep=st.integers(1, 8))
def test_the_cost_is_what_was_scored(proposals: int, rounds: int, keep: int) -> None:
    problem = Known(rows=20)
    screened = screening(problem, rounds, keep)
    points = torch.arange(float(proposals))[:, None]
    found = screened.score(points)
    rows = sum(count * len(chosen) for count, chosen in problem.asked)
    cost = screened.cost(proposals)
    assert cost.forward_rows == rows
    assert cost.evaluations == -(-rows // 20)
    assert cost.gradient_steps == 0
    assert found[0].rows == 20, "the best is scored on the whole split"
    assert [score.loss for score in found] == list(range(proposals))


def test_one_round_scores_everything_on_everything() -> None:
    problem = Known(rows=20)
    assert [score.rows for score in screening(problem, 1).score(torch.zeros(3, 1))] == [20] * 3
    assert problem.asked == [(3, list(range(20)))]


def test_proposals_are_ranked_by_the_criterion_of_the_spec() -> None:
    """Most rows are of class 1: accuracy prefers the points right of zero."""
    problem = Known(rows=16)
    rows = tuple(Row(str(i), int(i % 8 > 0)) for i in range(16))
    problem.task = dataclasses.replace(problem.task, selection=rows)
    points = torch.tensor([[-1.0], [8.0], [-2.0], [9.0]])
    by_loss = screening(problem, 2).score(points)
    by_hits = screening(problem, 2, criterion=Criterion.ACCURACY).score(points)
    assert [score.rows for score in by_loss] == [16, 8, 16, 8]
    assert [score.rows for score in by_hits] == [8, 16, 8, 16]


def test_a_part_of_one_class_is_ranked_by_the_loss() -> None:
    problem = Known(rows=8)
    rows = tuple(Row(str(i), int(i == 7)) for i in range(8))
    problem.task = dataclasses.replace(problem.task, selection=rows)
    found = screening(problem, 4, criterion=Criterion.MATTHEWS).score(
        torch.tensor([[2.0], [1.0], [3.0]])
    )
    assert found[1].rows == 8


@pytest.mark.slow
def test_a_part_of_the_rows_scores_as_these_rows_do() -> None:
    """Of the real objectives: in any order, alone or among others."""
    for built in (tiny(), label_prompt_on(tiny_task(), n_tokens=2), causal()):
        points = torch.stack(
            [built.language.initial(torch.Generator().manual_seed(seed)) for seed in range(3)]
        )
        whole = built.problem.results(points, Split.SELECTION)
        rows = torch.tensor([5, 0, 17, 3])
        part = built.problem.results(points, Split.SELECTION, rows)
        torch.testing.assert_close(part.losses, whole.losses[:, rows], rtol=1e-3, atol=1e-5)
        assert whole.predicted is not None
        assert part.predicted is not None
        assert whole.labels is not None
        assert part.labels is not None
        assert torch.equal(part.labels, whole.labels[rows])
        assert built.problem.score(points, rows)[1].rows == 4


SPEC = RunSpec(
    optimizer=Optimizer(learning_rate=0.1, batch_size=8),
    stages=Stages(count=2, steps=3, candidates=1),
    mentor=MentorChoice("random_tokens", proposals=8),
    acceptance=Acceptance(finalists=2, probe_steps=2, screening_rounds=3),
    seed=5,
)


@pytest.mark.slow
def test_in_a_run_what_was_screened_out_is_an_outcome_and_no_candidate() -> None:
    done = Done(SPEC, parts(objective=lambda *_: tiny()))
    assert done.state is RunState.SUCCEEDED
    (decided,) = done.all(RestartDecided)
    out = [o for o in decided.outcomes if o.detail.startswith("screened out after")]
    assert len(out) == 6
    rows = {o.score.rows for o in out}
    assert rows == {6, 12}
    assert all(o.status is ProposalStatus.NOT_CHOSEN for o in out)
    proposed = [c for c in done.candidates() if c.source is CandidateSource.PROPOSAL]
    assert len(proposed) == 2
    assert {c.score.rows for c in done.candidates()} == {24}
    assert len(decided.branches) == 3


@pytest.mark.slow
def test_screening_saves_evaluations() -> None:
    whole_rule = dataclasses.replace(SPEC.acceptance, screening_rounds=1)
    screened = Done(SPEC, parts(objective=lambda *_: tiny()))
    whole = Done(
        dataclasses.replace(SPEC, acceptance=whole_rule), parts(objective=lambda *_: tiny())
    )
    saved = whole.run.usage.evaluations - screened.run.usage.evaluations
    # 8 proposals whole, against 8 on a quarter, 4 on a further quarter, 2 on the other half.
    assert saved == 8 - 4
    assert whole.run.usage.forward_rows - screened.run.usage.forward_rows == 8 * 24 - 96


@pytest.mark.parametrize("rounds", [1, 4])
def test_numbers_are_never_screened(rounds: int) -> None:
    built = function("levy", 2)
    rule = Acceptance(screening_rounds=rounds)
    screened = Screening(RunSpec(acceptance=rule), built.problem, Prices(RowCosts(), 1, 1))
    assert len({score.rows for score in screened.score(torch.zeros(4, 2))}) == 1
    assert screened.cost(4).evaluations == 4
