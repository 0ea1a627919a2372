"""The tokens accepted by a service, reloaded when the file changes."""

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
    """Checks the file at every call, so that a revocation takes effect at once.

    If the file is deleted, no token is valid. If it cannot be parsed (which only a manual edit can
    cause) or temporarily not be read, the tokens of its last valid state remain valid.

    Args:
        path: See `service_common.tokens`.

    Raises:
        InvalidInput: The file cannot be read or is not a token file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp = stamp([path])
        self._refused: Stamp | None = ()
        self._records = tokens.load(path)

    def authenticate(self, token: str) -> TokenRecord:
        """The record of a valid token.

        Raises:
            Unauthenticated: It is not valid (TOKEN_UNKNOWN, TOKEN_REVOKED, TOKEN_EXPIRED).
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
            if not self._path.is_file():  # to open a pipe would wait for its other end
                raise InvalidInput.field("tokens", f"{self._path} is not a file")
            self._records = tokens.load(self._path)
        except InvalidInput as error:
            # Read again at the next call: the unread change may be a revocation.
            if now != self._refused:
                self._refused = now
                log.error("tokens_kept", reason=error.message)
            return
        self._stamp = now
        log.info("tokens_read", path=str(self._path), tokens=len(self._records))
