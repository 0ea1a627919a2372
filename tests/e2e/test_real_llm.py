"""The real small model in llama.cpp, loaded once: what every backend guarantees, what it keeps of
earlier questions, what only this backend promises, and every strategy on top.

What must hold of any answer holds of its own, whatever it says. Grammars that lead nowhere or
cannot be read are in `tests/faults/test_dead_ends.py`.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import math
import random
import re
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mentor_service.backends import llama_cpp
from mentor_service.backends.llama_cpp import LlamaCppBackend
from mentor_service.backends.openai import OpenAIBackend
from mentor_service.backends.threaded_backend import Interrupted
from mentor_service.composition import MentorServer
from mentor_service.grammars import number_lines, word_lines
from mentor_service.profiles import PROFILES
from mentor_service.protocols import Knowledge, Question, Reply
from mentor_service.reasoning import answer_of
from mentor_service.similarity import canonical
from mentor_service.strategies import registry
from mentorgrad import AsyncMentorClient
from mentorgrad.domain.advice import (
    AdviseOpen,
    AnswerStatus,
    Constraints,
    ProposalKind,
    TaskCard,
)
from mentorgrad.errors import InvalidInput, ResourceExhausted, Unavailable
from mentorgrad.model_refs import DEFAULT_MENTOR_MODEL, resolve
from service_common.llama.runtime import Runtime
from tests.contract.test_backends import (  # noqa: F401
    CONTEXT,
    LONG,
    SHORT,
    test_a_question_beyond_the_context_is_invalid_input,
    test_a_question_is_answered_and_accounted_for,
    test_a_text_is_continued_to_the_end_of_its_line,
    test_as_many_replies_as_samples_and_the_question_counts_once,
    test_cancelling_frees_the_backend_for_the_next,
    test_distinct_replies_may_be_asked_of_every_backend,
    test_many_samples_end_with_the_time_or_the_asker_and_the_next_is_served,
    test_questions_at_once_wait_for_each_other_and_are_all_answered,
    test_the_backend_says_what_it_is,
    test_too_little_time_is_deadline_exceeded_and_the_next_is_served,
)
from tests.support.lasting import Lasting
from tests.support.told_strategy import SETTINGS, SPACE, candidate, request, told
from tests.support.trainer_process import eventually
from trainer_service.objectives.served_prompt.llama_scorer import LlamaScorer
from trainer_service.objectives.served_prompt.server_scorer import ServerScorer

ONE_TOKEN = Question("", "", "", None, max_tokens=1, temperature=0.0, seed=0)
ENDLESS = Question("", "", 'root ::= "a" root', None, max_tokens=1500, temperature=0.8, seed=1)


@pytest.fixture(scope="module")
def llama() -> Iterator[LlamaCppBackend]:
    """The model on one thread."""
    backend = LlamaCppBackend(resolve(DEFAULT_MENTOR_MODEL), context=CONTEXT)
    yield backend
    asyncio.run(backend.close())


def forget(llama: LlamaCppBackend) -> LlamaCppBackend:
    """The model as if it had read nothing; no question may be in progress."""
    llama.engine._prefixes.clear()
    return llama


@pytest.fixture
def fresh(llama: LlamaCppBackend) -> LlamaCppBackend:
    """A model that has read nothing."""
    return forget(llama)


@pytest.fixture
def runtime(fresh: LlamaCppBackend) -> Runtime:
    """Its model and memory; a test leaves the memory empty."""
    return fresh.engine._runtime


# -- what every backend guarantees: in process, and behind another server -------------------------


@pytest.fixture(scope="module")
def llm_server() -> Iterator[str]:
    """The real model behind llama-cpp-python's own OpenAI server."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    model = str(resolve(DEFAULT_MENTOR_MODEL))
    command = [sys.executable, "-m", "llama_cpp.server", "--model", model]
    options = {"port": port, "n_ctx": CONTEXT, "n_threads": 1, "n_threads_batch": 1}
    for name, value in options.items():
        command += [f"--{name}", str(value)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}/v1"

    def serves() -> bool:
        assert process.poll() is None
        try:
            return httpx.get(f"{url}/models").is_success
        except httpx.HTTPError:
            return False

    try:
        eventually(serves, "the server answers")
        yield url
    finally:
        process.kill()
        process.wait()


