"""A classifier of a predict service, which visitors of the page may try."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol

from starlette.requests import Request

from mentorgrad.domain.prediction import Prediction, PredictorInfo
from mentorgrad.errors import InvalidInput
from ui_service import messages
from ui_service.bodies import json_body
from ui_service.shared_reads import SharedReads

_MAX_BODY_BYTES = 1024 * 1024
_AT_ONCE = 4
"""Texts that are predicted at a time."""


class Predicting(Protocol):
    """The calls of `mentorgrad.predict_client.AsyncPredictClient` that the page uses.

    Every method raises `MentorgradError`.
    """

    async def info(self) -> PredictorInfo:
        """Describes what the service predicts with."""
        ...

    async def predict(
        self, texts: Sequence[str], pairs: Sequence[str] | None = None
    ) -> tuple[Prediction, ...]:
        """Predicts the labels of some texts."""
        ...


class Classifier:
    """Predicts for visitors. For one event loop.

    Args:
        predicting: The predict service; None: there is none.
    """

    def __init__(self, predicting: Predicting | None) -> None:
        self._predicting = predicting
        self._shared: SharedReads[bytes] = SharedReads()
        self._places = asyncio.Semaphore(_AT_ONCE)

    @property
    def is_there(self) -> bool:
        """Whether there is a predict service."""
        return self._predicting is not None

    async def info(self) -> bytes:
        """What predicts, as JSON; null: there is no predict service.

        Raises:
            MentorgradError: The service does not answer.
        """
        predicting = self._predicting
        if predicting is None:
            return b'{"predictor":null}'

        async def read() -> bytes:
            return messages.encoded({"predictor": messages.of_predictor(await predicting.info())})

        return await self._shared.get("info", read)

    async def predict(self, request: Request) -> bytes:
        """The prediction for a text, as JSON.

        Args:
            request: Its body is ``{"text": "...", "pair": "..."}``; `pair` for a classifier of
                pairs alone.

        Raises:
            InvalidInput: It is not, or the text is not allowed, or there is no predict service.
            MentorgradError: The service does not answer.
        """
        body = await json_body(request, "text", _MAX_BODY_BYTES)
        text, pair = (body.get("text"), body.get("pair")) if isinstance(body, dict) else (0, 0)
        if not isinstance(text, str) or not isinstance(pair, str | None):
            raise InvalidInput.field("text", 'must be given, as {"text": "..."}')
        if self._predicting is None:
            said = "this page has no classifier; start it with --predictor"
            raise InvalidInput(said, reason="NO_PREDICTOR")
        async with self._places:
            (found,) = await self._predicting.predict((text,), None if pair is None else (pair,))
        return messages.encoded({"prediction": messages.of_prediction(found)})
