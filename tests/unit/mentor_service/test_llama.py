"""What the real small model keeps of earlier questions, counted and compared."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mentor_service.backends.llama_cpp import LlamaCppBackend
from mentor_service.backends.llama_runtime import Runtime
from mentor_service.backends.threaded_backend import Interrupted
from mentor_service.protocols import Question
from mentorgrad.errors import Unavailable
from mentorgrad.model_refs import DEFAULT_MENTOR_MODEL, resolve

SHORT = Question("", "", "", None, max_tokens=1, temperature=0.0, seed=0)


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
        question = dataclasses.replace(SHORT, user=user, **changes)
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
    question = dataclasses.replace(SHORT, user=" ".join(f"word{i}" for i in range(100)))
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
    question = dataclasses.replace(SHORT, user="Say hello.", max_tokens=4, samples=3)
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
