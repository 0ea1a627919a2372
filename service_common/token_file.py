"""The tokens that a service takes, as its file has them at this moment."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import structlog

from mentorgrad.errors import InvalidInput
from service_common import tokens
from service_common.tls import Stamp, stamp
from service_common.tokens import TokenRecord

log = structlog.get_logger(__name__)


class TokenFile:
    """Looks at the file before every answer, so that a revocation counts at once.

    A file that is gone takes every token with it. One that cannot be understood, which nothing but
    a hand that edits it can cause, or cannot be read for the moment, leaves those of its last good
    state until it can.

    Args:
        path: See `service_common.tokens`.

    Raises:
        InvalidInput: It cannot be read or is no such file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp = stamp([path])
        self._refused: Stamp | None = ()
        self._records = tokens.load(path)

    def authenticate(self, token: str) -> TokenRecord:
        """The record of a token that counts.

        Raises:
            Unauthenticated: It does not (TOKEN_UNKNOWN, TOKEN_REVOKED, TOKEN_EXPIRED).
        """
        self._look()
        record = tokens.find(self._records, token)
        record.check(datetime.now(UTC))
        return record

    def _look(self) -> None:
        now = stamp([self._path])
        if now == self._stamp:
            return
        if now is None:
            self._stamp, self._records = now, ()
            log.error("tokens_gone", path=str(self._path))
            return
        try:
            self._records = tokens.load(self._path)
        except InvalidInput as error:
            # Tried again at the next call: what could not be read may be a revocation.
            if now != self._refused:
                self._refused = now
                log.error("tokens_kept", reason=error.message)
            return
        self._stamp = now
        log.info("tokens_read", path=str(self._path), tokens=len(self._records))
