"""The proof that a request that does something comes from the page itself."""

from __future__ import annotations

import hmac
import secrets
from urllib.parse import urlsplit

from starlette.requests import Request

from mentorgrad.errors import PermissionDenied

TOKEN_HEADER = "mentorgrad-page-token"  # noqa: S105  # the header's name
"""Header with the token that the page gets from ``/session``."""


class PageTokens:
    """The token of each session, which only a script of the page can read.

    Another site can make a browser send a request with the session's cookie, but can read no
    response, and so does not know the token.
    """

    def __init__(self) -> None:
        self._secret = secrets.token_bytes(32)

    def of(self, session: str) -> str:
        """The token of a session.

        Args:
            session: The secret name of the visitor's session; empty: no login is required.
        """
        return hmac.digest(self._secret, session.encode(), "sha256").hex()

    def check(self, request: Request, session: str) -> None:
        """Checks that a request comes from the page, in a session.

        Raises:
            PermissionDenied: It does not (OTHER_SITE), or its token is not that of the session
                (PAGE_TOKEN): the session or the page's process is another one than it was.
        """
        if not _is_own(request):
            raise PermissionDenied("only the page itself may ask for this", reason="OTHER_SITE")
        given = request.headers.get(TOKEN_HEADER, "").encode()
        if not hmac.compare_digest(given, self.of(session).encode()):
            raise PermissionDenied("the page has changed; load it again", reason="PAGE_TOKEN")


def _is_own(request: Request) -> bool:
    """Whether a browser says that a request comes from the page. The scheme is not compared with
    plain HTTP, in front of which a proxy may have TLS."""
    try:
        origin = urlsplit(request.headers.get("origin", ""))
    except ValueError:  # no address that a browser has made
        return False
    schemes = ("https",) if request.url.scheme == "https" else ("https", "http")
    is_same = origin.netloc.lower() == request.headers.get("host", "").lower()
    return origin.scheme in schemes and is_same