@pytest.fixture(params=["llama_cpp", pytest.param("openai", marks=pytest.mark.campaign)])
async def backend(request: pytest.FixtureRequest) -> AsyncIterator[Any]:
    if request.param == "llama_cpp":
        yield request.getfixturevalue("llama")
        return
    url = request.getfixturevalue("llm_server")
    made = OpenAIBackend(url, "smollm2", context_tokens=CONTEXT)
    yield made
    await made.close()


# In the suite, the client of such servers has scripted ones: `tests/contract/test_backends.py`.
@pytest.mark.campaign
async def test_a_server_answers_continues_texts_and_refuses_what_is_too_long(
    llm_server: str,
) -> None:
    """Its other guarantees are those of one without a model, in `tests/contract/test_backends.py`;
    a campaign has them with this one too."""
    backend = OpenAIBackend(llm_server, "smollm2", context_tokens=100_000)
    try:
        await test_a_question_is_answered_and_accounted_for(backend)
        await test_a_text_is_continued_to_the_end_of_its_line(backend)
        with pytest.raises(InvalidInput) as caught:
            await backend.ask(dataclasses.replace(SHORT, user="word " * 3_000), 60.0)
        assert caught.value.reason == "QUESTION_TOO_LONG"
    finally:
        await backend.close()


