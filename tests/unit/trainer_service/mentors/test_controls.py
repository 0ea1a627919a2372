from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
import torch

from mentorgrad.domain.advice import (
    AnswerStatus,
    PositionHints,
    Proposal,
    ProposalKind,
    ProposalRequest,
    ProposalStatus,
    TaskCard,
    TokenHint,
)
from mentorgrad.domain.run import Candidate, Score
from mentorgrad.domain.spec import CONTROLS, RANDOM_SETTINGS
from mentorgrad.errors import InvalidInput
from tests.support.numerics import numbers
from trainer_service.mentors.controls import build_control
from trainer_service.mentors.options import OPTIONS, read_options
from trainer_service.objectives.number_language import NumberLanguage
from trainer_service.protocols import Embedded, ProposalRejected, RandomWords, Scored
from trainer_service.tasks.wordings import wordings

LANGUAGE = numbers(4)


def scored(name: str, loss: float, text: str, point: list[float]) -> Scored:
    return Scored(Candidate(name, text=text, score=Score(loss)), torch.tensor(point))


POOL = [
    scored("bad", 9.0, "9 9 9 9", [9.0, 9.0, 9.0, 9.0]),
    scored("good", 1.0, "1 1 1 1", [1.0, 1.0, 1.0, 1.0]),
    scored("same", 1.5, "1 1 1 1", [1.0, 1.0, 1.0, 1.0]),
    scored("fair", 2.0, "2 2 2 2", [2.0, 2.0, 2.0, 2.0]),
]


def ask(name: str, count: int = 6, seed: int = 1, **options: Any) -> tuple[Proposal, ...]:
    control = build_control(name, LANGUAGE, options)
    request = ProposalRequest("s0", 0, "good", count, seed)
    answer = control.propose(request, POOL[1], POOL)
    assert answer.status is AnswerStatus.USABLE
    assert answer.request_id == "s0"
    return answer.proposals


def test_every_control_of_the_spec_is_built() -> None:
    assert set(OPTIONS) == set(CONTROLS)
    for name in CONTROLS:
        assert build_control(name, LANGUAGE).name == name


def test_none_proposes_nothing_and_says_so() -> None:
    control = build_control("none", LANGUAGE)
    answer = control.propose(ProposalRequest("s0"), POOL[0], POOL)
    assert (answer.status, answer.proposals) == (AnswerStatus.REFUSED, ())


@pytest.mark.parametrize(
    "name",
    [c for c in CONTROLS if c not in ("none", "hint_tokens", "description", RANDOM_SETTINGS)],
)
def test_a_control_is_repeatable_by_seed_and_its_proposals_can_be_embedded(name: str) -> None:
    first, again, other = ask(name), ask(name), ask(name, seed=2)
    points = [LANGUAGE.embed(p, POOL[1].parameters).parameters for p in first]
    assert [p.proposal_id for p in first] == [f"s0/p{i}" for i in range(1, 7)]
    for p, q in zip(points, again, strict=True):
        assert torch.equal(p, LANGUAGE.embed(q, POOL[1].parameters).parameters)
    others = [LANGUAGE.embed(p, POOL[1].parameters).parameters for p in other]
    assert any(not torch.equal(p, q) for p, q in zip(points, others, strict=True))


def test_perturb_moves_by_its_scale_and_stays_within_bounds() -> None:
    def spread(scale: float) -> float:
        drawn = [torch.from_numpy(p.parameters) for p in ask("perturb", 200, scale=scale)]
        assert all(float(point.abs().max()) <= 5.12 + 1e-6 for point in drawn)
        return float((torch.stack(drawn) - 1.0).std())

    assert spread(0.1) == pytest.approx(0.1 * 10.24 / 12**0.5, rel=0.1)
    assert spread(0.1) < spread(0.3) < spread(1.0)


def test_recombine_mixes_the_best_with_different_words() -> None:
    proposals = ask("recombine", 40, parents=2)
    values = {value for p in proposals for value in p.values}
    assert values == {1.0, 2.0}
    assert {parent for p in proposals for parent in p.parents} == {"good", "fair"}
    assert len({p.values for p in proposals}) > 5


class Texts(NumberLanguage):
    def __init__(self) -> None:
        super().__init__(2, -10.0, 10.0, torch.device("cpu"))
        self.constraints = type(self.constraints)(kind=ProposalKind.TEXT)

    def random_proposal(
        self, generator: torch.Generator, words: RandomWords | None = None
    ) -> Proposal:
        drawn = "wild words" if words is None else words.value
        return Proposal(text=drawn)


