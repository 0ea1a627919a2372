"""Addresses of services as people write them."""

from __future__ import annotations

from typing import Any

import pytest

from mentorgrad import AsyncClient
from mentorgrad.errors import InvalidInput
from mentorgrad.wire.addresses import check_address, is_local, is_loopback

WRONG = [
    "",
    ":",
    "localhost",
    "127.0.0.1",
    "127.0.0.1:",
    "127.0.0.1:-1",
    "127.0.0.1:70000",
    "127.0.0.1:1\n",
    "\ufeff127.0.0.1:1",
    "127.0.0.1\u200b:1",
    "a\x1b[31mb:1",
    "a b:1",
    "::1",
    "::1:50551",
    "[::1]",
    "[::1",
    "http://127.0.0.1:1",
    None,
    5,
]


@pytest.mark.parametrize("address", WRONG, ids=repr)
def test_what_is_no_address_is_refused(address: Any) -> None:
    for listens in (False, True):
        with pytest.raises(InvalidInput, match="server: must be HOST:PORT"):
            check_address("server", address, listens=listens)
    with pytest.raises(InvalidInput, match="target: must be HOST:PORT"):
        AsyncClient(address)


@pytest.mark.parametrize("address", ["a:1", "[::1]:65535", "[fe80::1%eth0]:1", "ä.example:1"])
def test_names_and_addresses_with_a_port_are_addresses(address: str) -> None:
    assert check_address("server", address) == address
    assert AsyncClient(address).target == address


@pytest.mark.parametrize("address", ["127.0.0.1:0", ":1", "[::]:0"])
def test_only_a_listener_leaves_port_and_host_open(address: str) -> None:
    assert check_address("listen", address, listens=True) == address
    with pytest.raises(InvalidInput):
        check_address("server", address)


@pytest.mark.parametrize("target", ["dns:///mentor:1", "ipv6:[::1]:1", "unix:/run/a.sock"])
def test_names_of_the_transport_are_targets(target: str) -> None:
    assert AsyncClient(target).target == target


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("dns:///localhost:1", True),
        ("dns:LOCALHOST:1", True),
        ("ipv4:127.0.0.1:1", True),
        ("ipv6:[::1]:1", True),
        ("unix:/run/a.sock", True),
        ("dns:///127.example.org:1", False),
        ("ipv4:10.0.0.1:1", False),
        ("unixes:1", False),
    ],
)
def test_a_target_of_this_machine_is_local(target: str, expected: bool) -> None:
    """A token goes there unencrypted, and no proxy between."""
    assert is_local(target) is expected


def test_a_scheme_makes_no_host_of_a_request_local() -> None:
    assert not is_loopback("unix:1")
    assert is_loopback("Localhost:1")
