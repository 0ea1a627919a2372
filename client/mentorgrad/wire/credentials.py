"""Client credentials: CA certificates, client certificate and bearer token."""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mentorgrad.errors import InvalidInput
from mentorgrad.paths import expanded
from mentorgrad.wire.addresses import is_local

AUTHORIZATION = "authorization"
"""Metadata key of the token, whose value is ``Bearer TOKEN``."""

ON_BEHALF_OF = "mentorgrad-owner-bin"
"""Metadata key of the owner that a service asks for; the value is the owner in UTF-8."""

PREFIX = "MENTORGRAD_"
"""Prefix of the environment variables."""


@dataclass(frozen=True)
class Credentials:
    """Credentials of a client. By default plaintext without a token.

    Files are read when a connection is opened (the token's at every call), so renewed files take
    effect without a restart.

    Raises:
        InvalidInput: Inconsistent or missing parts.
    """

    ca: Path | None = None
    """CA certificates (PEM file) to verify the service with; enables TLS. May be the system's CA
    bundle."""
    certificate: Path | None = None
    """Client certificate with its chain (PEM file), for mTLS."""
    key: Path | None = None
    """Private key of the client certificate (PEM file)."""
    token: str = field(default="", repr=False)
    """Bearer token."""
    token_file: Path | None = None
    """File with the bearer token, instead of `token`."""
    insecure: bool = False
    """Whether the token may be sent unencrypted to other machines."""
    on_behalf_of: str = ""
    """The owner of the run that a trainer service asks a mentor for, sent along with the token. A
    mentor heeds it if the token has the scope ``service``."""

    def __post_init__(self) -> None:
        for name in ("ca", "certificate", "key", "token_file"):
            if (path := getattr(self, name)) is not None:
                object.__setattr__(self, name, expanded(Path(path), name))
        if (self.certificate is None) != (self.key is None):
            raise InvalidInput.field("key", "certificate and key must be given together")
        if self.certificate is not None and self.ca is None:
            raise InvalidInput.field("ca", "is required with a client certificate")
        if self.token and self.token_file is not None:
            raise InvalidInput.field("token_file", "give token or token_file, not both")
        if self.token:  # files and Kubernetes secrets end with a line end
            object.__setattr__(self, "token", _check_token(self.token.strip(), "token"))

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Credentials:
        """Reads ``MENTORGRAD_CA``, ``_CERT``, ``_KEY``, ``_TOKEN``, ``_TOKEN_FILE``, ``_INSECURE``.

        ``_TOKEN_FILE`` takes precedence over ``_TOKEN``.

        Raises:
            InvalidInput: Inconsistent or missing parts.
        """

        def path(name: str) -> Path | None:
            text = environ.get(PREFIX + name)
            return Path(text) if text else None

        return cls(
            ca=path("CA"),
            certificate=path("CERT"),
            key=path("KEY"),
            token="" if path("TOKEN_FILE") else environ.get(PREFIX + "TOKEN", ""),
            token_file=path("TOKEN_FILE"),
            insecure=environ.get(PREFIX + "INSECURE", "").lower() in ("1", "true", "yes"),
        )

    @property
    def is_encrypted(self) -> bool:
        """Whether connections use TLS."""
        return self.ca is not None

    @property
    def has_token(self) -> bool:
        """Whether calls carry a token."""
        return bool(self.token) or self.token_file is not None

    def exposes_token(self, target: str) -> bool:
        """Whether a token would be sent to `target` unencrypted over the network."""
        return self.has_token and not (self.is_encrypted or is_local(target))

    def check_target(self, target: str) -> None:
        """Checks that a token would not be sent to `target` unencrypted.

        Raises:
            InvalidInput: It would, and `insecure` is not set (TOKEN_UNPROTECTED).
        """
        if self.exposes_token(target) and not self.insecure:
            raise InvalidInput.field(
                "token",
                f"would be sent to {target} unencrypted; give the CA of its certificate (ca), or "
                "set insecure if the network is trusted",
                reason="TOKEN_UNPROTECTED",
            )

    def bearer(self) -> str:
        """Returns the current token.

        Raises:
            InvalidInput: The token file cannot be read or contains no token.
        """
        if self.token_file is None:
            return self.token
        text = _read(self.token_file, "token_file").decode("utf-8-sig", "replace").strip()
        return _check_token(text, "token_file", f"{self.token_file} ")

    def metadata(self) -> tuple[tuple[str, str | bytes], ...]:
        """The metadata of a call that carries the token.

        Raises:
            InvalidInput: See `bearer`.
        """
        token = (AUTHORIZATION, f"Bearer {self.bearer()}")
        owner = (ON_BEHALF_OF, self.on_behalf_of.encode())
        return (token, owner) if self.on_behalf_of else (token,)

    def read(self) -> tuple[bytes | None, bytes | None, bytes | None]:
        """Reads CA certificates, private key and certificate chain, in PEM.

        Raises:
            InvalidInput: A file cannot be read or is not PEM, or key and certificate do not match.
        """
        return (
            read_authorities(self.ca, "ca") if self.ca is not None else None,
            *(
                read_pair(self.certificate, self.key, "certificate", "key")
                if self.certificate is not None and self.key is not None
                else (None, None)
            ),
        )


def read_authorities(path: Path, name: str) -> bytes:
    """Reads a file of CA certificates.

    Raises:
        InvalidInput: The file cannot be read or contains none; the violation's field is `name`.
    """
    data = _read(path, name)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=path)
    except (ssl.SSLError, OSError):
        raise InvalidInput.field(name, f"{path} contains no PEM certificates") from None
    return data


def read_pair(
    certificate: Path, key: Path, certificate_name: str, key_name: str
) -> tuple[bytes, bytes]:
    """Reads a private key and its certificate chain.

    Returns:
        Key and chain, in PEM.

    Raises:
        InvalidInput: A file cannot be read or is not PEM, or the two do not match.
    """
    chain, secret = _read(certificate, certificate_name), _read(key, key_name)
    try:
        # The callback prevents a password prompt on the terminal.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, lambda: "")
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise InvalidInput.field(
                key_name, f"{key} is not the key of the certificate {certificate}"
            ) from None
        raise InvalidInput.field(
            certificate_name, f"{certificate} and {key} contain no PEM certificate and key"
        ) from None
    return secret, chain


def _read(path: Path, name: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidInput.field(name, f"{path} cannot be read: {error.strerror}") from None


def _check_token(text: str, name: str, file: str = "") -> str:
    if not text.isascii() or not text.isprintable() or not text or " " in text:
        raise InvalidInput.field(name, f"{file}contains no token (one word of printable ASCII)")
    return text
