from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from mentor_service.profiles import PROFILES
from mentor_service.protocols import Question, Reply
from mentor_service.strategies import registry
from mentor_service.strategies.maao import Maao
from mentor_service.strategies.shown_candidates import best
from mentorgrad.domain.advice import AnswerStatus, Constraints, ProposalKind, ProposalRequest
from mentorgrad.errors import DeadlineExceeded, InvalidInput, Unavailable

SMALL, CAPABLE = PROFILES["small"], PROFILES["capable"]


class Script:
    """Answers in turn; keeps the questions."""

    def __init__(self, *replies: str | Exception, finish: str = "stop") -> None:
        self.replies = list(replies)
        self.questions: list[Question] = []
        self.finish = finish

    async def __call__(self, asked: Question) -> Reply:
        self.questions.append(asked)
        reply = self.replies[len(self.questions) - 1]
        if isinstance(reply, Exception):
            raise reply
        return Reply((reply,), 10, 10, 5, timedelta(seconds=0.5), (self.finish,))


def request(count: int = 2, seed: int = 7) -> ProposalRequest:
    return ProposalRequest("r", stage=3, count=count, seed=seed)


def test_the_best_are_shown_worst_first_and_each_text_once(
    candidate: Callable[..., Any], knowledge: Callable[..., Any]
) -> None:
    known = knowledge(
        candidate("a", "one", 1.0),
        candidate("b", "two", 3.0),
        candidate("c", "three", 2.0),
        candidate("d", "Two", 0.5),
        candidate("e", "", 0.1),
        candidate("f", "not a number", float("nan")),
    )
    assert [item.candidate_id for item in best(known, 10)] == ["c", "a", "d"]
    assert [item.candidate_id for item in best(known, 2)] == ["a", "d"]
    assert best(known, 0) == []


def test_words_are_shown_with_what_the_words_are_worth(
    candidate: Callable[..., Any], knowledge: Callable[..., Any]
) -> None:
    known = knowledge(
        candidate("soft", "same words", 0.2, "snapshot"),
        candidate("hard", "same words", 0.9, "projection"),
    )
    assert [item.candidate_id for item in best(known, 5)] == ["hard"]


async def test_a_question_is_seeded_by_the_request_and_keeps_to_the_profile(
    candidate: Callable[..., Any], knowledge: Callable[..., Any]
) -> None:
    known = knowledge(candidate("a", "one", 1.0))
    small, capable = Script("1. new words\n2. other words\n"), Script('["new", "other"]')
    await Maao(SMALL, {}, "m").propose(request(), known, small)
    await Maao(CAPABLE, {}, "m").propose(request(), known, capable)
    (first,), (second,) = small.questions, capable.questions
    assert first.seed == second.seed == 7
    assert first.grammar
    assert first.json_schema is None
    assert "one (1.000)" in first.user
    assert second.json_schema is not None
    assert second.grammar == ""


async def test_an_answer_holds_proposals_parents_and_record(
    candidate: Callable[..., Any], knowledge: Callable[..., Any]
) -> None:
    ask = Script("1. New words\n2. other words\n")
    answer = await Maao(SMALL, {}, "the-model").propose(
        request(), knowledge(candidate("a", "one", 1.0)), ask
    )
    assert answer.status is AnswerStatus.USABLE
    assert [(item.proposal_id, item.text) for item in answer.proposals] == [
        ("s3/p1", "new words"),
        ("s3/p2", "other words"),
    ]
    assert answer.proposals[0].parents == ("a",)
    (record,) = answer.records
    assert (record.strategy, record.model, record.profile) == ("maao", "the-model", "small")
    assert (record.seed, record.raw_replies) == (7, ("1. New words\n2. other words\n",))
    assert (record.prompt_tokens, record.reply_tokens) == (10, 5)
    assert record.question == ask.questions[0].user


async def test_too_few_proposals_are_asked_for_again_with_another_seed(
    knowledge: Callable[..., Any],
) -> None:
    ask = Script("1. 123\n2. 456\n3. same\n4. same\n", "1. same\n2. another\n3. third one\n")
    answer = await Maao(SMALL, {}, "m").propose(request(count=4), knowledge(), ask)
    assert [item.text for item in answer.proposals] == ["same", "another", "third one"]
    assert len(answer.records) == 2
    assert ask.questions[0].seed != ask.questions[1].seed
    assert "Write 3 new" in ask.questions[1].user
    assert "not plain words" in answer.detail


async def test_what_a_small_model_takes_from_the_example_is_dropped(
    knowledge: Callable[..., Any],
) -> None:
    ask = Script("1. a complaint about a hotel\n2. please help me with the\n3. a letter about\n")
    answer = await Maao(SMALL, {}, "m").propose(request(), knowledge(), ask)
    assert [item.text for item in answer.proposals] == ["a letter about"]
    assert "about the example" in answer.detail
    assert "already known" in answer.detail


