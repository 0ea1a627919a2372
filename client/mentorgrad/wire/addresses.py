"""Addresses of services, as people write them."""

from __future__ import annotations

import ipaddress
import re

from mentorgrad.errors import InvalidInput

_HOST = r"\[[0-9A-Fa-f:.]+(?:%\w+)?\]|[^\s:/\[\]]+"
"""A name, or an address; one of IPv6 stands in brackets."""

_ADDRESS = re.compile(rf"({_HOST}|):(\d{{1,5}})", re.ASCII)
_SCHEME = re.compile(r"(?:dns|ipv4|ipv6|unix|unix-abstract|vsock|xds):\S+")
"""gRPC's own names, such as ``dns:///mentor:50552`` for all addresses behind a name."""

_NETWORK_SCHEME = re.compile(r"(?:dns:(?://[^/]*/)?|ipv4:|ipv6:)(?=\S)")
_FILE = re.compile(r"unix(?:-abstract)?:")
_HIGHEST_PORT = 65535


def host_and_port(address: object) -> tuple[str, int] | None:
    """Host and port of ``HOST:PORT``; None: it has another form. An IPv6 address is returned in
    its brackets, and none as an empty text."""
    if not isinstance(address, str) or not address.isprintable():
        return None
    match = _ADDRESS.fullmatch(address)
    if match is None or int(match[2]) > _HIGHEST_PORT:
        return None
    return match[1], int(match[2])


def check_address(field: str, address: str, *, listens: bool = False) -> str:
    """Returns the address if it has the form ``HOST:PORT``.

    Args:
        field: Name in the error.
        address: The address.
        listens: Whether it is one to listen on, which may be without a host, for all addresses of
            the machine, and with port 0, for any free one.

    Raises:
        InvalidInput: It does not have this form.
    """
    found = host_and_port(address)
    if found is None or not (listens or all(found)):
        raise InvalidInput.field(field, f"must be HOST:PORT, not {address!r}")
    return address


def is_target(target: object) -> bool:
    """Whether gRPC can connect to it: ``HOST:PORT``, or a name of gRPC's own."""
    if not isinstance(target, str) or not target.isprintable():
        return False
    found = host_and_port(target)
    return bool(_SCHEME.fullmatch(target)) or (found is not None and all(found))


def check_target(target: str) -> str:
    """Returns the target if gRPC can connect to it.

    Raises:
        InvalidInput: It cannot.
    """
    if not is_target(target):
        raise InvalidInput.field("target", f"must be HOST:PORT, not {target!r}")
    return target


def is_local(target: str) -> bool:
    """Whether a target of gRPC is on this machine alone: a socket of the file system, or as
    `is_loopback`."""
    return bool(_FILE.match(target)) or is_loopback(_NETWORK_SCHEME.sub("", target))


def is_loopback(address: str) -> bool:
    """Whether ``HOST:PORT`` is a loopback address or localhost."""
    name = address.rpartition(":")[0].strip("[]")
    try:
        found = ipaddress.ip_address(name)
        return (getattr(found, "ipv4_mapped", None) or found).is_loopback
    except ValueError:
        return name.lower() in ("localhost", "localhost.")
