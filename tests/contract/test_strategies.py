"""What every strategy guarantees, whatever the model says; runs over all that are built in."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mentor_service.backends.scripted import ScriptedBackend
from mentor_service.parsing import parse_numbers
from mentor_service.profiles import PROFILES
from mentor_service.protocols import Knowledge, Question, Strategy
from mentor_service.session import AdviseSession
from mentor_service.similarity import canonical
from mentor_service.strategies import registry
from mentor_service.strategies.options import COMMON
from mentorgrad.domain.advice import (
    Answer,
    AnswerStatus,
    Batch,
    Constraints,
    Exemplar,
    PositionHints,
    ProposalKind,
    ProposalRequest,
    TokenHint,
    Wants,
)
from mentorgrad.errors import (
    Cancelled,
    DeadlineExceeded,
    InvalidInput,
    MentorgradError,
    ResourceExhausted,
    Unavailable,
)
from tests.support.told_strategy import (
    POINTS,
    SETTINGS,
    WORDS,
    Told,
    candidate,
    fitting,
    request,
    told,
)

NAMES = tuple(registry.BUILT_IN)
ASKING = tuple(name for name in NAMES if name != "examples")
NUMBERS = ("maao", "leo", "leo_random", "opro", "evoprompt", "directional")
KINDS = [
    *((name, WORDS) for name in ASKING),
    *((name, POINTS) for name in NUMBERS),
    ("maao", SETTINGS),
]
EVERY = pytest.mark.parametrize(("name", "limits"), KINDS, ids=[f"{n}-{k.kind}" for n, k in KINDS])
PROFILE = pytest.mark.parametrize("profile", list(PROFILES))
BY_TURNS = pytest.mark.parametrize(
    ("name", "limits", "profile"),
    [
        pytest.param(
            *(name, limits, profile),
            id=f"{name}-{limits.kind}-{profile}",
            marks=[] if (at + turn) % len(PROFILES) == 0 else [pytest.mark.campaign],
        )
        for at, (name, limits) in enumerate(KINDS)
        for turn, profile in enumerate(PROFILES)
    ],
)
"""Every kind with one of the profiles, which take turns. Every kind with every profile is shown by
`test_replies_that_fit_give_proposals` and `test_no_reply_breaks_the_constraints`."""
LONG = InvalidInput("too long", reason="QUESTION_TOO_LONG")


def make(name: str, profile: str = "small", **options: Any) -> Strategy:
    return registry.create(name, options, PROFILES[profile], "the-model")


def check(answer: Answer, asked: ProposalRequest, known: Knowledge) -> None:
    """All that holds of any answer."""
    limits = known.open.constraints
    assert answer.request_id == asked.request_id
    assert (answer.status is AnswerStatus.USABLE) == bool(answer.proposals)
    assert answer.status in (AnswerStatus.USABLE, AnswerStatus.UNUSABLE)
    assert answer.proposals or answer.detail
    assert "\n" not in answer.detail
    assert len(answer.proposals) <= asked.count
    ids = [item.proposal_id for item in answer.proposals]
    assert ids == [f"s{asked.stage}/p{number + 1}" for number in range(len(ids))]
    for item in answer.proposals:
        assert set(item.parents) <= set(known.pool)
        assert item.base_id in {"", *known.pool}
        assert 0 < item.weight <= 1
        assert item.parameters is None
    texts = [item.text for item in answer.proposals]
    points = [item.values for item in answer.proposals]
    if limits.kind is ProposalKind.TEXT:
        assert len(set(texts)) == len(texts)
        assert not {canonical(item.text) for item in known.pool.values()} & set(texts)
        assert all(1 <= len(text.split(" ")) <= limits.max_words for text in texts)
        assert all(word.isalpha() for text in texts for word in text.split(" "))
        assert not any(points)
    elif limits.kind is ProposalKind.SETTINGS:
        for index, item in enumerate(answer.proposals):
            jsonschema.validate(item.settings, limits.settings_schema or {})
            assert item.settings not in [other.settings for other in answer.proposals[:index]]
        assert not any(texts)
        assert not any(points)
    else:
        assert len(set(points)) == len(points)
        assert not {parse_numbers(item.text) for item in known.pool.values()} & set(points)
        assert all(len(point) == limits.dimensions for point in points)
        assert all(limits.lower <= value <= limits.upper for point in points for value in point)
        assert not any(texts)


def check_records(answer: Answer, strategy: Strategy, backend: Told) -> None:
    """One record a call, with all that was said."""
    assert len(answer.records) == len(backend.questions) >= 1
    seeds = [record.seed for record in answer.records]
    assert len(set(seeds)) == len(seeds)
    for record, question in zip(answer.records, backend.questions, strict=True):
        assert (record.strategy, record.model) == (strategy.name, "the-model")
        assert record.profile in PROFILES
        assert record.question.endswith(question.user)
        assert len(record.raw_replies) == question.samples
        assert (record.prompt_tokens, record.reply_tokens) == (10, 5 * question.samples)
        assert record.duration == timedelta(seconds=1)
        assert record.seed == question.seed >= 0


# -- what it says of itself -------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_it_says_what_it_is(name: str) -> None:
    cls = registry.BUILT_IN[name]
    assert cls.name == name
    assert cls.description
    assert "\n" not in cls.description
    assert isinstance(cls.wants, Wants)
    jsonschema.Draft202012Validator.check_schema(cls.options_schema)
    assert set(COMMON) <= set(cls.options_schema["properties"])
    assert all(item["description"] for item in cls.options_schema["properties"].values())
    assert make(name).wants == replace(cls.wants, hints=cls.wants.hints)


@pytest.mark.parametrize("name", NAMES)
def test_hints_are_wanted_when_an_option_asks_for_them(name: str) -> None:
    assert make(name, hints="show").wants.hints
    assert not make(name, hints="none").wants.hints


@pytest.mark.parametrize("name", NAMES)
def test_options_that_the_schema_forbids_name_their_field(name: str) -> None:
    wrong: tuple[tuple[str, Any], ...] = (
        ("top_k", -1),
        ("samples", 0),
        ("weights", [0.0]),
        ("weights", 1),
        ("base", "x"),
        ("no", 1),
    )
    for option, value in wrong:
        with pytest.raises(InvalidInput) as caught:
            make(name, **{option: value})
        assert caught.value.reason == "BAD_OPTIONS"
        assert caught.value.violations[0].field.startswith(f"open.options.{option}")


# -- usable replies ---------------------------------------------------------------------------


@pytest.mark.slow
@EVERY
@PROFILE
async def test_replies_that_fit_give_proposals(
    name: str, limits: Constraints, profile: str
) -> None:
    for count in (1, 8, 64):
        known, asked, backend = told(name, limits), request(count), Told(fitting)
        strategy = make(name, profile)
        answer = await strategy.propose(asked, known, backend)
        check(answer, asked, known)
        check_records(answer, strategy, backend)
        assert answer.status is AnswerStatus.USABLE, answer.detail


@BY_TURNS
async def test_nothing_told_is_enough_to_go_on(
    name: str, limits: Constraints, profile: str
) -> None:
    """No pool, no hints, no exemplars: as at the start, or with a trainer that sends none."""
    known, asked, backend = told(name, limits, bare=True), request(bare=True), Told(fitting)
    answer = await make(name, profile).propose(asked, known, backend)
    check(answer, asked, known)
    assert answer.status is AnswerStatus.USABLE, answer.detail
    assert all(item.parents == () for item in answer.proposals)


@BY_TURNS
async def test_a_trainer_that_sends_a_pool_only_is_enough(
    name: str, limits: Constraints, profile: str
) -> None:
    known = told(name, limits, embeddings={}, exemplar_losses={})
    asked, backend = request(bare=True), Told(fitting)
    answer = await make(name, profile, hints="grammar").propose(asked, known, backend)
    check(answer, asked, known)
    assert answer.status is AnswerStatus.USABLE, answer.detail


@pytest.mark.slow
@BY_TURNS
async def test_the_same_request_and_replies_give_the_same_answer(
    name: str, limits: Constraints, profile: str
) -> None:
    runs = []
    for _ in range(2):
        backend = Told(fitting)
        answer = await make(name, profile).propose(request(), told(name, limits), backend)
        runs.append((backend.questions, answer))
    assert runs[0] == runs[1]
    other = Told(fitting)
    await make(name, profile).propose(request(seed=8), told(name, limits), other)
    assert {q.seed for q in other.questions}.isdisjoint(q.seed for q in runs[0][0])


@EVERY
async def test_every_question_keeps_to_what_a_backend_takes(name: str, limits: Constraints) -> None:
    for profile in PROFILES:
        backend = Told(fitting)
        asked = request(64, seed=2**63 - 1)
        await make(name, profile).propose(asked, told(name, limits), backend)
        for question in backend.questions:
            assert 0 <= question.seed < 2**63
            assert 0 <= question.temperature <= 2
            assert 1 <= question.samples <= 64
            assert question.max_tokens >= 8
            assert question.user
            assert question.json_schema is None or not question.grammar


@pytest.mark.parametrize("name", [name for name in ASKING if name != "maao_released"])
@pytest.mark.parametrize("mode", ["show", "grammar"])
@PROFILE
async def test_hints_are_shown_or_are_the_only_words(name: str, mode: str, profile: str) -> None:
    backend = Told(fitting)
    strategy = make(name, profile, hints=mode)
    answer = await strategy.propose(request(4), told(name), backend)
    last = backend.questions[-1]
    by_grammar = mode == "grammar" and not PROFILES[profile].json
    assert "shopper" in (last.grammar if by_grammar else last.user)
    if mode == "grammar":
        allowed = {"letter", "request", "regarding", "concerning", "our", "this", "my", "client"}
        allowed |= {"shopper", "customer", "purchase", "question", "issue"}
        allowed |= {"message", "of", "the", "buyer", "order"}  # those of the incumbent
        if name == "gpo":  # and those of what it edits
            allowed |= {"customer", "asks", "the", "shop", "about"}
        assert answer.proposals or PROFILES[profile].json
        assert all(set(item.text.split()) <= allowed for item in answer.proposals)


@EVERY
async def test_weights_go_round_and_bases_are_candidates(name: str, limits: Constraints) -> None:
    known, asked = told(name, limits), request(6)
    strategy = make(name, weights=[1.0, 0.5, 0.25], base="best")
    answer = await strategy.propose(asked, known, Told(fitting))
    weights = [item.weight for item in answer.proposals]
    assert weights == [(1.0, 0.5, 0.25)[number % 3] for number in range(len(weights))]
    best = "s1/step40" if limits is POINTS else "s1/step80"
    assert {item.base_id for item in answer.proposals} == {best}
    answer = await make(name, base="incumbent").propose(asked, known, Told(fitting))
    assert {item.base_id for item in answer.proposals} == {""}


@EVERY
async def test_samples_and_order_are_options(name: str, limits: Constraints) -> None:
    backend = Told(fitting)
    await make(name, samples=2, calls=1).propose(request(4), told(name, limits), backend)
    assert backend.questions[-1].samples in (1, 2)
    if limits is WORDS and name == "maao":
        answer = await make(name, samples=8, order="short").propose(
            request(4), told(name, limits), Told(fitting)
        )
        lengths = [item.text.count(" ") for item in answer.proposals]
        assert lengths == sorted(lengths)


# -- replies that are of less use -------------------------------------------------------------


@pytest.mark.slow
@BY_TURNS
async def test_replies_of_no_use_are_a_typed_outcome_with_all_that_was_said(
    name: str, limits: Constraints, profile: str
) -> None:
    known, asked = told(name, limits), request()
    for text in ("", "?!", "\x00", "{" * 50, "1. 1 2 3 4 5 6 7 8 9", "12"):
        backend = Told(lambda *_, said=text: said)
        strategy = make(name, profile)
        answer = await strategy.propose(asked, known, backend)
        check(answer, asked, known)
        check_records(answer, strategy, backend)
        assert answer.status is AnswerStatus.UNUSABLE
        assert {reply for record in answer.records for reply in record.raw_replies} == {text}


@BY_TURNS
async def test_what_is_in_the_pool_already_is_not_proposed(
    name: str, limits: Constraints, profile: str
) -> None:
    known, asked = told(name, limits), request()
    texts = [item.text for item in known.pool.values()]
    lines = "".join(f"{number}. {text}\n" for number, text in enumerate(texts, 1))
    if limits is POINTS:
        items: list[Any] = [[float(part) for part in text.split()] for text in texts]
    else:
        items = texts
    as_json = PROFILES[profile].json and name != "maao_released"
    said = json.dumps({"proposals": items}) if as_json else lines
    answer = await make(name, profile).propose(asked, known, Told(lambda *_: said))
    check(answer, asked, known)
    assert answer.status is AnswerStatus.UNUSABLE


@EVERY
async def test_replies_of_partial_use_are_used_and_asked_for_again(
    name: str, limits: Constraints
) -> None:
    def every_third(question: Question, number: int) -> str:
        return fitting(question, number) if number % 3 == 0 else "?!\n"

    known, asked, backend = told(name, limits), request(24), Told(every_third)
    answer = await make(name).propose(asked, known, backend)
    check(answer, asked, known)
    assert answer.status is AnswerStatus.USABLE
    assert len(answer.proposals) < 24
    assert answer.detail or name == "maao_released"  # which reads the first line only


REPLIES = st.one_of(
    st.text(max_size=200),
    st.lists(st.text("ab cd\n1.,-", max_size=40), max_size=6).map("\n".join),
    st.lists(
        st.fixed_dictionaries(
            {},
            optional={
                "text": st.text("abc ", max_size=30) | st.integers(),
                "values": st.lists(st.floats() | st.none(), min_size=2, max_size=4),
                "rationale": st.text(max_size=30),
            },
        ),
        max_size=6,
    ).map(lambda items: json.dumps({"proposals": items})),
)


@pytest.mark.slow
@EVERY
@PROFILE
@settings(max_examples=4)
@given(data=st.data())
def test_no_reply_breaks_the_constraints(
    name: str, limits: Constraints, profile: str, data: st.DataObject
) -> None:
    words = data.draw(st.integers(1, 9))
    narrow = replace(limits, max_words=words, lower=-1.5, upper=2.5)
    count = data.draw(st.integers(1, 64))
    finish = data.draw(st.sampled_from(["stop", "length", "dead_end"]))

    def say(question: Question, number: int) -> str:
        return data.draw(REPLIES) if number < 4 else fitting(question, number)

    known, asked = told(name, narrow), request(count, seed=data.draw(st.integers(0, 2**63 - 1)))
    answer = asyncio.run(make(name, profile).propose(asked, known, Told(say, finish)))
    check(answer, asked, known)


# -- trouble of the backend -------------------------------------------------------------------


ERRORS = [
    DeadlineExceeded("late"),
    Unavailable("gone"),
    ResourceExhausted("full"),
    InvalidInput("bad", reason="BAD_GRAMMAR"),
    LONG,
    Cancelled("stopped"),
]


@BY_TURNS
async def test_trouble_before_anything_was_found_passes_through(
    name: str, limits: Constraints, profile: str
) -> None:
    for error in ERRORS:
        backend = Told(lambda *_, said=error: said)
        with pytest.raises(type(error)) as caught:
            await make(name, profile).propose(request(), told(name, limits), backend)
        assert caught.value is error


@EVERY
async def test_what_was_found_before_the_trouble_is_kept(name: str, limits: Constraints) -> None:
    for error in ERRORS:
        known, asked = told(name, limits), request(64)
        answer = await make(name).propose(asked, known, Told(failing_later(error)))
        check(answer, asked, known)
        assert answer.status is AnswerStatus.USABLE


def failing_later(error: MentorgradError) -> Callable[[Question, int], str | MentorgradError]:
    """A backend whose first question has one reply of use, and that fails with the second."""
    calls: list[Question] = []

    def once(question: Question, number: int) -> str | MentorgradError:
        if question not in calls:
            calls.append(question)
        proposing = [asked for asked in calls if "What is wrong" not in asked.user[-60:]]
        if len(proposing) > 1:
            return error
        useful = number == 0 or len(calls) > 1
        return fitting(question, number) if useful else "?!\n"

    return once


@pytest.mark.slow
@BY_TURNS
async def test_a_question_that_is_too_long_shows_less_until_it_fits(
    name: str, limits: Constraints, profile: str
) -> None:
    sizes: list[int] = []

    def say(question: Question, number: int) -> str | MentorgradError:
        if question.max_tokens == 80:  # a critique, which shows what the edit shows
            return fitting(question, number)
        sizes.append(len(question.system) + len(question.user) + 4 * question.max_tokens)
        return LONG if sizes[-1] > 0.9 * sizes[0] else fitting(question, number)

    known, asked = told(name, limits), request(64)
    answer = await make(name, profile, calls=1).propose(asked, known, Told(say))
    check(answer, asked, known)
    assert answer.status is AnswerStatus.USABLE
    assert sizes[0] > min(sizes)


# -- in a session -----------------------------------------------------------------------------


def session(name: str, limits: Constraints, script: Callable[..., Any], **more: Any) -> Any:
    backend = ScriptedBackend(script, context_tokens=100_000, **more)
    known = told(name, limits)
    opened = AdviseSession(known.open, make(name), backend, "small")
    opened.take(Batch(1, 1, candidates=tuple(known.pool.values())))
    return opened, backend


@EVERY
async def test_an_answer_is_given_once_and_the_same_again(name: str, limits: Constraints) -> None:
    numbers = iter(range(10_000))
    opened, backend = session(name, limits, lambda question: fitting(question, next(numbers)))
    first = await opened.answer(request())
    asked = len(backend.questions)
    assert first.status is AnswerStatus.USABLE
    assert await opened.answer(request()) is first
    assert len(backend.questions) == asked


@pytest.mark.slow
@EVERY
async def test_a_request_whose_time_is_over_is_timed_out(name: str, limits: Constraints) -> None:
    opened, _ = session(name, limits, lambda question: "", delay=60.0)
    asked = request(timeout=timedelta(seconds=0.2))
    assert (await opened.answer(asked)).status is AnswerStatus.TIMED_OUT


@pytest.mark.slow
@EVERY
async def test_a_cancelled_request_ends_the_generation(name: str, limits: Constraints) -> None:
    opened, backend = session(name, limits, lambda question: "", delay=60.0)
    task = asyncio.create_task(opened.answer(request()))
    while not backend.questions:
        await asyncio.sleep(0.01)
    await opened.close()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert backend.cancelled == 1


@pytest.mark.parametrize("name", [name for name in NAMES if name not in NUMBERS])
async def test_a_kind_that_it_cannot_propose_is_refused(name: str) -> None:
    opened, backend = session(name, POINTS, lambda question: "")
    answer = await opened.answer(request())
    assert answer.status is AnswerStatus.REFUSED
    assert name in answer.detail
    assert backend.questions == []


EVIL = st.text(max_size=20) | st.sampled_from(
    ['" | root', "a\nroot ::= [", "\\", "x" * 5_000, "<|im_end|>", "]{1,999999}", "\ud800"]
)
EVIL_TEXT = st.lists(EVIL, min_size=1, max_size=4).map(" ".join)


@pytest.mark.slow
@pytest.mark.parametrize("name", ASKING)
@PROFILE
@settings(max_examples=4)
@given(data=st.data())
def test_words_from_outside_cannot_change_a_grammar_or_break_a_page(
    name: str, profile: str, data: st.DataObject
) -> None:
    pool = tuple(
        candidate(f"c{n}", data.draw(EVIL_TEXT), float(n), parents=(f"c{n - 1}",)) for n in range(3)
    )
    tokens = (TokenHint(data.draw(EVIL), -1.0), TokenHint("letter", -0.5))
    hints = (PositionHints(0, data.draw(EVIL), tokens),)
    rows = (Exemplar(data.draw(EVIL_TEXT), data.draw(EVIL), data.draw(EVIL), 1.0),)
    known = replace(told(name), pool={item.candidate_id: item for item in pool})
    asked = request(hints=hints, exemplars=rows)
    backend = Told(fitting)
    answer = asyncio.run(make(name, profile).propose(asked, known, backend))
    assert answer.status in (AnswerStatus.USABLE, AnswerStatus.UNUSABLE)
    for question in backend.questions:
        assert "<|im" not in question.user
        assert len(question.user) < 20_000
        assert all("::=" in line for line in question.grammar.strip().split("\n") if line)
        assert question.grammar.count("::=") <= 3
        assert len(question.grammar) < 5_000
