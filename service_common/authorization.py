"""Who calls, and whether they may: the scope of each method, and the check of a call's token."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator, Callable
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Any
from urllib.parse import unquote

from structlog.contextvars import bind_contextvars

from mentorgrad.errors import InvalidInput, MentorgradError, Unauthenticated
from mentorgrad.wire.credentials import AUTHORIZATION, ON_BEHALF_OF
from service_common.callers import LOCAL, enter, of_connection, of_token
from service_common.places import Holder
from service_common.tokens import MAX_OWNER_BYTES, AcceptedTokens, Scope, TokenRecord

_AGAIN = 1.0
"""Interval at which the token of a long call is checked again, seconds."""

GrantCheck = Callable[[], object]
"""Raises `MentorgradError` if a call's token is not sufficient (any more)."""


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
        *("ListArtifacts", "CompareRuns", "ExportRun", "ListWorkers"),
    ),
    **_of(_HISTORY, Scope.ADMIN, "ListAudit"),
    **_of(_TRAINER, Scope.READ, "GetTrainerInfo", "DownloadArtifact"),
    **_of(
        _TRAINER,
        Scope.RUN,
        "CreateRun",
        "CancelRun",
        "FinishRun",
        "PauseRun",
        "ResumeRun",
        "UpdateRun",
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

CHANGES = frozenset(
    method
    for method, scope in SCOPES.items()
    if method.startswith((f"/{_TRAINER}/", f"/{_EXPERIMENT}/")) and scope.includes(Scope.RUN)
)
"""Methods that change records."""

FOR_SERVICES = f"/{_MENTOR}/"
"""The methods that a token of the scope ``service`` may call."""

OPEN = "/grpc.health.v1.Health/"
"""Health checks need no token: supervisors and load balancers have none, and the response only says
whether a service can serve."""


class Authenticator:
    """Finds out who calls, and whether they may.

    Args:
        tokens: The accepted tokens; None: every caller may call everything.
    """

    def __init__(self, tokens: AcceptedTokens | None) -> None:
        self._tokens = tokens

    def enter(self, method: str, metadata: Any, context: Any) -> tuple[Holder, GrantCheck | None]:
        """Makes the caller of a method the present one (`callers.enter`).

        Returns:
            Whom the call is counted for, and the check of the caller's permission if that can end
            meanwhile.

        Raises:
            Unauthenticated: The call has no token, or one that is not valid.
            PermissionDenied: The token lacks the scope.
            Unavailable: Whether the token is valid cannot be found out at present.
        """
        peer = context.peer()
        if self._tokens is None:
            caller = of_connection(context)
            enter(caller, caller.owner, address_of(peer), method)
            return stranger(peer) if caller is LOCAL else Holder(caller.owner), None
        record = self._tokens.authenticate(_bearer(metadata))
        bind_contextvars(token_id=record.token_id)
        caller = of_token(record, _on_behalf_of(metadata))
        enter(caller, record.name, address_of(peer), method)
        _check_scope(record, method)
        check = functools.partial(_check, self._tokens, method, metadata)
        return Holder(caller.owner, caller.is_admin), check


def _check(tokens: AcceptedTokens, method: str, metadata: Any) -> None:
    _check_scope(tokens.authenticate(_bearer(metadata)), method)


def _check_scope(record: TokenRecord, method: str) -> None:
    needed = SCOPES.get(method, Scope.ADMIN)
    if Scope.SERVICE in record.scopes and method.startswith(FOR_SERVICES):
        needed = Scope.SERVICE
    record.require(needed, method.rpartition("/")[2])


def stranger(peer: str) -> Holder:
    """Somebody who has not shown who they are, by their address."""
    return Holder(f"address {address_of(peer)}")


def address_of(peer: str) -> str:
    """The address of a peer, without the port: of ``ipv4:10.0.0.5:50312`` it is ``10.0.0.5``. Of an
    IPv6 address it is the network of 64 bits, since whoever has one has all of it."""
    host = unquote(peer).partition(":")[2].rpartition(":")[0].strip("[]").partition("%")[0]
    try:
        address = ip_address(host)
    except ValueError:
        return host or peer
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is None:
            return str(ip_network((address, 64), strict=False))
        address = address.ipv4_mapped
    return str(address)


class Grant:
    """The permission of a long call: checked again every second. If the token is not valid any
    more, the call's current wait is cancelled.

    Args:
        check: The check; None: the permission does not end.
    """

    def __init__(self, check: GrantCheck | None) -> None:
        self._check = check
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._error: MentorgradError | None = None
        self._scope: asyncio.Timeout | None = None

    def __enter__(self) -> Grant:
        self._later()
        return self

    def __exit__(self, *_: object) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _later(self) -> None:
        if self._check is not None:
            self._timer = self._loop.call_later(_AGAIN, self._look, self._check)

    def _look(self, check: GrantCheck) -> None:
        try:
            check()
        except MentorgradError as error:
            self._error = error
            if self._scope is not None:
                self._scope.reschedule(self._loop.time())
        else:
            self._later()

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


def _on_behalf_of(metadata: Any) -> str:
    """The owner that a call says it is made for; empty: none.

    Raises:
        InvalidInput: It is too long, or not text.
    """
    found = b"".join(value for key, value in metadata or () if key == ON_BEHALF_OF)
    owner = found.decode("utf-8", "replace")
    if len(found) > MAX_OWNER_BYTES or not owner.isprintable():
        raise InvalidInput.field(
            ON_BEHALF_OF, f"must be at most {MAX_OWNER_BYTES} bytes of printable UTF-8"
        )
    return owner
