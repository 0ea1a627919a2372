"""One message over a real connection."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mentorgrad.errors import PermissionDenied, Unavailable
from service_common import certificates
from tests.support.webhook_receiver import Receiver
from tests.unit.trainer_service.webhooks.test_message import DELIVERY
from trainer_service.webhooks import posting
from trainer_service.webhooks.endpoint import Endpoint
from trainer_service.webhooks.posting import post


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(posting, "SECONDS", 3600.0)  # a deadline that only a hang exceeds


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as found:
        yield found


def at(receiver: Receiver, host: str = "127.0.0.1", **more: Any) -> Endpoint:
    given = {"allows_private": True} | more
    return Endpoint("ops", f"http://{host}:{receiver.port}/hook?key=1", **given)


@pytest.fixture
def named(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Lets ``hook.test`` have the address 127.0.0.1; the names that were asked for."""
    asked: list[str] = []
    real = socket.getaddrinfo

    def found(host: Any, port: Any, *more: Any, **how: Any) -> Any:
        if str(host).endswith(".test"):
            asked.append(str(host))
            host = "127.0.0.1"
        return real(host, port, *more, **how)

    monkeypatch.setattr(socket, "getaddrinfo", found)
    return asked


async def test_a_message_arrives_signed(receiver: Receiver, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("s" * 24)
    await post(at(receiver, secret_file=secret), DELIVERY, "")
    ((headers, _),) = receiver.got
    assert headers["webhook-id"] == "01run.17"
    assert headers["webhook-signature"].startswith("v1,")
    assert headers["content-type"] == "application/json"
    assert receiver.said()[0]["type"] == "run.succeeded"


async def test_a_name_is_resolved_once_and_its_address_is_what_is_connected_to(
    receiver: Receiver, named: list[str]
) -> None:
    await post(at(receiver, "hook.test"), DELIVERY, "")
    assert named == ["hook.test"]
    assert receiver.got[0][0]["host"] == f"hook.test:{receiver.port}"
    with pytest.raises(PermissionDenied, match="not public"):
        await post(at(receiver, "hook.test", allows_private=False), DELIVERY, "")
    with pytest.raises(PermissionDenied, match="not public"):
        await post(at(receiver, allows_private=False), DELIVERY, "")
    assert len(receiver.got) == 1


async def test_a_host_of_several_addresses_is_asked_at_the_next_one(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def found(*_: Any) -> list[str]:
        return ["::1", "127.0.0.1"]  # the receiver listens on the second alone

    monkeypatch.setattr(posting, "addresses_of", found)
    await post(at(receiver), DELIVERY, "")
    assert len(receiver.got) == 1


async def test_a_proxy_of_the_environment_is_not_used(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch, free_port: int
) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port}")
    await post(at(receiver), DELIVERY, "")
    assert len(receiver.got) == 1


@pytest.mark.parametrize("status", [301, 302, 307, 400, 410, 500])
async def test_any_other_status_is_a_failure_and_a_redirect_is_not_followed(
    receiver: Receiver, status: int
) -> None:
    receiver.status = status
    receiver.headers = {"location": f"http://127.0.0.1:{receiver.port}/other"}
    with pytest.raises(Unavailable, match=f"status {status}"):
        await post(at(receiver), DELIVERY, "")
    assert len(receiver.got) == 1


async def test_a_long_answer_is_not_read(receiver: Receiver) -> None:
    receiver.status, receiver.content = 200, b"x" * (64 << 20)
    await post(at(receiver), DELIVERY, "")


async def test_no_answer_is_a_failure_after_a_time(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch, free_port: int
) -> None:
    monkeypatch.setattr(posting, "SECONDS", 0.05)
    receiver.may_answer.clear()
    with pytest.raises(Unavailable, match="no answer within"):
        await post(at(receiver), DELIVERY, "")
    monkeypatch.setattr(posting, "SECONDS", 3600.0)
    dead = Endpoint("ops", f"http://127.0.0.1:{free_port}/secret", allows_private=True)
    with pytest.raises(Unavailable, match="no answer") as caught:
        await post(dead, DELIVERY, "")
    assert "secret" not in caught.value.message


async def test_the_certificate_must_be_that_of_the_name(
    tmp_path: Path, named: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    certificates.make(tmp_path, ["hook.test"], days=1)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(tmp_path / "server.pem", tmp_path / "server.key")
    trusted = ssl.create_default_context(cafile=str(tmp_path / "ca.pem"))
    monkeypatch.setattr(posting, "_trusted", lambda: trusted)
    with Receiver(tls=tls) as receiver:
        for host, arrives in (("hook.test", True), ("other.test", False)):
            url = f"https://{host}:{receiver.port}/"
            endpoint = Endpoint("ops", url, allows_private=True)
            if arrives:
                await post(endpoint, DELIVERY, "")
            else:
                with pytest.raises(Unavailable, match="no answer"):
                    await post(endpoint, DELIVERY, "")
        assert len(receiver.got) == 1
