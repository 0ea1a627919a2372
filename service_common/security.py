"""TLS and authentication of a service, and the check that its address is protected enough."""

from __future__ import annotations

from dataclasses import dataclass

import structlog

from mentorgrad.errors import InvalidInput
from mentorgrad.wire.addresses import check_address, is_loopback
from service_common.settings import ListenerSettings
from service_common.tls import ServerCertificates
from service_common.token_file import TokenFile
from service_common.tokens import PREFIX, AcceptedTokens, TokenRecord

log = structlog.get_logger(__name__)

_OF_PROVIDER = ("oidc_issuer", "oidc_audience", "oidc_scope", "oidc_keys")
"""Settings of which one says that there is an identity provider."""


@dataclass(frozen=True)
class Security:
    """TLS and authentication of a server. Without both: plaintext, open to any client."""

    certificates: ServerCertificates | None = None
    """Server certificates for TLS; None: plaintext."""
    tokens: AcceptedTokens | None = None
    """The accepted tokens; None: no authentication by token."""
    owner_call_rate: float | None = None
    """Maximum calls per second of one owner; None: no limit."""


def protect(settings: ListenerSettings) -> Security:
    """Reads certificates and tokens, and rejects an address that is reachable without protection.

    Raises:
        InvalidInput: A setting or a file is invalid, or the address requires TLS or authentication.
    """
    certificate, key = settings.tls_certificate, settings.tls_key
    if certificate is None or key is None:
        if certificate is not None or key is not None:
            raise InvalidInput.field("tls_key", "a certificate and its key must be given together")
        if settings.tls_client_ca is not None:
            raise InvalidInput.field("tls_client_ca", "also needs tls_certificate and tls_key")
        certificates = None
    else:
        certificates = ServerCertificates(certificate, key, settings.tls_client_ca)
    tokens = _tokens(settings)
    missing = []
    if certificates is None:
        missing.append("TLS (tls_certificate, tls_key)")
    if tokens is None and settings.tls_client_ca is None:
        missing.append("tokens, a client CA (tls_client_ca) or an identity provider (oidc_issuer)")
    check_listen(settings.listen, settings.insecure, missing)
    return Security(certificates, tokens, settings.owner_call_rate)


@dataclass(frozen=True)
class TokensOfBoth:
    """Tokens of the service's own, and of an identity provider; they differ in form."""

    own: AcceptedTokens
    provided: AcceptedTokens

    def authenticate(self, token: str) -> TokenRecord:
        """See `AcceptedTokens`."""
        return (self.own if token.startswith(PREFIX) else self.provided).authenticate(token)


def _tokens(settings: ListenerSettings) -> AcceptedTokens | None:
    own = TokenFile(settings.tokens) if settings.tokens is not None else None
    provided = _provided(settings)
    if own is not None and provided is not None:
        return TokensOfBoth(own, provided)
    return own or provided


def _provided(settings: ListenerSettings) -> AcceptedTokens | None:
    """The tokens of an identity provider; None: the settings name none."""
    if not any(getattr(settings, name) for name in _OF_PROVIDER):
        return None
    # Its libraries for HTTP and for keys are a tenth of what other services import.
    from service_common.identity_provider import tokens_of_provider

    return tokens_of_provider(settings)


def check_listen(address: str, insecure: bool, missing: list[str]) -> None:
    """Rejects an address that other machines can reach, unless it is protected.

    Args:
        address: ``HOST:PORT``.
        insecure: Allow an unprotected address.
        missing: Protection that is required but not configured.

    Raises:
        InvalidInput: The address is malformed, or other machines can reach it unprotected.
    """
    host, _, _ = check_address("listen", address, listens=True).rpartition(":")
    if not missing or is_loopback(address):
        return
    if not insecure:
        raise InvalidInput.field(
            "listen",
            f"{host} is reachable from other machines: set {' and '.join(missing)}, "
            "listen on 127.0.0.1, or pass --insecure if the network is trusted",
        )
    log.warning("listening_insecurely", address=address, missing=missing)
