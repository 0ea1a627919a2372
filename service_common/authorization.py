"""Authorization by token: the scope of each method, and the interceptor that checks every call."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import grpc.aio
from structlog.contextvars import bind_contextvars

from mentorgrad.errors import MentorgradError, Unauthenticated
from mentorgrad.wire.credentials import AUTHORIZATION
from mentorgrad.wire.error_mapping import to_status
from service_common.call_log import Continuation, rewrap
from service_common.callers import enter, of_token
from service_common.token_file import TokenFile
from service_common.tokens import Scope

_FIRST = 1.0
"""How long a rejected stream waits for its first request, seconds."""

_AGAIN = 1.0
"""Interval at which the token of a long call is checked again, seconds."""

GrantCheck = Callable[[], str]
"""Returns the id of a call's token; raises `MentorgradError` if the token is not sufficient."""


def _of(service: str, scope: Scope, *methods: str) -> dict[str, Scope]:
    return {f"/{service}/{method}": scope for method in methods}


_TRAINER = "mentorgrad.v1.TrainerService"
_HISTORY = "mentorgrad.v1.HistoryService"
_EXPERIMENT = "mentorgrad.v1.ExperimentService"
_MENTOR = "mentorgrad.v1.MentorService"
_PREDICT = "mentorgrad.v1.PredictService"

SCOPES: dict[str, Scope] = {
    **_of(
        _HISTORY,
        Scope.READ,
        *("GetRun", "ListRuns", "StreamEvents", "GetTrajectory", "ListCandidates"),
        *("ListArtifacts", "CompareRuns", "ExportRun"),
    ),
    **_of(_TRAINER, Scope.READ, "GetTrainerInfo", "DownloadArtifact"),
    **_of(
        _TRAINER,
        Scope.RUN,
        "CreateRun",
        "CancelRun",
        "FinishRun",
        "PauseRun",
        "ResumeRun",
        "ImportRun",
    ),
    **_of(_TRAINER, Scope.RUN, "UploadData"),
    **_of(_TRAINER, Scope.ADMIN, "DeleteRun"),
    **_of(_EXPERIMENT, Scope.READ, "GetExperiment", "ListExperiments", "GetReport"),
    **_of(_EXPERIMENT, Scope.RUN, "CreateExperiment", "CancelExperiment"),
    **_of(_MENTOR, Scope.READ, "GetMentorInfo"),
    **_of(_MENTOR, Scope.RUN, "Advise", "Propose"),
    **_of(_PREDICT, Scope.PREDICT, "Predict", "PredictStream", "GetPredictorInfo"),
    **_of("grpc.reflection.v1alpha.ServerReflection", Scope.READ, "ServerReflectionInfo"),
    **_of("grpc.reflection.v1.ServerReflection", Scope.READ, "ServerReflectionInfo"),
}
"""Method → scope required to call it. A method that is not listed requires ``admin``."""

OPEN = "/grpc.health.v1.Health/"
"""Health checks need no token: supervisors and load balancers have none, and the response only says
whether a service can serve."""


class Authorization(grpc.aio.ServerInterceptor):
    """Rejects calls without a token of sufficient scope, before reading the request.

    A call whose token expires or is revoked meanwhile is ended within seconds.

    Args:
        tokens: The accepted tokens.
    """

    def __init__(self, tokens: TokenFile) -> None:
        self._tokens = tokens

    async def intercept_service(
        self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> Any:
        """Wraps the handler of one call."""
        handler = await continuation(handler_call_details)
        method = handler_call_details.method
        if handler is None or method.startswith(OPEN):
            return handler
        scope = SCOPES.get(method, Scope.ADMIN)
        metadata = handler_call_details.invocation_metadata

        def check() -> str:
            record = self._tokens.authenticate(_bearer(metadata))
            record.require(scope, method.rpartition("/")[2])
            enter(of_token(record))
            return record.token_id

        streams = handler.request_streaming
        return rewrap(
            handler,
            lambda function: _checked_unary(function, check, streams),
            lambda function: _checked_stream(function, check, streams),
        )


def _checked_unary(
    function: Callable[..., Awaitable[Any]], check: GrantCheck, takes_stream: bool
) -> Callable[..., Any]:
    async def checked(request: Any, context: grpc.aio.ServicerContext) -> Any:
        async with _refusing(context):
            bind_contextvars(token_id=check())
            if not takes_stream:
                return await function(request, context)
            with _Grant(check) as grant:
                async with grant.waiting():
                    return await function(request, context)

    return checked


def _checked_stream(
    function: Callable[..., Any], check: GrantCheck, takes_stream: bool
) -> Callable[..., Any]:
    async def checked(request: Any, context: grpc.aio.ServicerContext) -> AsyncIterator[Any]:
        async with _refusing(context):
            try:
                token_id = check()
            except MentorgradError:
                if takes_stream:
                    await _taken(request)
                raise
            bind_contextvars(token_id=token_id)
            with _Grant(check) as grant:
                async with contextlib.aclosing(function(request, context)) as responses:
                    while True:
                        async with grant.waiting():
                            response = await anext(responses, None)
                        if response is None:
                            return
                        yield response

    return checked


class _Grant:
    """The permission of a long call: checked again every second. If the token is not valid any
    more, the call's current wait is cancelled."""

    def __init__(self, check: GrantCheck) -> None:
        self._check = check
        self._loop = asyncio.get_running_loop()
        self._error: MentorgradError | None = None
        self._scope: asyncio.Timeout | None = None

    def __enter__(self) -> _Grant:
        self._timer = self._loop.call_later(_AGAIN, self._look)
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()

    def _look(self) -> None:
        try:
            self._check()
        except MentorgradError as error:
            self._error = error
            if self._scope is not None:
                self._scope.reschedule(self._loop.time())
        else:
            self._timer = self._loop.call_later(_AGAIN, self._look)

    @contextlib.asynccontextmanager
    async def waiting(self) -> AsyncIterator[None]:
        """Wraps one wait of the call.

        Raises:
            MentorgradError: The token is not valid any more.
        """
        if self._error is not None:
            raise self._error
        try:
            async with asyncio.timeout(None) as self._scope:
                yield
        except TimeoutError:
            if self._error is not None:
                raise self._error from None
            raise
        finally:
            self._scope = None


@contextlib.asynccontextmanager
async def _refusing(context: grpc.aio.ServicerContext) -> AsyncIterator[None]:
    try:
        yield
    except MentorgradError as error:
        bind_contextvars(reason=error.reason, message=error.message)
        await context.abort_with_status(to_status(error))


async def _taken(requests: AsyncIterator[bytes]) -> None:
    """Waits briefly for the first request without reading it. If the server rejects the call while
    an asyncio client is writing its request, the client gets an internal error instead."""
    with contextlib.suppress(TimeoutError, StopAsyncIteration):
        async with asyncio.timeout(_FIRST):
            await anext(aiter(requests))


def _bearer(metadata: Any) -> str:
    """The token of a call.

    Raises:
        Unauthenticated: The call has no token (TOKEN_MISSING).
    """
    found = [value for key, value in metadata or () if key == AUTHORIZATION]
    scheme, _, token = str(found[0]).partition(" ") if len(found) == 1 else ("", "", "")
    if scheme.lower() != "bearer" or not token:
        raise Unauthenticated(
            "this service requires a token, in the metadata `authorization: Bearer TOKEN`",
            reason="TOKEN_MISSING",
        )
    return token.strip()
