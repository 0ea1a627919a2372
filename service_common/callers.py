"""Who a call comes from: the owner that its runs belong to, and whose runs it sees."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass, field, replace

import grpc.aio
from structlog.contextvars import bind_contextvars, get_contextvars

from mentorgrad.domain.audit import CallOrigin
from service_common.tokens import Scope, TokenRecord


@dataclass(frozen=True)
class Caller:
    """Who a call comes from. What it creates belongs to its owner and its project."""

    owner: str
    """Owner of the caller's token, or the subject of its client certificate."""
    project: str = ""
    """Whose runs it sees and changes beside its owner's; empty: none."""
    is_admin: bool = False
    """Whether it sees and changes everybody's runs."""
    queue_limit: int | None = None
    """Maximum queued runs of the owner, for another one to be queued; None: the service's."""
    experiment_limit: int | None = None
    """Maximum running experiments of the owner, for another one to begin; None: the service's."""
    session_limit: int | None = None
    """Maximum open sessions of the owner with a mentor; None: the service's."""
    call_rate: float | None = None
    """Maximum calls per second of the owner; None: the service's."""
    run_limit: int | None = None
    """Maximum runs that the owner keeps, for another one to be created; None: the service's."""
    size_limit: int | None = None
    """Maximum bytes of the owner's ended runs, for another one to be created; None: the
    service's."""
    origin: CallOrigin | None = field(default=None, compare=False)
    """Where its present call comes from; None: it makes none."""
    is_service: bool = False
    """Whether it is a trainer service that asks a mentor for nobody in particular: it has no limits
    per owner."""
    is_relayed: bool = False
    """Whether a trainer service calls for it, on a connection that it uses for others, too."""

    @property
    def has_limits(self) -> bool:
        """Whether the service's limits per owner apply to it."""
        return not (self.is_admin or self.is_service)


LOCAL = Caller("local", is_admin=True)
"""A caller that need not say who it is: the service requires neither tokens nor client
certificates, as on loopback."""


def of_token(record: TokenRecord, on_behalf_of: str = "") -> Caller:
    """The caller that a token stands for.

    Args:
        record: The token.
        on_behalf_of: The owner that the call says it is made for; empty: none. Who else than a
            service says so is not believed.
    """
    if Scope.SERVICE in record.scopes:
        if on_behalf_of:
            return Caller(on_behalf_of, is_relayed=True)
        return Caller(record.owner, session_limit=record.session_limit, is_service=True)
    return Caller(
        record.owner,
        record.project,
        Scope.ADMIN in record.scopes,
        record.queue_limit,
        record.experiment_limit,
        record.session_limit,
        record.call_rate,
        record.run_limit,
        None if record.size_limit_mib is None else record.size_limit_mib << 20,
    )


def of_connection(context: grpc.aio.ServicerContext) -> Caller:
    """The caller without a token: the subject of the client certificate that TLS has verified, or
    `LOCAL`."""
    known = context.auth_context()
    if "x509_pem_cert" not in known:
        return LOCAL
    # A certificate may have alternative names only, and its subject is then empty.
    names = (*known.get("x509_subject", ()), *known.get("x509_subject_alternative_name", ()))
    name = next(filter(None, names), b"a certificate without names")
    return Caller(name.decode("utf-8", "replace"))


_present: ContextVar[Caller] = ContextVar("caller")


def current_caller() -> Caller:
    """The caller of the call that this code serves; known in threads of `asyncio.to_thread` too.

    Raises:
        LookupError: No call is being served.
    """
    return _present.get()


def enter(caller: Caller, name: str, address: str, method: str) -> None:
    """Makes this the caller of the present call, for its code and its log lines. Each call has a
    context of its own.

    Args:
        caller: The caller.
        name: Its name: that of its token, or the subject of its certificate.
        address: Its address.
        method: ``/package.Service/Method`` of the call.
    """
    call_id = str(get_contextvars().get("call_id", ""))
    origin = CallOrigin(name, address, method.rpartition("/")[2], call_id)
    _present.set(replace(caller, origin=origin))
    bind_contextvars(owner=caller.owner)
