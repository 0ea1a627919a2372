"""What a client proves itself with, and whom it believes: certificates and a bearer token."""

from __future__ import annotations

import ipaddress
import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mentorgrad.errors import InvalidInput

AUTHORIZATION = "authorization"
"""Key of the metadata that a token travels under, as ``Bearer TOKEN``."""

PREFIX = "MENTORGRAD_"
"""Of the environment's variables."""


@dataclass(frozen=True)
class Credentials:
    """How a client reaches a service. Nothing given: plaintext, and no token.

    Files are named, not held, and read when a connection is opened (the token's at every call), so
    that what is renewed beside a running process is used without a restart.

    Raises:
        InvalidInput: Parts that do not go together.
    """

    ca: Path | None = None
    """PEM file of the authorities that may vouch for the service; given, the connection is TLS.
    The system's own bundle is one such file."""
    certificate: Path | None = None
    """PEM file of the client's certificate and its chain, for mutual TLS."""
    key: Path | None = None
    """PEM file of its key."""
    token: str = field(default="", repr=False)
    """The bearer token."""
    token_file: Path | None = None
    """File that holds the token instead."""
    insecure: bool = False
    """Whether the token may travel unencrypted to other machines."""

    def __post_init__(self) -> None:
        if (self.certificate is None) != (self.key is None):
            raise InvalidInput.field("key", "a certificate and its key are given together")
        if self.certificate is not None and self.ca is None:
            raise InvalidInput.field("ca", "a client certificate needs the service's authority too")
        if self.token and self.token_file is not None:
            raise InvalidInput.field("token_file", "give the token or its file, not both")
        if self.token:
            _check_token(self.token, "token")

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Credentials:
        """Of ``MENTORGRAD_CA``, ``_CERT``, ``_KEY``, ``_TOKEN``, ``_TOKEN_FILE``, ``_INSECURE``.

        A token's file goes before a token.

        Raises:
            InvalidInput: Parts that do not go together.
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
        """Whether connections are TLS."""
        return self.ca is not None

    @property
    def has_token(self) -> bool:
        """Whether calls carry a token."""
        return bool(self.token) or self.token_file is not None

    def exposes_token(self, target: str) -> bool:
        """Whether a token would travel there for others to read."""
        return self.has_token and not (self.is_encrypted or is_loopback(target))

    def check_target(self, target: str) -> None:
        """Refuses to send a token where others could read it.

        Raises:
            InvalidInput: It would travel unencrypted to another machine.
        """
        if self.exposes_token(target) and not self.insecure:
            raise InvalidInput.field(
                "token",
                f"would travel to {target} unencrypted, for others to read; name the authority "
                "of its certificate (ca), or say insecure if the network is trusted",
                reason="TOKEN_UNPROTECTED",
            )

    def bearer(self) -> str:
        """The token as it is now.

        Raises:
            InvalidInput: Its file cannot be read or holds no token.
        """
        if self.token_file is None:
            return self.token
        return _check_token(
            _read(self.token_file, "token_file").decode("ascii", "replace").strip(), "token_file"
        )

    def read(self) -> tuple[bytes | None, bytes | None, bytes | None]:
        """Authorities, key and certificate chain, in PEM.

        Raises:
            InvalidInput: A file cannot be read, holds something else, or the key is another's.
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
    """A file of trusted certificates.

    Raises:
        InvalidInput: It cannot be read, or holds none; calls it `name`.
    """
    data = _read(path, name)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=path)
    except (ssl.SSLError, OSError):
        raise InvalidInput.field(name, f"{path} holds no certificates in PEM") from None
    return data


def read_pair(
    certificate: Path, key: Path, certificate_name: str, key_name: str
) -> tuple[bytes, bytes]:
    """A key and its certificate chain, which belong together.

    Raises:
        InvalidInput: A file cannot be read, holds something else, or the two are no pair.
    """
    chain, secret = _read(certificate, certificate_name), _read(key, key_name)
    try:
        # An encrypted key must not be asked for on the terminal.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, lambda: "")
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise InvalidInput.field(
                key_name, f"{key} is not the key of the certificate {certificate}"
            ) from None
        raise InvalidInput.field(
            certificate_name, f"{certificate} and {key} hold no certificate and key in PEM"
        ) from None
    return secret, chain


def is_loopback(address: str) -> bool:
    """Whether ``HOST:PORT`` is on this machine, as far as its words tell."""
    name = address.rpartition(":")[0].strip("[]")
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost"


def _read(path: Path, name: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidInput.field(name, f"{path} cannot be read: {error.strerror}") from None


def _check_token(text: str, name: str) -> str:
    if not text.isascii() or not text.isprintable() or not text or " " in text:
        raise InvalidInput.field(name, "holds no token: one word of printable ASCII")
    return text
