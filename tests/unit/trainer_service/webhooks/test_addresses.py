"""Which addresses messages may go to."""

from __future__ import annotations

import ipaddress
import socket
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mentorgrad.errors import PermissionDenied, Unavailable
from trainer_service.webhooks.addresses import addresses_of, is_public

PUBLIC = (
    "93.184.216.34",
    "2606:2800:220:1:248:1893:25c8:1946",
    "::ffff:8.8.8.8",
    "64:ff9b::808:808",
)
INSIDE = (
    *("127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1"),
    *("0.0.0.0", "255.255.255.255", "224.0.0.1", "198.18.0.1", "192.0.2.1"),
    *("::1", "::", "fe80::1", "fe80::1%eth0", "fd00::1", "ff02::1", "2001:db8::1"),
    *("::ffff:127.0.0.1", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:7f00:1::"),
    "localhost",
)


@pytest.mark.parametrize("address", PUBLIC)
def test_addresses_of_the_internet_are_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize("address", INSIDE)
def test_others_are_not_in_whatever_spelling(address: str) -> None:
    assert not is_public(address)


@given(st.ip_addresses(v=4))
def test_a_translated_address_is_as_public_as_the_one_it_stands_for(
    address: ipaddress.IPv4Address,
) -> None:
    for prefix in ("::ffff:", "64:ff9b::"):
        assert is_public(f"{prefix}{address}") is is_public(str(address))


def resolves(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    def found(host: str, port: int, **_: Any) -> list[Any]:
        if not addresses:
            raise socket.gaierror("unknown")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, port)) for one in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", found)


async def test_a_name_with_one_address_inside_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    resolves(monkeypatch, "93.184.216.34", "10.0.0.1")
    with pytest.raises(PermissionDenied, match=r"hook\.test has the address 10\.0\.0\.1"):
        await addresses_of("hook.test", 443, allows_private=False)
    found = await addresses_of("hook.test", 443, allows_private=True)
    assert found == ["93.184.216.34", "10.0.0.1"]
    resolves(monkeypatch)
    with pytest.raises(Unavailable, match=r"hook\.test has no address"):
        await addresses_of("hook.test", 443, allows_private=True)
