"""Creates a CA and certificates for development. Needs the extra ``service``.

The keys are P-256 elliptic-curve keys, which every TLS library supports. The CA is created once and
kept. Each call creates new certificates, so calling again renews them.
"""

from __future__ import annotations

import contextlib
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from mentorgrad.errors import InvalidInput
from service_common.tokens import write_private

LOCAL = ("localhost", "127.0.0.1", "::1")
"""Hosts included in every server certificate."""

_AUTHORITY_DAYS = 3650
_AHEAD = timedelta(minutes=5)
"""Tolerance for clock differences between machines."""


@dataclass(frozen=True)
class Made:
    """The files in a folder of certificates."""

    ca: Path
    """The CA certificate, for clients and servers that shall trust it."""
    ca_key: Path
    """CA key; it should not leave this machine."""
    server: Path
    """Server certificate."""
    server_key: Path
    """Key of the server certificate."""
    client: Path
    """Client certificate; it is not bound to a name."""
    client_key: Path
    """Key of the client certificate."""
    is_new: bool
    """Whether the CA was created by this call."""


def make(folder: Path, hosts: Sequence[str], days: int) -> Made:
    """Creates a server and a client certificate, and the CA if the folder has none.

    Args:
        folder: Folder of the files; created if it does not exist.
        hosts: Host names and addresses of the server, in addition to `LOCAL`.
        days: Days until the certificates expire; below 1, they have already expired.

    Raises:
        InvalidInput: A host name is invalid, or the CA in the folder cannot be read.
    """
    names = [_name(host) for host in dict.fromkeys((*LOCAL, *hosts))]
    folder.mkdir(parents=True, exist_ok=True)
    made = Made(
        ca=folder / "ca.pem",
        ca_key=folder / "ca.key",
        server=folder / "server.pem",
        server_key=folder / "server.key",
        client=folder / "client.pem",
        client_key=folder / "client.key",
        is_new=not (folder / "ca.pem").exists(),
    )
    authority = _new_authority(made) if made.is_new else _authority(made)
    lasts = timedelta(days=days)
    server = x509.SubjectAlternativeName(names)
    _issue(authority, "mentorgrad server", lasts, server, made.server, made.server_key)
    _issue(authority, "mentorgrad client", lasts, None, made.client, made.client_key)
    return made


_Authority = tuple[x509.Certificate, ec.EllipticCurvePrivateKey]


def _new_authority(made: Made) -> _Authority:
    key = ec.generate_private_key(ec.SECP256R1())
    # A unique name: with two CAs of the same name, a client could select the wrong one.
    name = _named(f"mentorgrad development {datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%f}")
    certificate = (
        _builder(name, name, key.public_key(), timedelta(days=_AUTHORITY_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs=True), critical=True)
        .sign(key, hashes.SHA256())
    )
    _write(made.ca, made.ca_key, certificate, key)
    return certificate, key


def _authority(made: Made) -> _Authority:
    with contextlib.suppress(ValueError, TypeError, OSError):
        certificate = x509.load_pem_x509_certificate(made.ca.read_bytes())
        key = serialization.load_pem_private_key(made.ca_key.read_bytes(), None)
        public = certificate.public_key()
        if isinstance(key, ec.EllipticCurvePrivateKey) and key.public_key() == public:
            return certificate, key
    raise InvalidInput(
        f"{made.ca} and {made.ca_key} are not a CA created by `mentorgrad certs dev`; use another "
        "folder, or remove both files"
    )


def _issue(
    authority: _Authority,
    subject: str,
    lasts: timedelta,
    names: x509.SubjectAlternativeName | None,
    path: Path,
    key_path: Path,
) -> None:
    """Issues a server certificate if names are given, otherwise a client certificate."""
    key = ec.generate_private_key(ec.SECP256R1())
    use = ExtendedKeyUsageOID.SERVER_AUTH if names else ExtendedKeyUsageOID.CLIENT_AUTH
    certificate, signing_key = authority
    builder = (
        _builder(_named(subject), certificate.subject, key.public_key(), lasts)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([use]), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signing_key.public_key()),
            critical=False,
        )
    )
    if names is not None:
        builder = builder.add_extension(names, critical=False)
    _write(path, key_path, builder.sign(signing_key, hashes.SHA256()), key)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, lasts: timedelta
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(min(now, now + lasts) - _AHEAD)
        .not_valid_after(now + lasts)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _usage(signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs,
        crl_sign=signs,
        encipher_only=False,
        decipher_only=False,
    )


def _write(
    path: Path, key_path: Path, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey
) -> None:
    write_private(
        key_path,
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
    )
    write_private(path, certificate.public_bytes(serialization.Encoding.PEM), mode=0o644)


def _named(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host.strip("[]")))
    except ValueError:
        pass
    try:
        return x509.DNSName(host.encode("idna").decode())
    except ValueError:
        raise InvalidInput.field("--host", f"{host!r} is not a valid host name") from None
