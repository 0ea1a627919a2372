"""Which addresses messages may go to.

A name is resolved once for each message, and the connection goes to the address that was checked:
so a name that resolves to another address a moment later (DNS rebinding) leads nowhere else.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Sequence
from functools import partial

from mentorgrad.errors import PermissionDenied, Unavailable
from service_common.health import in_thread

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_TRANSLATED = ipaddress.IPv6Network("64:ff9b::/96")
"""Addresses of IPv4 behind NAT64 (RFC 6052)."""


def is_public(address: str) -> bool:
    """Whether an address is one of the internet at large: not loopback, link-local, private,
    shared, reserved or multicast, nor one that leads to such an address by a translation."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:  # with a zone, such as fe80::1%eth0
        return False
    return all(one.is_global and not one.is_multicast for one in _meant(parsed))


def _meant(address: _Address) -> Sequence[_Address]:
    """The address, or those that it stands for."""
    if isinstance(address, ipaddress.IPv4Address):
        return (address,)
    if address.ipv4_mapped is not None:
        return (address.ipv4_mapped,)
    if address.sixtofour is not None:
        return (address, address.sixtofour)
    if address.teredo is not None:
        return (address, *address.teredo)
    if address in _TRANSLATED:
        return (ipaddress.IPv4Address(int(address) & 0xFFFFFFFF),)
    return (address,)


async def addresses_of(host: str, port: int, allows_private: bool) -> Sequence[str]:
    """The addresses to connect to, the best first.

    Args:
        host: Name or address of the host.
        port: Its port.
        allows_private: Whether addresses may be such that are not public.

    Raises:
        Unavailable: The name has no address at present.
        PermissionDenied: One of its addresses is not public.
    """
    # A resolver can take long, and would hold one of the threads that calls need.
    found = list(await in_thread(partial(_addresses, host, port))() or ())
    refused = [] if allows_private else [one for one in found if not is_public(one)]
    if refused:
        raise PermissionDenied(f"{host} has the address {refused[0]}, which is not public")
    return found


def _addresses(host: str, port: int) -> Sequence[str]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise Unavailable(f"{host} has no address: {error}") from None
    return list(dict.fromkeys(str(address[0]) for *_, address in found))
