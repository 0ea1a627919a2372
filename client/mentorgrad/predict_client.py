"""Asyncio client of a predict service."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import aclosing
from itertools import repeat
from typing import Any, cast

from mentorgrad.domain.prediction import (
    PredictInput,
    Prediction,
    PredictorInfo,
    PredictStreamInput,
    check_sequences,
    shifted,
)
from mentorgrad.errors import InvalidInput
from mentorgrad.field_limits import check
from mentorgrad.v1 import predict_service_pb2 as pb
from mentorgrad.v1.predict_service_pb2_grpc import PredictServiceStub
from mentorgrad.wire.codec import fill, from_message
from mentorgrad.wire.connection import Connection, ServiceClient
from mentorgrad.wire.credentials import Credentials

DEFAULT_PREDICTOR = "127.0.0.1:50553"
"""Default address of a predict service."""

_PART_TEXTS = 4096
"""Texts that are sent at once."""


class AsyncPredictClient(ServiceClient):
    """Asyncio client of one predict service, for one event loop.

    Args:
        target: ``HOST:PORT`` of the predict service.
        timeout: Timeout of a call, seconds.
        stream_timeout: Timeout of one stream, seconds.
        credentials: TLS certificates and token; None: plaintext without a token.
    """

    def __init__(
        self,
        target: str = DEFAULT_PREDICTOR,
        *,
        timeout: float = 30.0,
        stream_timeout: float = 600.0,
        credentials: Credentials | None = None,
    ) -> None:
        super().__init__(Connection(target, credentials), timeout, stream_timeout)

    async def predict(
        self, texts: Sequence[str], pairs: Sequence[str] | None = None
    ) -> tuple[Prediction, ...]:
        """Predicts the labels of some texts, in one call.

        Args:
            texts: The texts: at most 1024, and 1,000,000 bytes.
            pairs: Their second texts, for a classifier of pairs.

        Raises:
            InvalidInput: A text or the number of texts is not allowed; the violations name them.
        """
        asked = check(PredictInput(cast(Any, texts), cast(Any, () if pairs is None else pairs)))
        response = await self._call(PredictServiceStub, "Predict", fill(pb.PredictRequest(), asked))
        return tuple(from_message(Prediction, one) for one in response.predictions)

    async def predict_stream(
        self, texts: Iterable[str], pairs: Iterable[str] | None = None
    ) -> AsyncIterator[Prediction]:
        """Yields the predictions of any number of texts, in their order, as the service has them.

        Args:
            texts: The texts; they are sent in parts, so that few are held.
            pairs: Their second texts, for a classifier of pairs.

        Raises:
            InvalidInput: As in `predict`; an index is that of the text among all.
        """
        begin = 0
        for part in _parts(texts, pairs):
            try:
                request = fill(pb.PredictStreamRequest(), check(part))
                responses = self._transfer(PredictServiceStub, "PredictStream", request)
                async with aclosing(responses):
                    async for response in responses:
                        for one in response.predictions:
                            yield from_message(Prediction, one)
            except InvalidInput as error:
                raise shifted(error, begin) from None
            begin += len(part.texts)

    async def info(self) -> PredictorInfo:
        """Describes what the service predicts with."""
        request = pb.GetPredictorInfoRequest()
        response = await self._call(PredictServiceStub, "GetPredictorInfo", request)
        return from_message(PredictorInfo, response.info)


def _parts(texts: Iterable[str], pairs: Iterable[str] | None) -> Iterator[PredictStreamInput]:
    """The texts in parts that a call may have."""
    part: list[tuple[str, str]] = []
    size = 0
    for text, pair in _rows(texts, pairs):
        needed = 4 * (len(str(text)) + len(str(pair)))  # bytes in UTF-8, at most
        if len(part) == _PART_TEXTS or (part and size + needed > PredictStreamInput.MAX_BYTES):
            yield _part(part, pairs is not None)
            part, size = [], 0
        part.append((text, pair))
        size += needed
    if part:
        yield _part(part, pairs is not None)


def _part(rows: Sequence[tuple[str, str]], paired: bool) -> PredictStreamInput:
    texts = tuple(text for text, _ in rows)
    return PredictStreamInput(texts, tuple(pair for _, pair in rows) if paired else ())


def _rows(texts: Iterable[str], pairs: Iterable[str] | None) -> Iterator[tuple[str, str]]:
    check_sequences(texts, pairs)
    try:
        yield from zip(texts, repeat("") if pairs is None else pairs, strict=pairs is not None)
    except ValueError:
        raise InvalidInput("there must be as many pairs as texts") from None
