"""Predicts the texts of concurrent calls together, outside of the event loop."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mentorgrad.errors import InvalidInput, MentorgradError, ResourceExhausted, Unavailable
from mentorgrad.predictor import Predictor

TEXTS_AT_ONCE = 1024
"""Texts that are predicted together, at most, unless a single call has more."""


@dataclass(frozen=True, eq=False)
class PredictedTexts:
    """What was predicted for some texts."""

    shares: NDArray[np.float64]
    """Probabilities of the labels, [texts, labels]."""
    is_cut: NDArray[np.bool_]
    """Whether each text was cut, [texts]."""

    def of(self, texts: slice) -> PredictedTexts:
        """What was predicted for some of the texts."""
        return PredictedTexts(self.shares[texts], self.is_cut[texts])


@dataclass(eq=False)
class _Waiting:
    """Texts that wait."""

    texts: Sequence[str]
    pairs: Sequence[str]
    outcome: asyncio.Future[PredictedTexts]


class PredictionBatches:
    """A predictor for concurrent calls. While it predicts, calls wait; then it takes all that wait,
    in order, up to `texts_at_once`.

    One thread predicts, as `Predictor` needs it. Bound to one event loop. Owns the predictor.

    Args:
        predictor: Predicts.
        texts_at_once: Texts that are predicted together, at most.
        queue_limit: Maximum number of texts that wait.
        predicted: Called with the number of texts that were predicted together.
    """

    def __init__(
        self,
        predictor: Predictor,
        *,
        texts_at_once: int = TEXTS_AT_ONCE,
        queue_limit: int = 1 << 14,
        predicted: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._predictor = predictor
        self._at_once = texts_at_once
        self._limit = queue_limit
        self._predicted = predicted
        self._calls: deque[_Waiting] = deque()
        self._arrived = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="predict")
        self._task: asyncio.Task[None] | None = None
        self._closed = False
        self._has_failed = False

    @property
    def waiting(self) -> int:
        """Number of texts that wait."""
        return sum(len(call.texts) for call in self._calls)

    async def predict(self, texts: Sequence[str], pairs: Sequence[str]) -> PredictedTexts:
        """Predicts the labels of some texts.

        Args:
            texts: The texts.
            pairs: Their second texts; none for a classifier of single texts.

        Raises:
            InvalidInput: A text cannot be predicted, or `pairs` does not fit; names the field.
            ResourceExhausted: Too many texts wait.
            Unavailable: The service is about to stop, or a served model does not answer.
        """
        if self._predictor.is_paired is not bool(pairs) and texts:
            needed = "pairs of texts: give text_pairs" if not pairs else "single texts"
            raise InvalidInput.field("text_pairs", f"this classifier is for {needed}")
        if self._closed:
            raise _closing()
        waiting = self.waiting
        if waiting and waiting + len(texts) > self._limit:
            raise ResourceExhausted(f"{waiting} texts wait already", reason="PREDICTOR_BUSY")
        call = _Waiting(texts, pairs, asyncio.get_running_loop().create_future())
        self._calls.append(call)
        self._arrived.set()
        if self._task is None:
            self._task = asyncio.create_task(self._run())
        return await call.outcome

    async def check(self) -> None:
        """The health check: if the last prediction failed, for another reason than its texts,
        predicts one text.

        Raises:
            MentorgradError: It fails again, or has to wait for too many texts.
        """
        if not self._has_failed or self._closed:
            return
        try:
            await self.predict([""], [""] if self._predictor.is_paired else [])
        except MentorgradError:
            raise
        except Exception as error:
            raise Unavailable(f"the last prediction failed, and so does another: {error}") from None

    async def close(self) -> None:
        """Fails the calls that wait, and frees the predictor; idempotent."""
        self._closed = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        _fail(self._calls, _closing())
        self._calls.clear()
        await asyncio.get_running_loop().run_in_executor(self._thread, self._predictor.close)
        self._thread.shutdown(wait=False)

    async def _run(self) -> None:
        while True:
            await self._arrived.wait()
            group = self._next()
            if not group:
                self._arrived.clear()
                continue
            try:
                await self._answer(group)
            finally:  # of those that closing has cut short
                _fail(group, _closing())

    def _next(self) -> list[_Waiting]:
        """The calls to predict together; calls that nobody waits for any more are left out."""
        group: list[_Waiting] = []
        texts = 0
        while self._calls and (not group or texts + len(self._calls[0].texts) <= self._at_once):
            call = self._calls.popleft()
            if not call.outcome.done():
                group.append(call)
                texts += len(call.texts)
        return group

    async def _answer(self, group: Sequence[_Waiting]) -> None:
        try:
            found = await self._in_thread(group)
        except InvalidInput as error:
            if len(group) == 1:
                _fail(group, _with_field(error))
            else:  # of one of them; which one is seen by asking for each alone
                for call in group:
                    await self._answer([call])
        except Exception as error:
            self._has_failed = True
            _fail(group, error)
        else:
            self._has_failed = False
            self._predicted(len(found.shares))
            start = 0
            for call in group:
                end = start + len(call.texts)
                if not call.outcome.done():
                    call.outcome.set_result(found.of(slice(start, end)))
                start = end

    async def _in_thread(self, group: Sequence[_Waiting]) -> PredictedTexts:
        texts = [text for call in group for text in call.texts]
        pairs = [pair for call in group for pair in call.pairs]
        given = pairs if self._predictor.is_paired else None

        def predicted() -> PredictedTexts:
            shares = self._predictor.predict_proba(texts, given)
            is_cut = np.zeros(len(texts), dtype=np.bool_)
            is_cut[list(self._predictor.cut_texts)] = True
            return PredictedTexts(shares, is_cut)

        return await asyncio.get_running_loop().run_in_executor(self._thread, predicted)


def _closing() -> Unavailable:
    return Unavailable("the predictor is stopping", reason="PREDICTOR_CLOSING")


def _with_field(error: InvalidInput) -> InvalidInput:
    """The error with a field, which a predictor does not always know."""
    if error.violations:
        return error
    return InvalidInput.field("texts", error.message, reason=error.reason)


def _fail(group: Iterable[_Waiting], error: Exception) -> None:
    for call in group:
        if not call.outcome.done():
            call.outcome.set_exception(error)
