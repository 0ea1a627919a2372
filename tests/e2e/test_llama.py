"""llama.cpp with the real small model: what it keeps of earlier questions, counted and compared,
and what only this backend promises."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mentor_service.backends.llama_cpp import LlamaCppBackend
from mentor_service.backends.llama_runtime import Runtime
from mentor_service.backends.threaded_backend import Interrupted
from mentor_service.grammars import number_lines, reply_schema, word_lines
from mentor_service.protocols import Question
from mentorgrad.domain.advice import Constraints, ProposalKind
from mentorgrad.errors import InvalidInput, ResourceExhausted, Unavailable
from mentorgrad.model_refs import DEFAULT_MENTOR_MODEL, resolve

CONTEXT = 2048
ONE_TOKEN = Question("", "", "", None, max_tokens=1, temperature=0.0, seed=0)
SHORT = Question("", "Say hello.", "", None, 8, 0.8, 1)
LONG = Question("", "Tell a long story about a ship.", "", None, 80, 0.8, 1)
LONGER = dataclasses.replace(LONG, max_tokens=1500)


@pytest.fixture
def backend() -> Iterator[LlamaCppBackend]:
    """A model that has read nothing."""
    made = LlamaCppBackend(resolve(DEFAULT_MENTOR_MODEL), context=512)
    yield made
    asyncio.run(made.close())


@pytest.fixture(scope="module")
def runtime() -> Iterator[Runtime]:
    made = Runtime(resolve(DEFAULT_MENTOR_MODEL), threads=1, gpu_layers=None, context=256)
    yield made
    made.close()


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
    backend: LlamaCppBackend,
) -> None:
    told = Told(backend)
    one, other = "Better words for: delivery.", "Better words for: refunds.\n1. money back"
    for turn in range(6):
        one += f"\n{turn}. a parcel that is {turn + 1} days late"
        other += f"\n{turn}. loss 0.{turn}"
        await told.check(one, samples=1 + turn % 3, max_tokens=3, temperature=0.8)
        await told.check(other, samples=2, max_tokens=2)
    await told.check(one)
    await told.check(one)


@settings(max_examples=4, deadline=None)
@given(
    st.lists(
        st.lists(st.sampled_from(["a", "late", "parcel", "\n"]), min_size=1, max_size=6),
        min_size=2,
        max_size=6,
    )
)
def test_no_token_is_evaluated_twice_whatever_is_asked(asked: list[list[str]]) -> None:
    async def ask() -> None:
        backend = LlamaCppBackend(resolve(DEFAULT_MENTOR_MODEL), context=512)
        try:
            told = Told(backend)
            for words in asked:
                await told.check(" ".join(words))
        finally:
            await backend.close()

    asyncio.run(ask())


def test_a_question_given_up_is_gone_on_with(backend: LlamaCppBackend) -> None:
    question = dataclasses.replace(ONE_TOKEN, user=" ".join(f"word{i}" for i in range(100)))
    looked = 0

    def give_up() -> None:
        nonlocal looked
        looked += 1
        if looked == 3:
            raise Interrupted

    with pytest.raises(Interrupted):
        backend.engine.generate(question, give_up)
    said = backend.engine.generate(question, lambda: None)
    # A question is read in pieces of 128 tokens, and the third was not begun.
    assert said.evaluated_tokens == said.prompt_tokens - 2 * 128
    assert backend.engine.generate(question, lambda: None).texts == said.texts


async def test_a_model_that_fails_under_way_starts_afresh(
    backend: LlamaCppBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    question = dataclasses.replace(ONE_TOKEN, user="Say hello.", max_tokens=4, samples=3)
    before = await backend.ask(question, 60.0)

    def fail(*_: Any) -> None:
        raise RuntimeError("llama_decode failed with -3")

    with monkeypatch.context() as patch:
        patch.setattr(Runtime, "step", fail)
        with pytest.raises(Unavailable):
            await backend.ask(question, 60.0)
    after = await backend.ask(question, 60.0)
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


# -- the backend ---------------------------------------------------------------------------------


async def test_llama_keeps_to_a_grammar_of_lines(llama: LlamaCppBackend) -> None:
    grammar = word_lines(3, 4, 2)
    question = Question("", "List three short phrases.", grammar, None, 120, 0.9, 3, 0.5)
    reply = await llama.ask(question, 60.0)
    lines = reply.texts[0].rstrip("\n").split("\n")
    assert reply.finish_reasons == ("stop",)
    assert [line[:3] for line in lines] == ["1. ", "2. ", "3. "]
    assert all(2 <= len(line[3:].split()) <= 4 for line in lines)


async def test_llama_keeps_to_grammars_of_numbers_and_json(llama: LlamaCppBackend) -> None:
    limits = Constraints(kind=ProposalKind.NUMBERS, dimensions=2, lower=-5, upper=5)
    asked = Question("", "Two points.", number_lines(2, limits), None, 60, 0.8, 1)
    reply = await llama.ask(asked, 60.0)
    assert all(float(part) for part in reply.texts[0].split() if "." in part and part[-1] != ".")
    schema = {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"]}
    asked = Question("Answer in JSON.", "Is it ok?", "", schema, 40, 0.0, 1)
    assert set(json.loads((await llama.ask(asked, 60.0)).texts[0])) == {"ok"}
    assert reply_schema(ProposalKind.TEXT)


async def test_llama_repeats_itself_for_a_seed_and_differs_for_others(
    llama: LlamaCppBackend,
) -> None:
    asked = Question("", "Name three colours.", word_lines(1, 3), None, 20, 1.0, 11)
    replies = [
        (await llama.ask(dataclasses.replace(asked, seed=seed), 60.0)).texts[0]
        for seed in (11, 11, 11, 12)
    ]
    # The first one reads the question afresh, which rounds differently.
    assert replies[1] == replies[2]
    assert len(set(replies)) > 1


async def test_llama_takes_the_largest_seed_and_a_system_message(llama: LlamaCppBackend) -> None:
    asked = dataclasses.replace(SHORT, system="Be brief.", seed=2**63 - 1)
    assert (await llama.ask(asked, 60.0)).texts[0]


LINE = Question("", "Name a colour and a fruit.", word_lines(1, 3, 2), None, 24, 1.0, 11, 0.5, 6)


async def test_llama_draws_samples_apart_and_repeats_them_for_a_seed(
    llama: LlamaCppBackend,
) -> None:
    await llama.ask(LINE, 60.0)  # reading the question afresh rounds differently
    first = (await llama.ask(LINE, 60.0)).texts
    assert (await llama.ask(LINE, 60.0)).texts == first
    assert len(set(first)) > 2
    other = (await llama.ask(dataclasses.replace(LINE, seed=12), 60.0)).texts
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
    asked = dataclasses.replace(LINE, grammar=word_lines(2, 3, 2), max_tokens=60, samples=6)
    reply = await llama.ask(asked, 120.0)
    assert reply.finish_reasons == ("stop",) * 6
    form = re.compile(r"(1|2)\. [A-Za-z][a-z]*( [A-Za-z][a-z]*){1,2}")
    for text in reply.texts:
        lines = text.splitlines()
        assert [line[0] for line in lines] == ["1", "2"]
        assert all(form.fullmatch(line) for line in lines), text


async def test_llama_decodes_in_waves_what_has_no_room_at_once(llama: LlamaCppBackend) -> None:
    # 12 replies may have 12 x 700 tokens, and the memory holds 2 x 2048.
    asked = dataclasses.replace(LINE, max_tokens=700, samples=12)
    reply = await llama.ask(asked, 120.0)
    assert reply.finish_reasons == ("stop",) * 12
    assert len(set(reply.texts)) > 3


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


@pytest.mark.parametrize(
    "grammar",
    [
        "root ::= missing",
        "nonsense",
        'root ::= root "a"',
        'other ::= "a"',
        "root ::= [",
    ],
)
async def test_llama_refuses_a_bad_grammar_and_lives_on(
    llama: LlamaCppBackend, grammar: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        await llama.ask(dataclasses.replace(SHORT, grammar=grammar), 30.0)
    assert caught.value.reason == "BAD_GRAMMAR"
    assert (await llama.ask(SHORT, 30.0)).texts[0]


async def test_llama_stops_at_the_limit_of_tokens(llama: LlamaCppBackend) -> None:
    reply = await llama.ask(dataclasses.replace(LONG, max_tokens=5), 30.0)
    assert (reply.reply_tokens, reply.finish_reasons) == (5, ("length",))


async def test_llama_refuses_when_its_line_is_full_and_drops_what_nobody_waits_for() -> None:
    backend = LlamaCppBackend(resolve(DEFAULT_MENTOR_MODEL), context=CONTEXT, queue_limit=2)
    try:
        tasks = [asyncio.create_task(backend.ask(LONGER, 60.0))]
        await asyncio.sleep(0.2)
        tasks += [asyncio.create_task(backend.ask(LONGER, 60.0)) for _ in range(2)]
        while backend.waiting < 2:
            await asyncio.sleep(0.01)
        with pytest.raises(ResourceExhausted) as caught:
            await backend.ask(SHORT, 1.0)
        assert caught.value.retry_after > 0
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert backend.waiting == 0
        assert (await backend.ask(SHORT, 30.0)).texts[0]
        last = asyncio.create_task(backend.ask(LONGER, 60.0))
        await asyncio.sleep(0.1)
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
