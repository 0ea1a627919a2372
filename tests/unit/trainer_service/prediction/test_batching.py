"""Calls that come while a predictor is busy are predicted together, each as if it were alone."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from mentorgrad.errors import InvalidInput, ResourceExhausted, Unavailable
from tests.support.told_predictor import Told
from trainer_service.prediction.batching import PredictedTexts, PredictionBatches


class Busy(Told):
    """Predicts only once it is let."""

    def __init__(self, paired: bool = False) -> None:
        super().__init__(paired)
        self.let = threading.Event()
        self.began = threading.Event()
        self.threads: set[int] = set()
        self.is_lost = False

    def predict_proba(self, texts: Sequence[str], pairs: Sequence[str] | None = None) -> Any:
        self.threads.add(threading.get_ident())
        self.began.set()
        assert self.let.wait(120)
        if "broken" in texts or self.is_lost:
            raise RuntimeError("out of memory")
        return super().predict_proba(texts, pairs)


@pytest.fixture
def busy() -> Busy:
    return Busy()


@pytest.fixture
async def batches(busy: Busy) -> AsyncIterator[PredictionBatches]:
    made = PredictionBatches(busy, texts_at_once=4, queue_limit=6)
    yield made
    busy.let.set()
    await made.close()
    assert busy.closed


async def waiting(batches: PredictionBatches, *calls: list[str]) -> list[asyncio.Task[Any]]:
    """The calls, the first of which keeps the predictor busy."""
    tasks = []
    for number, texts in enumerate(calls):
        tasks.append(asyncio.create_task(batches.predict(texts, ())))
        await asyncio.sleep(0)
        if number == 0:
            busy = batches._predictor
            assert isinstance(busy, Busy)
            assert await asyncio.to_thread(busy.began.wait, 120)
    return tasks


async def test_calls_that_wait_are_predicted_together_in_order(
    busy: Busy, batches: PredictionBatches
) -> None:
    calls = [["good"], ["bad"], ["good", "bad"], ["good"], ["bad"]]
    tasks = await waiting(batches, *calls)
    assert batches.waiting == 5
    busy.let.set()
    found = await asyncio.gather(*tasks)
    for texts, one in zip(calls, found, strict=True):
        assert one.shares[:, 1].tolist() == [0.75 if text == "good" else 0.25 for text in texts]
    assert busy.asked == [1, 4, 1]
    assert len(busy.threads) == 1
    assert threading.get_ident() not in busy.threads
    assert (await batches.predict([], ())).shares.shape == (0, 2)


async def test_a_call_with_more_texts_than_are_predicted_together(
    busy: Busy, batches: PredictionBatches
) -> None:
    busy.let.set()
    assert len((await batches.predict(["good"] * 9, ())).shares) == 9


async def test_the_error_of_a_call_is_its_own(busy: Busy, batches: PredictionBatches) -> None:
    tasks = await waiting(batches, ["bad"], ["good"], ["bad", "too long"])
    busy.let.set()
    first, second, third = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(first, PredictedTexts)
    assert isinstance(second, PredictedTexts)
    assert first.shares.shape == second.shares.shape == (1, 2)
    assert isinstance(third, InvalidInput)
    assert third.violations[0].field == "texts[1]"
    with pytest.raises(RuntimeError, match="out of memory"):
        await batches.predict(["broken"], ())
    assert len((await batches.predict(["good"], ())).shares) == 1


async def test_after_a_failure_the_check_asks_until_it_is_well(
    busy: Busy, batches: PredictionBatches
) -> None:
    busy.let.set()
    await batches.check()
    assert busy.asked == [], "nothing has failed, so nothing is predicted"
    with pytest.raises(RuntimeError):
        await batches.predict(["broken"], ())
    busy.is_lost = True
    with pytest.raises(Unavailable, match="the last prediction failed"):
        await batches.check()
    busy.is_lost = False
    await batches.check()
    await batches.check()
    assert busy.asked == [1]


async def test_who_waits_no_more_is_not_predicted(busy: Busy, batches: PredictionBatches) -> None:
    tasks = await waiting(batches, ["good"], ["bad"] * 2, ["good"])
    tasks[1].cancel()
    busy.let.set()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert busy.asked == [1, 1]


async def test_too_many_texts_are_refused(busy: Busy, batches: PredictionBatches) -> None:
    tasks = await waiting(batches, ["good"], ["bad"] * 5)
    with pytest.raises(ResourceExhausted) as refused:
        await batches.predict(["good"] * 2, ())
    assert refused.value.reason == "PREDICTOR_BUSY"
    busy.let.set()
    await asyncio.gather(*tasks)
    assert len((await batches.predict(["good"] * 9, ())).shares) == 9  # alone, whatever its size


async def test_closing_fails_what_waits(busy: Busy) -> None:
    batches = PredictionBatches(busy)
    tasks = await waiting(batches, ["good"], ["bad"])
    closing = asyncio.create_task(batches.close())
    await asyncio.sleep(0)
    busy.let.set()
    await closing
    assert busy.closed
    for error in await asyncio.gather(*tasks, return_exceptions=True):
        assert isinstance(error, Unavailable)
    with pytest.raises(Unavailable, match="stopping"):
        await batches.predict(["good"], ())


async def test_pairs_must_fit() -> None:
    for paired, pairs, words in ((False, ["x"], "single texts"), (True, [], "give text_pairs")):
        batches = PredictionBatches(Told(paired))
        with pytest.raises(InvalidInput, match=words) as refused:
            await batches.predict(["good"], pairs)
        assert refused.value.violations[0].field == "text_pairs"
        await batches.close()
