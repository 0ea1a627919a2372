"""gRPC servicer of PredictService: converts messages to and from the domain's dataclasses."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from typing import Any

from mentorgrad import __version__
from mentorgrad.domain.prediction import (
    PredictInput,
    Prediction,
    PredictorInfo,
    PredictStreamInput,
    shifted,
)
from mentorgrad.errors import InvalidInput
from mentorgrad.v1 import predict_service_pb2 as pb
from mentorgrad.v1.predict_service_pb2_grpc import PredictServiceServicer
from mentorgrad.wire.codec import to_message
from service_common.decoding import validated
from trainer_service.prediction.batching import PredictedTexts, PredictionBatches

SERVICE = "mentorgrad.v1.PredictService"
"""Full name of the service, for health checks and reflection."""

_PART = 256
"""Texts of a stream that are predicted together; the parts of concurrent calls take turns."""


class PredictServicer(PredictServiceServicer):
    """gRPC servicer of PredictService.

    Args:
        batches: Predicts.
        info: What it predicts with.
    """

    def __init__(self, batches: PredictionBatches, info: PredictorInfo) -> None:
        self._batches = batches
        self._info = replace(
            info,
            version=__version__,
            max_texts=PredictInput.MAX_TEXTS,
            max_bytes=PredictInput.MAX_BYTES,
        )

    async def Predict(self, request: Any, context: Any) -> Any:  # noqa: N802 - the name on the wire
        """Predicts the labels of some texts."""
        asked = await validated(PredictInput, request)
        found = await self._batches.predict(asked.texts, asked.text_pairs)
        return pb.PredictResponse(predictions=self._predictions(found))

    async def PredictStream(  # noqa: N802
        self, request: Any, context: Any
    ) -> AsyncIterator[Any]:
        """Predicts the labels of many texts, in parts."""
        asked = await validated(PredictStreamInput, request)
        parts: deque[asyncio.Task[PredictedTexts]] = deque()
        try:
            for begin in range(0, len(asked.texts), _PART):
                parts.append(asyncio.create_task(self._part(asked, begin)))
                if len(parts) > 1:  # one waits while another is sent, so that no time is lost
                    yield self._streamed(await parts.popleft())
            while parts:
                yield self._streamed(await parts.popleft())
        finally:
            for part in parts:
                part.cancel()
            await asyncio.gather(*parts, return_exceptions=True)

    async def GetPredictorInfo(self, request: Any, context: Any) -> Any:  # noqa: N802
        """Describes what the service predicts with."""
        return pb.GetPredictorInfoResponse(info=to_message(self._info))

    async def _part(self, asked: PredictInput, begin: int) -> PredictedTexts:
        part = slice(begin, begin + _PART)
        try:
            return await self._batches.predict(asked.texts[part], asked.text_pairs[part])
        except InvalidInput as error:
            raise shifted(error, begin) from None

    def _streamed(self, found: PredictedTexts) -> Any:
        return pb.PredictStreamResponse(predictions=self._predictions(found))

    def _predictions(self, found: PredictedTexts) -> Iterator[Any]:
        for row, is_cut in zip(found.shares, found.is_cut.tolist(), strict=True):
            best = int(row.argmax())
            label, shares = self._info.labels[best], tuple(row.tolist())
            yield to_message(Prediction(label, best, shares, is_cut))