async def test_a_chat_template_that_begins_the_reasoning_is_part_of_the_reply(
    llama: LlamaCppBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(llama.engine, "_opens_reasoning", True)
    (text,) = (await llama.ask(SHORT, 60.0)).texts
    assert answer_of(text) is None
    held = dataclasses.replace(SHORT, grammar='root ::= "a"')
    continued = dataclasses.replace(SHORT, completes=True)
    for question in (held, continued):  # neither reasons
        (text,) = (await llama.ask(question, 60.0)).texts
        assert answer_of(text) == text


async def test_reasoning_makes_a_chat_longer_and_no_continuation(llama: LlamaCppBackend) -> None:
    asked = dataclasses.replace(LONG, max_tokens=4, reasoning_tokens=4)
    assert (await llama.ask(asked, 60.0)).reply_tokens == 8
    line = dataclasses.replace(asked, completes=True)
    assert (await llama.ask(line, 60.0)).reply_tokens <= 4


# -- what is kept of earlier questions ------------------------------------------------------------


class Told:
    """What was asked so far, and so what of a question has to be evaluated."""

    def __init__(self, backend: LlamaCppBackend) -> None:
        self._backend = backend
        self._earlier: list[list[int]] = []

    def expected(self, question: Question) -> int:
        tokens = self._backend.engine.tokens(question)
        longest = max((_common(tokens[:-1], earlier) for earlier in self._earlier), default=0)
        self._earlier.append(tokens)
        return len(tokens) - longest

    async def check(self, user: str, **changes: Any) -> None:
        question = dataclasses.replace(ONE_TOKEN, user=user, **changes)
        expected = self.expected(question)
        reply = await self._backend.ask(question, 60.0)
        assert reply.evaluated_tokens == expected, user


def _common(a: Sequence[int], b: Sequence[int]) -> int:
    length = min(len(a), len(b))
    differing = np.flatnonzero(np.asarray(a[:length]) != np.asarray(b[:length]))
    return int(differing[0]) if len(differing) else length


async def test_two_sessions_evaluate_exactly_what_neither_has_asked_before(
    fresh: LlamaCppBackend,
) -> None:
    told = Told(fresh)
    one, other = "Better words for: delivery.", "Better words for: refunds.\n1. money back"
    for turn in range(2):
        one += f"\n{turn}. a parcel that is {turn + 1} days late"
        other += f"\n{turn}. loss 0.{turn}"
        await told.check(one, samples=1 + turn, max_tokens=3, temperature=0.8)
        await told.check(other, samples=2, max_tokens=2)
    await told.check(one)
    await told.check(one)


@pytest.mark.campaign
@settings(max_examples=4)
@given(
    st.lists(
        st.lists(st.sampled_from(["a", "late", "parcel", "\n"]), min_size=1, max_size=6),
        min_size=2,
        max_size=6,
    )
)
def test_no_token_is_evaluated_twice_whatever_is_asked(
    llama: LlamaCppBackend, asked: list[list[str]]
) -> None:
    async def ask() -> None:
        told = Told(forget(llama))
        for words in asked:
            await told.check(" ".join(words))

    asyncio.run(ask())


def test_a_question_given_up_is_gone_on_with(
    fresh: LlamaCppBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(llama_cpp, "_CHUNK", 16)
    question = dataclasses.replace(ONE_TOKEN, user=" ".join(f"word{i}" for i in range(20)))
    looked = 0

    def give_up() -> None:
        nonlocal looked
        looked += 1
        if looked == 3:
            raise Interrupted

    with pytest.raises(Interrupted):
        fresh.engine.generate(question, give_up)
    said = fresh.engine.generate(question, lambda: None)
    # The third piece was not begun.
    assert said.evaluated_tokens == said.prompt_tokens - 2 * 16
    assert fresh.engine.generate(question, lambda: None).texts == said.texts


async def test_a_model_that_fails_under_way_starts_afresh(
    fresh: LlamaCppBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    question = dataclasses.replace(ONE_TOKEN, user="Say hello.", max_tokens=4, samples=3)
    before = await fresh.ask(question, 60.0)

    def fail(*_: Any) -> None:
        raise RuntimeError("llama_decode failed with -3")

    with monkeypatch.context() as patch:
        patch.setattr(Runtime, "step", fail)
        with pytest.raises(Unavailable):
            await fresh.ask(question, 60.0)
    after = await fresh.ask(question, 60.0)
    assert after.evaluated_tokens == after.prompt_tokens
    assert after.texts == before.texts


def test_sequences_decoded_together_give_what_each_gives_alone(runtime: Runtime) -> None:
    head = runtime.tokenize("The parcel was late, so the customer")
    words = [runtime.tokenize(f" {word}")[0] for word in ("asked", "wrote", "is", "cried")]
    alone = []
    for word in words:
        runtime.cut(0, 0)
        alone.append(runtime.read([*head, word], 0, 0).copy())
    runtime.cut(0, 0)
    runtime.read(head, 0, 0)
    sequences = [16, 17, 18, 19]
    for sequence in sequences:
        runtime.copy(0, sequence, len(head))
    together = runtime.step(words, len(head), sequences).copy()
    for sequence in (0, *sequences):
        runtime.cut(sequence, 0)
    # Other batches round otherwise, and the weights have four bits; other words differ by more.
    apart = [[np.abs(a - b).mean() for b in alone] for a in together]
    assert np.argmin(apart, axis=1).tolist() == [0, 1, 2, 3]
    assert [row.argmax() for row in together] == [row.argmax() for row in alone]


def test_a_shared_prefix_gives_what_the_whole_question_gives(runtime: Runtime) -> None:
    first = runtime.tokenize("Refunds: money back, a wrong item. Delivery: the parcel")
    second = runtime.tokenize("Refunds: money back, a wrong item. Account: the password")
    shared = _common(first, second)
    whole = runtime.read(second, 0, 0).copy()
    runtime.cut(0, 0)
    runtime.read(first, 0, 0)
    runtime.copy(0, 1, shared)
    went_on = runtime.read(second[shared:], shared, 1).copy()
    runtime.cut(0, 0)
    runtime.cut(1, 0)
    assert went_on.argmax() == whole.argmax()
    assert np.corrcoef(went_on, whole)[0, 1] > 0.999


def test_a_text_is_the_pieces_of_its_tokens(runtime: Runtime) -> None:
    for text in ("plain words", "Grüße, 你好 🦋\n\ttabs", "<not special>", ""):
        assert runtime.text(runtime.tokenize(text)) == text
    assert runtime.text(runtime.tokenize("<|im_end|>")) == ""


# -- the backend ----------------------------------------------------------------------------------


async def test_llama_keeps_to_grammars_of_numbers_and_json(llama: LlamaCppBackend) -> None:
    limits = Constraints(kind=ProposalKind.NUMBERS, dimensions=2, lower=-5, upper=5)
    asked = Question("", "Two points.", number_lines(2, limits), None, 60, 0.8, 1)
    reply = await llama.ask(asked, 60.0)
    assert reply.finish_reasons == ("stop",)
    points = [[float(part) for part in line.split()[1:]] for line in reply.texts[0].splitlines()]
    assert [len(point) for point in points] == [2, 2]
    assert all(-5 <= value <= 5 for point in points for value in point)
    schema = {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"]}
    asked = Question("Answer in JSON.", "Is it ok?", "", schema, 40, 0.0, 1)
    assert set(json.loads((await llama.ask(asked, 60.0)).texts[0])) == {"ok"}


async def test_llama_takes_the_largest_seed_and_a_system_message(llama: LlamaCppBackend) -> None:
    asked = dataclasses.replace(SHORT, system="Be brief.", seed=2**63 - 1)
    assert (await llama.ask(asked, 60.0)).texts[0]


LINE = Question("", "Name a colour and a fruit.", word_lines(1, 3, 2), None, 24, 1.0, 11, 0.5, 6)


async def test_llama_draws_samples_apart_and_repeats_them_for_a_seed(
    llama: LlamaCppBackend,
) -> None:
    asked = dataclasses.replace(LINE, max_tokens=8, samples=4)
    await llama.ask(asked, 60.0)  # reading the question afresh rounds differently
    first = (await llama.ask(asked, 60.0)).texts
    assert (await llama.ask(asked, 60.0)).texts == first
    assert len(set(first)) > 2
    other = (await llama.ask(dataclasses.replace(asked, seed=12), 60.0)).texts
    assert set(other) != set(first)


async def test_llama_draws_a_sample_whatever_is_decoded_beside_it(llama: LlamaCppBackend) -> None:
    # Temperature 0 leaves nothing to the seed, and short replies little to rounding.
    asked = dataclasses.replace(LINE, max_tokens=2, samples=1)
    await llama.ask(asked, 60.0)
    alone = await llama.ask(asked, 60.0)
    beside = await llama.ask(dataclasses.replace(asked, samples=8), 60.0)
    assert beside.texts[0] == alone.texts[0]
    greedy = dataclasses.replace(asked, temperature=0.0, samples=4)
    assert len(set((await llama.ask(greedy, 60.0)).texts)) == 1


async def test_llama_keeps_every_sample_to_the_grammar(llama: LlamaCppBackend) -> None:
    asked = dataclasses.replace(LINE, grammar=word_lines(3, 4, 2), max_tokens=120, samples=3)
    reply = await llama.ask(asked, 120.0)
    assert reply.finish_reasons == ("stop",) * 3
    form = re.compile(r"[1-3]\. [A-Za-z][a-z]*( [A-Za-z][a-z]*){1,3}")
    for text in reply.texts:
        lines = text.splitlines()
        assert [line[0] for line in lines] == ["1", "2", "3"]
        assert all(form.fullmatch(line) for line in lines), text


async def test_llama_decodes_in_waves_what_has_no_room_at_once(llama: LlamaCppBackend) -> None:
    # 6 replies may have 6 x 1400 tokens, and the memory holds 2 x 2048.
    asked = dataclasses.replace(LINE, max_tokens=1400, samples=6)
    reply = await llama.ask(asked, 120.0)
    assert reply.finish_reasons == ("stop",) * 6
    assert len(set(reply.texts)) > 2


@pytest.mark.parametrize(
    ("grammar", "text"),
    [
        ('root ::= "Zyzzyva \\U0001F98B" ', "Zyzzyva \U0001f98b"),
        ("root ::= [\\u4e00]{3}", "\u4e00" * 3),
        ('root ::= "a"', "a"),
    ],
)
async def test_llama_finds_unlikely_tokens_that_a_grammar_wants(
    llama: LlamaCppBackend, grammar: str, text: str
) -> None:
    asked = dataclasses.replace(SHORT, grammar=grammar, max_tokens=40, samples=2)
    reply = await llama.ask(asked, 60.0)
    assert reply.texts == (text, text)
    assert reply.finish_reasons == ("stop", "stop")


async def test_llama_ends_a_sample_where_the_grammar_allows_nothing(
    llama: LlamaCppBackend,
) -> None:
    # No text has a byte 0, so there is no way on after the first letter.
    asked = dataclasses.replace(SHORT, grammar='root ::= "a" [\\x00]', samples=2)
    reply = await llama.ask(asked, 60.0)
    assert reply.texts == ("a", "a")
    assert reply.finish_reasons == ("dead_end", "dead_end")
    assert (await llama.ask(SHORT, 60.0)).texts[0]


async def test_llama_refuses_a_bad_grammar_and_lives_on(llama: LlamaCppBackend) -> None:
    with pytest.raises(InvalidInput) as caught:
        await llama.ask(dataclasses.replace(SHORT, grammar="nonsense"), 30.0)
    assert caught.value.reason == "BAD_GRAMMAR"
    assert (await llama.ask(SHORT, 30.0)).texts[0]


async def test_llama_stops_at_the_limit_of_tokens(llama: LlamaCppBackend) -> None:
    reply = await llama.ask(dataclasses.replace(LONG, max_tokens=5), 30.0)
    assert (reply.reply_tokens, reply.finish_reasons) == (5, ("length",))


async def test_llama_refuses_when_its_line_is_full_and_drops_what_nobody_waits_for() -> None:
    # A model of its own, since it is closed under way.
    backend = LlamaCppBackend(resolve(DEFAULT_MENTOR_MODEL), context=CONTEXT, queue_limit=2)

    async def in_progress() -> asyncio.Task[Reply]:
        task = asyncio.create_task(backend.ask(ENDLESS, 120.0))
        await asyncio.sleep(0)
        while backend.waiting:
            await asyncio.sleep(0.01)
        return task

    try:
        tasks = [await in_progress()]
        tasks += [asyncio.create_task(backend.ask(ENDLESS, 120.0)) for _ in range(2)]
        while backend.waiting < 2:
            await asyncio.sleep(0.01)
        with pytest.raises(ResourceExhausted) as caught:
            await backend.ask(SHORT, 1.0)
        assert caught.value.retry_after > 0
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert backend.waiting == 0
        assert (await backend.ask(SHORT, 60.0)).texts[0]
        last = await in_progress()
    finally:
        await backend.close()
    with pytest.raises(Unavailable):
        await last
    with pytest.raises(Unavailable):
        await backend.ask(SHORT, 1.0)
    with pytest.raises(Unavailable):
        await backend.check()


@pytest.mark.parametrize("content", [None, b"", b"not a model", b"GGUF" + b"\xff" * 200])
def test_llama_says_in_one_line_that_a_file_is_missing_or_no_model(
    tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "model.gguf"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(Unavailable) as caught:
        LlamaCppBackend(path)
    assert caught.value.reason == "MODEL_NOT_LOADED"
    assert str(path) in caught.value.message
    assert "\n" not in caught.value.message


# -- strategies -----------------------------------------------------------------------------------

COUNT = 2


class Asking:
    """The real backend, as a session offers it; keeps what it was asked."""

    def __init__(self, llama: Any) -> None:
        self._llama = llama
        self.questions: list[Question] = []

    async def __call__(self, question: Question) -> Reply:
        self.questions.append(question)
        reply: Reply = await self._llama.ask(question, 120.0)
        return reply


# In the suite, `test_demo.py` asks for lines and for words, and `tests/contract/test_strategies.py`
# has the form of every strategy's answers.
@pytest.mark.campaign
@pytest.mark.parametrize("name", ["maao", "opro"])
async def test_lines_for_a_language_model_are_proposals_or_a_typed_outcome(
    llama: LlamaCppBackend, name: str
) -> None:
    strategy = registry.create(name, {"calls": 1}, PROFILES["small"], "smollm2")
    asked = told(name, proposal="a line that stands behind the text", place="behind the text")
    answer = await strategy.propose(
        request(1), asked, Asking(llama)
    )  # each has a question of its own
    assert (answer.status is AnswerStatus.USABLE) == bool(answer.proposals)
    assert answer.proposals or answer.detail
    assert answer.records
    for record in answer.records:
        assert record.question.startswith("[text to continue]\nTask:")
        assert not any("\n" in reply for reply in record.raw_replies)
    for item in answer.proposals:
        assert 1 <= len(item.text.split()) <= asked.open.constraints.max_words


ASKING = sorted(registry.BUILT_IN.keys() - {"examples"})
"""Strategies that ask an LLM."""


@pytest.mark.campaign
@pytest.mark.parametrize("name", ASKING)
async def test_words_of_the_real_model_are_used_or_typed(name: str, llama: Any) -> None:
    known, ask = told(name), Asking(llama)
    strategy = registry.create(name, {"calls": 1}, PROFILES["small"], "smollm2")
    answer = await strategy.propose(request(COUNT), known, ask)
    assert (answer.status is AnswerStatus.USABLE) == bool(answer.proposals)
    assert answer.status in (AnswerStatus.USABLE, AnswerStatus.UNUSABLE)
    assert answer.proposals or answer.detail
    assert len(answer.proposals) <= COUNT
    texts = [item.text for item in answer.proposals]
    assert len(set(texts)) == len(texts)
    assert not {canonical(item.text) for item in known.pool.values()} & set(texts)
    for item in answer.proposals:
        words = item.text.split(" ")
        assert 1 <= len(words) <= known.open.constraints.max_words
        assert all(word.isalpha() for word in words)
        assert set(item.parents) <= set(known.pool)
        assert item.base_id in {"", *known.pool}
    assert len(answer.records) == len(ask.questions)
    for record, question in zip(answer.records, ask.questions, strict=True):
        assert len(record.raw_replies) == question.samples
        assert record.question.endswith(question.user)
        assert record.prompt_tokens > 0
        assert 0 < record.reply_tokens <= question.samples * question.max_tokens
        assert record.duration.total_seconds() > 0
        assert (record.strategy, record.model, record.profile) == (name, "smollm2", "small")


@pytest.mark.campaign
@pytest.mark.parametrize("name", ["leo", "maao"])
async def test_points_of_the_real_model_lie_within_the_bounds(name: str, llama: Any) -> None:
    dimensions = 2  # numbers take the model a while
    limits = Constraints(kind=ProposalKind.NUMBERS, dimensions=dimensions, lower=-5.12, upper=5.12)
    draw = random.Random(dimensions)
    points = [[draw.uniform(-4, 4) / (n + 1) for _ in range(dimensions)] for n in range(4)]
    pool = [
        candidate(f"c{n}", " ".join(f"{x:.4f}" for x in point), _rastrigin(point), "snapshot")
        for n, point in enumerate(points)
    ]
    opened = AdviseOpen("s", TaskCard("function", "rastrigin"), limits, name)
    known = Knowledge(opened, (), {item.candidate_id: item for item in pool}, ())
    strategy = registry.create(name, {"calls": 1}, PROFILES["small"], "smollm2")
    answer = await strategy.propose(request(COUNT, bare=True), known, Asking(llama))
    assert answer.status in (AnswerStatus.USABLE, AnswerStatus.UNUSABLE), answer.detail
    for item in answer.proposals:
        assert len(item.values) == dimensions
        assert all(-5.12 <= value <= 5.12 for value in item.values)
    assert len({item.values for item in answer.proposals}) == len(answer.proposals) <= COUNT
    assert "out of bounds" not in answer.detail


@pytest.mark.parametrize(
    "profile",
    ["small", *(pytest.param(p, marks=pytest.mark.campaign) for p in PROFILES if p != "small")],
)
async def test_settings_of_the_real_model_are_within_the_schema(profile: str, llama: Any) -> None:
    strategy = registry.create("maao", {"calls": 1}, PROFILES[profile], "smollm2")
    answer = await strategy.propose(request(1), told("maao", SETTINGS), Asking(llama))
    assert answer.status in (AnswerStatus.USABLE, AnswerStatus.UNUSABLE), answer.detail
    assert answer.proposals or answer.detail
    assert len(answer.proposals) <= 1
    for item in answer.proposals:
        assert SPACE.checked(item.settings or {}) == item.settings
    if profile == "small":
        assert "outside the schema" not in answer.detail, "the grammar spells the schema out"


def _rastrigin(point: list[float]) -> float:
    return sum(x * x - 10 * math.cos(2 * math.pi * x) + 10 for x in point)


# Sessions of the SDK with a scripted model are in `tests/rpc/test_session.py`.
@pytest.mark.campaign
async def test_a_served_model_is_told_before_it_is_asked(llama: Any) -> None:
    server = MentorServer(Lasting(llama), PROFILES["small"])
    labels = ("billing", "refund")
    async with (
        AsyncMentorClient(await server.start()) as mentor,
        mentor.session("what a message is about", labels=labels, seed=5) as session,
    ):
        for loss, text in ((0.9, "ticket ing sell"), (0.7, "message regarding money")):
            session.candidate(text, loss)
        answer = await session.ask(2)
    await server.stop(0)
    assert answer.status in (AnswerStatus.USABLE, AnswerStatus.UNUSABLE)
    assert {proposal.parents for proposal in answer.proposals} <= {
        ("s0/step0/words", "s0/step0/words.2")
    }
    (record, *_) = answer.records
    assert record.model.endswith(".gguf")
    assert record.raw_replies
    assert record.reply_tokens > 0
    assert "billing, refund" in record.question
    assert record.question.index("ticket ing") < record.question.index("message regarding")


# In the suite, `test_llama_scorer.py` has the file, `tests/rpc/test_tuned_models.py` such servers.
@pytest.mark.campaign
def test_a_served_model_scores_labels_as_its_file_does(llm_server: str) -> None:
    labels, tail = ("Yes", "No", "It"), "Is it good?\nAnswer:"
    heads = ["Review: It works.\n", "Review: It broke at once, twice.\n"]
    served = ServerScorer(
        "own", llm_server, labels, (heads[0], tail), api_key="", abort=lambda: None
    )
    local = LlamaScorer(
        resolve(DEFAULT_MENTOR_MODEL),
        labels,
        "\nAnswer:",
        heads=heads,
        characters=20,
        threads=1,
        on_gpu=False,
        abort=lambda: None,
    )
    try:
        assert served.model.endswith("gguf (completions, top_logprobs)")
        found, expected = (scorer.scores(heads, [tail]) for scorer in (served, local))
        # The server rounds differently; other tokens differ by much more.
        assert found == pytest.approx(expected, abs=1.0)
        assert served.take_tokens() > 30
    finally:
        served.close()
        local.close()