def test_recombine_takes_words_position_by_position() -> None:
    pool = [
        scored("a", 1.0, "red green blue", [0.0, 0.0]),
        scored("b", 2.0, "one two", [0.0, 0.0]),
    ]
    control = build_control("recombine", Texts())
    answer = control.propose(ProposalRequest("s0", count=30, seed=3), pool[0], pool)
    allowed = [{"red", "one"}, {"green", "two"}, {"blue"}]
    for proposal in answer.proposals:
        words = proposal.text.split()
        assert words
        assert all(word in set().union(*allowed) for word in words)
    assert len({p.text for p in answer.proposals}) > 4


def test_recombine_with_one_text_takes_a_random_one_besides() -> None:
    pool = [scored("a", 1.0, "red green", [0.0, 0.0])]
    control = build_control("recombine", Texts())
    answer = control.propose(ProposalRequest("s0", count=30, seed=3), pool[0], pool)
    words = {word for p in answer.proposals for word in p.text.split()}
    assert words == {"red", "green", "wild", "words"}


@pytest.mark.parametrize(
    ("control", "options", "field"),
    [
        ("perturb", {"scale": 0}, "spec.mentor.options.scale"),
        ("perturb", {"scale": "much"}, "spec.mentor.options.scale"),
        ("perturb", {"sigma": 1.0}, "spec.mentor.options.sigma"),
        ("recombine", {"parents": 1}, "spec.mentor.options.parents"),
        ("random_tokens", {"scale": 1.0}, "spec.mentor.options.scale"),
        ("random_tokens", {"words": "all"}, "spec.mentor.options.words"),
        ("perturb", {"words": "vocabulary"}, "spec.mentor.options.words"),
        ("none", {"weight": 1.0}, "spec.mentor.options.weight"),
        ("perturb", {"scale": [0.5, -1.0]}, "spec.mentor.options.scale[1]"),
        ("random_init", {"weight": []}, "spec.mentor.options.weight"),
        ("random_tokens", {"weight": [0.5, 2.0]}, "spec.mentor.options.weight[1]"),
        ("recombine", {"base": "worst"}, "spec.mentor.options.base"),
        ("hint_tokens", {"temperature": 0}, "spec.mentor.options.temperature"),
    ],
)
def test_a_wrong_option_is_named(control: str, options: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        read_options(control, options)
    assert [v.field for v in caught.value.violations] == [field]


# -- what all of them share -------------------------------------------------------------------


@pytest.mark.parametrize("name", ["random_tokens", "random_init", "perturb", "recombine"])
def test_weights_are_gone_through_in_turn(name: str) -> None:
    weights = [p.weight for p in ask(name, 5, weight=[0.25, 0.5, 1.0])]
    assert weights == [0.25, 0.5, 1.0, 0.25, 0.5]
    assert [p.weight for p in ask(name, 2, weight=0.5)] == [0.5, 0.5]
    assert [p.base_id for p in ask(name, 2)] == ["", ""]


def test_the_base_may_be_the_best_of_the_run() -> None:
    def propose(**options: Any) -> tuple[Proposal, ...]:
        control = build_control("perturb", LANGUAGE, options)
        return control.propose(ProposalRequest("s0", count=50, seed=1), POOL[3], POOL).proposals

    assert {(p.base_id, p.parents) for p in propose(base="best")} == {("good", ("good",))}
    assert {(p.base_id, p.parents) for p in propose()} == {("", ("fair",))}
    for options, center in (({"base": "best"}, 1.0), ({}, 2.0)):
        points = [torch.from_numpy(p.parameters) for p in propose(scale=0.05, **options)]
        assert float(torch.stack(points).mean()) == pytest.approx(center, abs=0.1)


def test_scales_are_gone_through_in_turn() -> None:
    drawn = [torch.from_numpy(p.parameters) - 1.0 for p in ask("perturb", 200, scale=[0.01, 0.5])]
    small, large = torch.stack(drawn[::2]).std(), torch.stack(drawn[1::2]).std()
    assert float(large / small) == pytest.approx(50.0, rel=0.2)


# -- random_tokens ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "drawn"),
    [({}, "wild words"), *(({"words": words.value}, words.value) for words in RandomWords)],
)
def test_random_tokens_draws_from_what_is_asked_for(options: dict[str, Any], drawn: str) -> None:
    control = build_control("random_tokens", Texts(), options)
    answer = control.propose(ProposalRequest("s0", count=2), POOL[0], POOL)
    assert [p.text for p in answer.proposals] == [drawn] * 2


class Wordless(Texts):
    def random_proposal(
        self, generator: torch.Generator, words: RandomWords | None = None
    ) -> Proposal:
        raise ProposalRejected(ProposalStatus.EMPTY, "no word fits")


