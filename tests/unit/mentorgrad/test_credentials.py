from __future__ import annotations

from pathlib import Path

import pytest

from mentorgrad.errors import InvalidInput
from mentorgrad.wire.addresses import is_loopback
from mentorgrad.wire.channels import stream_channel, unary_channel, upload_channel
from mentorgrad.wire.credentials import Credentials
from service_common import certificates


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> certificates.Made:
    return certificates.make(tmp_path_factory.mktemp("certs"), (), 1)


def field(credentials: dict[str, object]) -> str:
    with pytest.raises(InvalidInput) as caught:
        Credentials(**credentials).read()  # type: ignore[arg-type]
    return caught.value.violations[0].field


def test_parts_that_do_not_go_together_are_named(made: certificates.Made, tmp_path: Path) -> None:
    whole = {"ca": made.ca, "certificate": made.client, "key": made.client_key}
    Credentials(**whole).read()
    assert field({"certificate": made.client}) == "key"
    assert field({"certificate": made.client, "key": made.client_key}) == "ca"
    assert field({**whole, "key": made.server_key}) == "key"
    assert field({**whole, "certificate": made.client_key}) == "certificate"
    assert field({**whole, "ca": made.ca_key}) == "ca"
    assert field({**whole, "ca": tmp_path / "none"}) == "ca"
    assert field({"token": "a", "token_file": tmp_path / "t"}) == "token_file"
    assert field({"token": "two words"}) == "token"


def test_paths_in_the_home_folder_and_line_ends_are_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "token").write_bytes(b"\xef\xbb\xbfa.token\r\n")
    environment = {"MENTORGRAD_TOKEN_FILE": "~/token", "MENTORGRAD_CA": "~/ca.pem"}
    given = Credentials.from_environment(environment)
    assert given.ca == tmp_path / "ca.pem"
    assert given.bearer() == "a.token"
    assert Credentials(token="a.token\n").bearer() == "a.token"


def test_a_token_is_not_shown() -> None:
    assert "hunter2" not in repr(Credentials(token="hunter2"))


def test_a_tokens_file_is_read_when_it_is_used(tmp_path: Path) -> None:
    file = tmp_path / "token"
    credentials = Credentials(token_file=file)
    with pytest.raises(InvalidInput, match="cannot be read"):
        credentials.bearer()
    file.write_text("first\n")
    assert credentials.bearer() == "first"
    file.write_text("second")
    assert credentials.bearer() == "second"
    file.write_text("\n")
    with pytest.raises(InvalidInput, match=r"token.* contains no token"):
        credentials.bearer()


def test_the_environment_says_all_of_it() -> None:
    environ = {
        "MENTORGRAD_CA": "ca.pem",
        "MENTORGRAD_CERT": "c.pem",
        "MENTORGRAD_KEY": "c.key",
        "MENTORGRAD_TOKEN": "secret",
        "MENTORGRAD_INSECURE": "1",
    }
    assert Credentials.from_environment(environ) == Credentials(
        Path("ca.pem"), Path("c.pem"), Path("c.key"), token="secret", insecure=True
    )
    assert Credentials.from_environment({"MENTORGRAD_CA": ""}) == Credentials()
    both = {"MENTORGRAD_TOKEN": "secret", "MENTORGRAD_TOKEN_FILE": "t"}
    assert Credentials.from_environment(both) == Credentials(token_file=Path("t"))


@pytest.mark.parametrize("opened", [unary_channel, stream_channel, upload_channel])
async def test_a_token_stays_on_this_machine_unless_it_is_encrypted(
    opened: object, made: certificates.Made
) -> None:
    assert callable(opened)
    with pytest.raises(InvalidInput, match="unencrypted") as caught:
        opened("10.0.0.5:1", Credentials(token="secret"))
    assert caught.value.reason == "TOKEN_UNPROTECTED"
    for target, credentials in (
        ("10.0.0.5:1", Credentials(token="secret", ca=made.ca)),
        ("10.0.0.5:1", Credentials(token="secret", insecure=True)),
        ("10.0.0.5:1", Credentials()),
        ("localhost:1", Credentials(token="secret")),
    ):
        closed = opened(target, credentials).close()
        if closed is not None:
            await closed


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("127.0.0.1:1", True),
        ("127.8.8.8:1", True),
        ("[::1]:1", True),
        ("localhost:1", True),
        ("[::ffff:127.0.0.1]:1", True),
        ("[::ffff:10.0.0.1]:1", False),
        ("0.0.0.0:1", False),
        ("[::]:1", False),
        ("localhost.example.org:1", False),
        ("10.0.0.1:1", False),
    ],
)
def test_loopback_is_this_machine(address: str, expected: bool) -> None:
    assert is_loopback(address) is expected