async def test_nothing_usable_is_a_typed_outcome_with_the_raw_reply(
    knowledge: Callable[..., Any],
) -> None:
    answer = await Maao(SMALL, {"calls": 1}, "m").propose(request(), knowledge(), Script("?!"))
    assert answer.status is AnswerStatus.UNUSABLE
    assert answer.proposals == ()
    assert answer.records[0].raw_replies == ("?!",)
    assert answer.detail


async def test_the_repair_tells_a_capable_model_what_was_wrong(
    knowledge: Callable[..., Any],
) -> None:
    good = '{"proposals": [{"rationale": "closer", "text": "good words"}]}'
    ask = Script("I am sorry", good)
    answer = await Maao(CAPABLE, {}, "m").propose(request(count=1), knowledge(), ask)
    assert [item.text for item in answer.proposals] == ["good words"]
    assert answer.proposals[0].rationale == "closer"
    assert "no JSON in the reply" in ask.questions[1].user


async def test_what_was_found_is_kept_when_the_second_call_fails(
    knowledge: Callable[..., Any],
) -> None:
    ask = Script("1. found words\n", DeadlineExceeded("late"))
    answer = await Maao(SMALL, {}, "m").propose(request(count=8), knowledge(), ask)
    assert [item.text for item in answer.proposals] == ["found words"]


async def test_trouble_of_the_backend_passes_through(knowledge: Callable[..., Any]) -> None:
    with pytest.raises(Unavailable):
        await Maao(SMALL, {}, "m").propose(request(), knowledge(), Script(Unavailable("gone")))


async def test_a_question_that_is_too_long_shows_less(
    candidate: Callable[..., Any], knowledge: Callable[..., Any]
) -> None:
    long = InvalidInput("too long", reason="QUESTION_TOO_LONG")
    pool = [candidate(name, f"words {name}", 1.0 + n) for n, name in enumerate("abcd")]
    ask = Script(long, long, "1. new words\n2. other ones\n")
    answer = await Maao(SMALL, {}, "m").propose(request(), knowledge(*pool), ask)
    assert answer.status is AnswerStatus.USABLE
    assert [asked.user.count("words ") for asked in ask.questions] == [4, 2, 1]
    assert answer.proposals[0].parents == ("a",)


async def test_a_question_that_is_too_long_with_nothing_shown_is_refused(
    knowledge: Callable[..., Any],
) -> None:
    long = InvalidInput("too long", reason="QUESTION_TOO_LONG")
    ask = Script(*[long] * 9)
    with pytest.raises(InvalidInput, match="too long"):
        await Maao(SMALL, {}, "m").propose(request(4), knowledge(), ask)
    # Four lines a reply, then two, then one, in as many more replies.
    assert [asked.samples for asked in ask.questions] == [1, 1, 2, 4]


@pytest.mark.parametrize(
    ("profile", "reply"),
    [
        (SMALL, "1. 0.5 -1.25\n2. 99.0 1.0\n"),
        (CAPABLE, '{"proposals": [{"rationale": "", "values": [0.5, -1.25]}]}'),
    ],
)
async def test_numbers_are_proposed_within_bounds(
    knowledge: Callable[..., Any], candidate: Callable[..., Any], profile: Any, reply: str
) -> None:
    limits = Constraints(kind=ProposalKind.NUMBERS, dimensions=2, lower=-5, upper=5)
    known = knowledge(candidate("a", "1.0 2.0", 3.0), constraints=limits)
    answer = await Maao(profile, {}, "m").propose(request(), known, Script(reply))
    assert [item.values for item in answer.proposals] == [(0.5, -1.25)]
    assert answer.proposals[0].text == ""


async def test_options_override_the_profile(
    candidate: Callable[..., Any], knowledge: Callable[..., Any]
) -> None:
    ask = Script("1. new words\n2. other words\n")
    pool = [candidate(name, f"words {name}", 1.0) for name in "abc"]
    strategy = registry.create("maao", {"top_k": 1, "temperature": 0.25}, SMALL, "m")
    await strategy.propose(request(), knowledge(*pool), ask)
    assert ask.questions[0].temperature == 0.25
    assert ask.questions[0].user.count("(1.000)") == 1


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"top_k": -1}, "open.options.top_k"),
        ({"top_k": "many"}, "open.options.top_k"),
        ({"temperature": 9.0}, "open.options.temperature"),
        ({"calls": 0}, "open.options.calls"),
        ({"depth": 1}, "open.options.depth"),
    ],
)
def test_wrong_options_name_their_field(options: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        registry.create("maao", options, SMALL, "m")
    assert caught.value.reason == "BAD_OPTIONS"
    assert [violation.field for violation in caught.value.violations] == [field]


def test_an_unknown_strategy_names_the_known_ones() -> None:
    with pytest.raises(InvalidInput) as caught:
        registry.create("oracle", {}, SMALL, "m")
    assert caught.value.reason == "UNKNOWN_STRATEGY"
    assert caught.value.violations[0].field == "open.strategy"
    assert "maao" in caught.value.message
