"""Logins by token. A session lies in memory, and ends with its token or after eight hours."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from mentorgrad.errors import Unauthenticated
from service_common.places import Rates
from service_common.tokens import AcceptedTokens, Scope, TokenRecord

log = structlog.get_logger(__name__)

LOGIN_SECONDS = 8 * 3600.0
"""Time after which a session ends."""

_MAX_LOGINS = 1_000
"""Maximum number of sessions; a further one ends the oldest."""

_PER_ADDRESS, _PER_SECOND = 1.0, 20.0
"""Attempts per second: of one address, and of all together."""

_ALL = "all addresses"


@dataclass(frozen=True)
class _Login:
    """A session."""

    token: str
    """Checked at each request: a revoked one ends the session."""
    until: float
    """When it ends, by the clock of `Logins`."""


class Logins:
    """The sessions of a page. For one event loop.

    Args:
        tokens: The accepted tokens.
        owner_call_rate: Maximum requests per second of one owner.
        clock: Returns a time, in seconds.
    """

    def __init__(
        self,
        tokens: AcceptedTokens,
        owner_call_rate: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._tokens, self._owner_call_rate, self._clock = tokens, owner_call_rate, clock
        self._logins: dict[str, _Login] = {}
        self._attempts, self._calls = Rates(clock), Rates(clock)

    def begin(self, token: str, address: str) -> str:
        """Begins a session.

        Args:
            token: A token with the scope ``read``.
            address: Where the attempt comes from.

        Returns:
            The session's secret name.

        Raises:
            ResourceExhausted: There have been too many attempts.
            Unauthenticated: The token is not valid.
            PermissionDenied: It lacks the scope.
            Unavailable: That cannot be found out at present.
        """
        self._attempts.count(address, _PER_ADDRESS)
        self._attempts.count(_ALL, _PER_SECOND)
        record = self._read(token)
        if len(self._logins) >= _MAX_LOGINS:
            del self._logins[next(iter(self._logins))]
        name = secrets.token_urlsafe(32)
        self._logins[name] = _Login(token, self._clock() + LOGIN_SECONDS)
        log.info("logged_in", owner=record.owner, token=record.token_id, address=address)
        return name

    def end(self, name: str) -> None:
        """Ends a session; one that is none is not an error."""
        self._logins.pop(name, None)

    def check(self, name: str) -> TokenRecord:
        """The token's record of a session.

        Raises:
            Unauthenticated: There is no such session (LOGIN_REQUIRED), or its token is not valid
                any more.
            Unavailable: That cannot be found out at present.
        """
        login = self._logins.get(name)
        if login is not None and login.until <= self._clock():
            self.end(name)
            login = None
        if login is None:
            raise Unauthenticated("log in first", reason="LOGIN_REQUIRED")
        try:
            return self._read(login.token)
        except Unauthenticated:
            self.end(name)
            raise

    def token(self, name: str) -> str:
        """The token of a session.

        Raises:
            Unauthenticated: See `check`.
        """
        self.check(name)
        return self._logins[name].token

    def count(self, record: TokenRecord) -> None:
        """Counts a request of an owner; administrators have no limit, as with the services.

        Raises:
            ResourceExhausted: There have been too many.
        """
        if Scope.ADMIN not in record.scopes:
            self._calls.count(record.owner, record.call_rate or self._owner_call_rate)

    def _read(self, token: str) -> TokenRecord:
        record = self._tokens.authenticate(token)
        record.require(Scope.READ, "the page")
        return record
