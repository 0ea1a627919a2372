from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch

from mentorgrad.domain.run import Candidate, Score
from mentorgrad.domain.spec import Acceptance, Criterion, Policy
from trainer_service.protocols import Scored
from trainer_service.running.budget import RacePlan
from trainer_service.running.restart_decision import Decision, Probed, decide

FULL = RacePlan(4, 10)


def scored(name: str, loss: float) -> Scored:
    return Scored(Candidate(candidate_id=name, score=Score(loss)), torch.tensor([loss]))


INCUMBENT = scored("s0/step10", 1.0)
PROPOSALS = [scored("p1", 5.0), scored("p2", 3.0), scored("p3", 4.0), scored("p4", 9.0)]


class Track:
    """A probe that knows where each start leads."""

    def __init__(self, **ends: float) -> None:
        self.ends = ends
        self.seen: list[tuple[str, int]] = []

    def __call__(self, starts: Sequence[Scored], plan: RacePlan) -> list[Probed]:
        names = [start.candidate.candidate_id for start in starts]
        self.seen.extend((name, plan.steps) for name in names)
        losses = [self.ends.get(name, 100.0) for name in names]
        return [Probed(torch.tensor([x]), {"m": torch.tensor(x)}, Score(x)) for x in losses]


def choose(
    rule: Acceptance,
    probe: Track | None = None,
    *,
    words: Scored | None = None,
    proposals: list[Scored] = PROPOSALS,
    plan: RacePlan = FULL,
    seed: int = 0,
    by: Criterion = Criterion.LOSS,
) -> Decision:
    generator = torch.Generator().manual_seed(seed)
    return decide(rule, by, INCUMBENT, words, proposals, plan, probe or Track(), generator)


def test_a_race_is_run_by_the_incumbent_and_the_best_scored() -> None:
    track = Track(**{"s0/step10": 0.9, "p3": 0.5, "p2": 0.7})
    decision = choose(Acceptance(), track)
    assert track.seen == [
        ("s0/step10", 10),
        ("p2", 10),
        ("p3", 10),
        ("p1", 10),
    ]
    # Best scored before a step is p2, and it does not win.
    assert (decision.restarted, decision.chosen.candidate.candidate_id) == (True, "p3")
    assert decision.probed is not None
    assert decision.probed.moments["m"] == 0.5
    first = decision.branches[0]
    assert (first.candidate_id, first.loss_before, first.loss_after) == ("s0/step10", 1.0, 0.9)


def test_the_incumbent_may_win_and_goes_on_from_its_probe() -> None:
    decision = choose(Acceptance(), Track(**{"s0/step10": 0.1, "p2": 0.2}))
    assert not decision.restarted
    assert decision.chosen is INCUMBENT
    assert decision.probed is not None
    assert decision.probed.score.loss == 0.1


def test_of_equals_the_incumbent_wins() -> None:
    assert not choose(Acceptance(), Track(**{"s0/step10": 0.5, "p2": 0.5})).restarted


def test_a_branch_that_blows_up_cannot_win() -> None:
    decision = choose(Acceptance(), Track(**{"s0/step10": float("nan"), "p2": 7.0}))
    assert decision.chosen.candidate.candidate_id == "p2"


def test_a_race_that_the_budget_forbids_is_not_run_and_says_why() -> None:
    track = Track()
    decision = choose(Acceptance(), track, plan=RacePlan(0, 0, "no race: too few steps"))
    assert (decision.restarted, track.seen) == (False, [])
    assert decision.reason == "no race: too few steps"


def test_a_shrunk_race_says_so() -> None:
    track = Track(p2=0.1)
    decision = choose(Acceptance(), track, plan=RacePlan(2, 3, "shrunk"))
    assert [entry[0] for entry in track.seen] == ["s0/step10", "p2"]
    assert decision.reason.endswith("(shrunk)")


@pytest.mark.parametrize(("loss", "restarts"), [(3.5, True), (3.0, False), (0.5, False)])
def test_a_race_without_steps_compares_what_is_scored(loss: float, restarts: bool) -> None:
    track = Track()
    incumbent = scored("s0/step10", loss)
    generator = torch.Generator()
    plan = RacePlan(3, 0, "no steps")
    decision = decide(
        Acceptance(), Criterion.LOSS, incumbent, None, PROPOSALS, plan, track, generator
    )
    assert track.seen == []
    assert decision.restarted is restarts
    assert decision.chosen is (PROPOSALS[1] if restarts else incumbent)
    assert [b.candidate_id for b in decision.branches] == ["s0/step10", "p2", "p3"]
    assert all(b.loss_after is None for b in decision.branches)
    assert decision.probed is None
    assert decision.reason.startswith("no steps: lowest selection loss")


def test_always_takes_the_best_proposal_however_bad() -> None:
    decision = choose(Acceptance(policy=Policy.ALWAYS))
    assert (decision.restarted, decision.chosen.candidate.candidate_id) == (True, "p2")
    assert decision.probed is None


@pytest.mark.parametrize(("words", "restarts"), [(3.5, True), (2.9, False)])
def test_best_of_compares_words_with_words(words: float, restarts: bool) -> None:
    rival = scored("s0/step10/words", words)
    assert choose(Acceptance(policy=Policy.BEST_OF), words=rival).restarted is restarts


def test_best_of_without_words_compares_with_the_incumbent() -> None:
    assert not choose(Acceptance(policy=Policy.BEST_OF)).restarted


def test_explore_is_greedy_when_cold_and_repeatable() -> None:
    cold = Acceptance(policy=Policy.EXPLORE, temperature=0.01)
    assert {choose(cold, seed=s).chosen.candidate.candidate_id for s in range(10)} == {"p2"}
    hot = Acceptance(policy=Policy.EXPLORE, temperature=100.0)
    drawn = [choose(hot, seed=s).chosen.candidate.candidate_id for s in range(40)]
    assert set(drawn) == {"p1", "p2", "p3", "p4"}
    assert drawn == [choose(hot, seed=s).chosen.candidate.candidate_id for s in range(40)]


@pytest.mark.parametrize("policy", list(Policy))
def test_without_proposals_everything_stays(policy: Policy) -> None:
    decision = choose(Acceptance(policy=policy), proposals=[])
    assert not decision.restarted
    assert decision.branches[0].candidate_id == "s0/step10"
