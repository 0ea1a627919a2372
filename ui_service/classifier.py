"""A classifier of a predict service, which visitors of the page may try."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol

from starlette.requests import Request

from mentorgrad.domain.prediction import Prediction, PredictorInfo, shifted
from mentorgrad.errors import InvalidInput
from ui_service import labelled_rows, messages
from ui_service.bodies import json_body
from ui_service.shared_reads import SharedReads

_MAX_BODY_BYTES = 1024 * 1024
_AT_ONCE = 4
"""Calls at a time."""
_PART_ROWS = 32
"""Rows of a table in a call: between two, others have their turn."""


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
        predicting = self._required()
        async with self._places:
            (found,) = await predicting.predict((text,), None if pair is None else (pair,))
        return messages.encoded({"prediction": messages.of_prediction(found)})

    async def compare(self, request: Request) -> bytes:
        """Predictions for rows whose labels are known, compared with these, as JSON.

        Args:
            request: Its body is that of `labelled_rows.of_body`.

        Raises:
            InvalidInput: It is not, or a row is not allowed, or there is no predict service.
            MentorgradError: The service does not answer.
        """
        rows = labelled_rows.of_body(await json_body(request, "texts", _MAX_BODY_BYTES))
        predicting = self._required()
        known = (await predicting.info()).labels
        expected = rows.label_indices(known)
        found: list[Prediction] = []
        while (at := len(found)) < len(rows.texts):
            part = slice(at, at + _PART_ROWS)
            pairs = None if rows.pairs is None else rows.pairs[part]
            async with self._places:
                try:
                    found += await predicting.predict(rows.texts[part], pairs)
                except InvalidInput as error:
                    raise shifted(error, at) from None
        return messages.encoded(labelled_rows.compared(known, expected, found))

    def _required(self) -> Predicting:
        if self._predicting is None:
            said = "this page has no classifier; start it with --predictor"
            raise InvalidInput(said, reason="NO_PREDICTOR")
        return self._predicting
