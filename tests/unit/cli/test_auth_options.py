"""Tokens and certificates on the command line, and the options that every command shares."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from cryptography import x509

from mentorgrad.cli.main import app
from mentorgrad.cli.support import auth_options, extras
from mentorgrad.errors import InvalidInput
from mentorgrad.installed import pip_line
from service_common import tokens
from tests.support.deployment import ROOT

Invoke = Callable[..., Any]


@pytest.fixture
def file(tmp_path: Path) -> str:
    return str(tmp_path / "tokens.json")


def commands(command: Any) -> dict[str, Any]:
    """Every command by its words."""
    found = {}
    for name in command.list_commands(None):
        inner = command.get_command(None, name)
        if hasattr(inner, "commands"):
            found |= {f"{name} {words}": each for words, each in commands(inner).items()}
        else:
            found[name] = inner
    return found


@pytest.mark.slow
def test_every_command_that_names_a_service_can_reach_it_securely() -> None:
    reaching = set()
    for words, command in commands(typer.main.get_command(app)).items():
        options = {option for parameter in command.params for option in parameter.opts}
        if "--server" in options or "--mentor-server" in options:
            reaching.add(words)
            assert {"--ca", "--cert", "--key", "--token-file", "--insecure"} <= options, words
    assert {"run", "doctor", "health", "runs list", "runs export", "mentor ask"} <= reaching


def test_every_variable_of_a_command_is_in_the_reference() -> None:
    page = (ROOT / "docs/reference/configuration.md").read_text()
    found = {
        parameter.envvar
        for command in commands(typer.main.get_command(app)).values()
        for parameter in command.params
        if parameter.envvar
    }
    assert {"MENTORGRAD_SERVER", "MENTORGRAD_CA", "MENTORGRAD_TOKENS"} <= found
    assert {name for name in found if f"`{name}`" not in page} == set()


def test_what_a_command_is_told_it_uses(
    invoke: Invoke, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    seen = []

    def open_client(server: str) -> Any:
        seen.append(auth_options.credentials())
        raise InvalidInput.field("--server", "seen")

    monkeypatch.setattr("mentorgrad.cli.commands.lifecycle.open_client", open_client)
    monkeypatch.setenv("MENTORGRAD_TOKEN", "secret")
    monkeypatch.setenv("MENTORGRAD_CA", "env.pem")
    invoke("runs", "pause", "x")
    invoke("runs", "pause", "x", "--ca", "flag.pem", "--token-file", "t", "--insecure")
    first, second = seen
    assert (first.ca, first.token, first.token_file) == (Path("env.pem"), "secret", None)
    assert (second.ca, second.token, second.token_file) == (Path("flag.pem"), "", Path("t"))
    assert (first.insecure, second.insecure) == (False, True)
    assert not auth_options.credentials().is_encrypted  # nothing is left of it


def test_what_cannot_be_used_is_one_line(invoke: Invoke, tmp_path: Path) -> None:
    for options, words in (
        (("--cert", "c.pem"), "key: certificate and key must be given together"),
        (("--ca", str(tmp_path / "none")), "none cannot be read"),
        (("--token-file", "t", "--server", "10.0.0.1:1"), "unencrypted"),
    ):
        result = invoke("runs", "list", *options)
        assert result.exit_code == 2
        assert words in result.stderr
        assert len(result.stderr.splitlines()) == 1


def test_a_token_is_made_listed_and_revoked(invoke: Invoke, file: str, tmp_path: Path) -> None:
    made = invoke("tokens", "create", "alice", "--scope", "run", "--tokens", file)
    record = tokens.find(tokens.load(Path(file)), made.stdout.strip())
    out = tmp_path / "bob.token"
    quiet = invoke(
        *("tokens", "create", "bob", "--scope", "read", "--days", "3", "--out", str(out)),
        *("--tokens", file),
    )
    token = out.read_text().strip()
    assert token not in quiet.stdout + quiet.stderr
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    assert tokens.find(tokens.load(Path(file)), token).name == "bob"
    revoked = invoke("tokens", "revoke", record.token_id, "--tokens", file)
    assert revoked.stdout.strip() == f"token {record.token_id} of alice is revoked"
    listed = json.loads(invoke("tokens", "list", "--tokens", file, "--json").stdout)
    assert [(t["name"], t["scopes"], t["state"], bool(t["expires"])) for t in listed] == [
        ("alice", ["run"], "revoked", False),
        ("bob", ["read"], "valid", True),
    ]
    text = invoke("tokens", "list", "--tokens", file).stdout
    assert record.sha256 not in text
    assert "bob" in text


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("create", "x", "--scope", "write"), 2, "must be one of: predict, read, run, admin"),
        (("create", "x"), 2, "--scope"),
        (("list",), 2, "cannot be read"),
        (("revoke", "12345678"), 2, "cannot be read"),
    ],
)
def test_a_wrong_command_about_tokens_is_one_line(
    invoke: Invoke, file: str, arguments: tuple[str, ...], code: int, words: str
) -> None:
    result = invoke("tokens", *arguments, "--tokens", file)
    assert result.exit_code == code
    assert words in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_certificates_are_made_and_renewed_by_the_same_authority(
    invoke: Invoke, tmp_path: Path
) -> None:
    folder = tmp_path / "certs"
    options = ("certs", "dev", str(folder), "--host", "gpu1.lan", "--host", "10.0.0.5", "--json")
    first = json.loads(invoke(*options).stdout)
    before = {name: Path(path).read_bytes() for name, path in first.items()}
    for name, path in first.items():
        assert stat.S_IMODE(Path(path).stat().st_mode) == (0o600 if "key" in name else 0o644)
    assert json.loads(invoke(*options).stdout) == first
    after = {name: Path(path).read_bytes() for name, path in first.items()}
    assert {name for name in before if before[name] == after[name]} == {"ca", "ca_key"}
    authority, server, client = (
        x509.load_pem_x509_certificate(after[name]) for name in ("ca", "server", "client")
    )
    server.verify_directly_issued_by(authority)
    client.verify_directly_issued_by(authority)
    names = server.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["localhost", "gpu1.lan"]
    addresses = map(str, names.get_values_for_type(x509.IPAddress))
    assert list(addresses) == ["127.0.0.1", "::1", "10.0.0.5"]


def test_an_authority_that_is_not_ours_is_left_alone(invoke: Invoke, tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("somebody's")
    result = invoke("certs", "dev", str(tmp_path))
    assert result.exit_code == 2
    assert "not a CA created by `mentorgrad certs dev`" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["ca.pem"]


def test_without_the_extra_one_line_says_what_to_install(
    invoke: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extras, "installed_version", lambda package: None)
    result = invoke("certs", "dev", str(tmp_path / "certs"))
    assert result.exit_code == 1
    assert pip_line("service") in result.stderr