@pytest.mark.parametrize("name", ["random_tokens", "recombine"])
def test_where_there_is_no_word_to_draw_the_answer_is_unusable(name: str) -> None:
    control = build_control(name, Wordless())
    answer = control.propose(ProposalRequest("s0"), POOL[0], POOL[:1])
    assert (answer.status, answer.proposals) == (AnswerStatus.UNUSABLE, ())
    assert answer.detail == "no word fits"


# -- description ------------------------------------------------------------------------------

CARD = TaskCard("label_prompt", "what a message is about", ("billing", "refund"))


class Short(Texts):
    """Texts of at most so many words."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self._most = most

    def embed(self, proposal: Proposal, incumbent: torch.Tensor) -> Embedded:
        if len(proposal.text.split()) > self._most:
            raise ProposalRejected(ProposalStatus.TOO_LONG, "too long")
        return Embedded(incumbent, ())


def described(count: int, most: int = 100, card: TaskCard = CARD, **options: Any) -> list[str]:
    control = build_control("description", Short(most), options, card)
    answers = [
        control.propose(ProposalRequest("s2", 2, "good", count, seed), POOL[1], POOL)
        for seed in (1, 2)
    ]
    assert answers[0].proposals == answers[1].proposals, "nothing is drawn"
    assert answers[0].status is AnswerStatus.USABLE
    ids = [p.proposal_id for p in answers[0].proposals]
    assert ids == [f"s2/p{i + 1}" for i in range(len(ids))]
    return [p.text for p in answers[0].proposals]


def test_description_proposes_the_task_in_as_many_wordings_as_are_asked_for() -> None:
    every = wordings(CARD.description, CARD.labels)
    assert described(4) == list(every[:4])
    assert described(len(every)) == described(200) == list(every)


def test_wordings_that_fit_are_proposed_before_richer_ones_that_do_not() -> None:
    every = wordings(CARD.description, CARD.labels)
    short = [text for text in every if len(text.split()) <= 4]
    assert 8 < len(short) < len(every)
    assert described(8, most=4) == short[:8]
    asked = described(len(every), most=4)
    assert asked[: len(short)] == short
    assert set(asked) == set(every), "what does not fit is refused in the open"


def test_description_has_bases_and_weights_as_all_have() -> None:
    control = build_control("description", Short(9), {"weight": [0.5, 1.0], "base": "best"}, CARD)
    answer = control.propose(ProposalRequest("s0", count=3), POOL[3], POOL)
    assert [(p.base_id, p.weight) for p in answer.proposals] == [
        ("good", 0.5),
        ("good", 1.0),
        ("good", 0.5),
    ]


@pytest.mark.parametrize(
    ("language", "card", "why"),
    [
        (Short(9), TaskCard(), "no description"),
        (Short(9), replace(CARD, labels=()), "no labels"),
        (LANGUAGE, CARD, "proposes words"),
    ],
)
def test_without_a_description_or_words_it_refuses(
    language: NumberLanguage, card: TaskCard, why: str
) -> None:
    control = build_control("description", language, card=card)
    answer = control.propose(ProposalRequest("s0"), POOL[0], POOL)
    assert (answer.status, answer.proposals) == (AnswerStatus.REFUSED, ())
    assert why in answer.detail


# -- hint_tokens ------------------------------------------------------------------------------

HINTS = tuple(
    PositionHints(i, "now", tuple(TokenHint(f"w{i}{j}", -float(4 - j)) for j in range(4)))
    for i in range(3)
)


def hinted(count: int = 400, **options: Any) -> list[list[str]]:
    control = build_control("hint_tokens", Texts(), options)
    request = ProposalRequest("s0", count=count, seed=3, hints=HINTS)
    answer = control.propose(request, POOL[0], POOL)
    assert answer.status is AnswerStatus.USABLE
    return [proposal.text.split() for proposal in answer.proposals]


def test_hint_tokens_draws_a_hinted_token_for_every_position() -> None:
    texts = hinted()
    assert texts == hinted(), "the same seed draws the same"
    for i in range(3):
        counts = Counter(words[i] for words in texts)
        assert set(counts) == {f"w{i}{j}" for j in range(4)}
        assert all(60 < count < 140 for count in counts.values()), "alike"


@pytest.mark.slow
def test_a_temperature_prefers_what_the_gradient_favours_most() -> None:
    def share(temperature: float) -> float:
        return sum(words[0] == "w00" for words in hinted(temperature=temperature)) / 400

    assert share(0.01) == 1.0
    alike = share(100.0)
    assert alike + 0.08 > 0.25
    assert alike < share(1.0) < 1.0


def test_without_a_hint_there_is_nothing_to_propose() -> None:
    answer = build_control("hint_tokens", Texts()).propose(ProposalRequest("s0"), POOL[0], POOL)
    assert (answer.status, answer.proposals) == (AnswerStatus.UNUSABLE, ())
    assert "hint" in answer.detail
