"""Trainer, mentor and client on three machines that share no file, by mutual TLS and tokens."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from service_common import certificates, tokens
from service_common.tokens import Scope
from tests.support.machines import FarClient, Machine, machines

# The suite has mutual TLS and tokens between processes of one machine in `test_other_clients.py`,
# and what is refused, renewed and revoked in `tests/rpc/test_tls.py` and `test_authorization.py`.
pytestmark = pytest.mark.campaign

PROOF = {"ca": "ca.pem", "certificate": "client.pem", "key": "client.key"}


@dataclass
class Lab:
    """The three machines, and the one desk at which certificates are made."""

    trainer: Machine
    mentor: Machine
    client: Machine
    desk: Path
    trainer_at: str
    mentor_at: str
    far: FarClient

    def ask(self, do: str, token: str = "run.token", target: str = "", **given: Any) -> Any:
        """The far client does something with its certificate and a token."""
        proof = {**PROOF, **({"token_file": token} if token else {}), **given.pop("proof", {})}
        return self.far(do, target or self.trainer_at, credentials=proof, **given)

    def command(self, *arguments: str) -> Any:
        """A command on the client's machine, told by its environment where and how."""
        return self.client.run(
            *arguments,
            MENTORGRAD_SERVER=self.trainer_at,
            MENTORGRAD_CA="ca.pem",
            MENTORGRAD_CERT="client.pem",
            MENTORGRAD_KEY="client.key",
            MENTORGRAD_TOKEN_FILE="run.token",
        )


def token(file: Path, name: str, scope: Scope, out: Path) -> str:
    record, text = tokens.create(file, name, [scope], project="lab")
    out.write_text(text + "\n")
    return record.token_id


def served(made: certificates.Made) -> dict[str, Path]:
    """What a service proves itself with."""
    return {"server.pem": made.server, "server.key": made.server_key}


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    folder = tmp_path_factory.mktemp("lab")
    desk = folder / "desk"
    with machines(folder, ("trainer", "mentor", "client")) as (trainer, mentor, client):
        for machine in (trainer, mentor):
            made = certificates.make(desk, (machine.address,), 1)
            machine.receive({"ca.pem": made.ca, **served(made)})
        for machine in (trainer, client):
            machine.receive(
                {"ca.pem": made.ca, "client.pem": made.client, "client.key": made.client_key}
            )
        for name, scope in (("read", Scope.READ), ("run", Scope.RUN), ("admin", Scope.ADMIN)):
            token(trainer.home / "tokens.json", name, scope, client.home / f"{name}.token")
        token(mentor.home / "tokens.json", "trainer", Scope.RUN, trainer.home / "mentor.token")
        token(mentor.home / "tokens.json", "visitor", Scope.READ, client.home / "visitor.token")
        guarded = (
            *("--tls-certificate", "server.pem", "--tls-key", "server.key"),
            *("--tls-client-ca", "ca.pem", "--tokens", "tokens.json"),
        )
        mentor_at = mentor.serve("mentor", *guarded)
        trainer_at = trainer.serve(
            *("trainer", *guarded, "--mentor", f"far={mentor_at}", "--mentor-ca", "ca.pem"),
            *("--mentor-certificate", "client.pem", "--mentor-key", "client.key"),
            *("--mentor-token-file", "mentor.token", "--threads", "1"),
            *("--no-warm", "--runs-per-worker", "100"),
        )
        yield Lab(trainer, mentor, client, desk, trainer_at, mentor_at, FarClient(client))


def test_a_run_is_steered_from_afar_and_advised_from_afar(lab: Lab) -> None:
    result = lab.command(
        *("run", "--function", "levy", "--mentor", "far", "--proposals", "2"),
        *("--stages", "2", "--steps", "3", "--json"),
    )
    assert result.returncode == 0, result.stderr
    run_id = lab.ask("look")[0]
    answered = lab.ask("advice", run=run_id)
    assert answered
    assert all(mentor == "far" and "SmolLM2" in model for mentor, model, _ in answered)
    assert lab.ask("mentor", "visitor.token", lab.mentor_at) == "llama_cpp"


def test_who_may_not_is_told_why(lab: Lab, tmp_path: Path) -> None:
    strangers = certificates.make(tmp_path, (), 1)
    expired = certificates.make(lab.desk, (), -1)
    lab.client.receive(
        {
            "other-ca.pem": strangers.ca,
            "other.pem": strangers.client,
            "other.key": strangers.client_key,
            "expired.pem": expired.client,
            "expired.key": expired.client_key,
        }
    )
    assert lab.ask("create") == []
    run_id = lab.ask("look")[0]

    def refusal(*order: Any, **given: Any) -> list[str]:
        said = lab.ask(*order, **given)
        assert isinstance(said, list)
        return said[1:3]

    assert refusal("look", "") == ["UNAUTHENTICATED", "TOKEN_MISSING"]
    assert refusal("look", "visitor.token") == ["UNAUTHENTICATED", "TOKEN_UNKNOWN"]
    assert refusal("create", "read.token") == ["PERMISSION_DENIED", "SCOPE_MISSING"]
    assert refusal("delete", "run.token", run=run_id) == ["PERMISSION_DENIED", "SCOPE_MISSING"]
    assert refusal("stream", "", run=run_id) == ["UNAUTHENTICATED", "TOKEN_MISSING"]
    assert refusal("mentor", "run.token", lab.mentor_at) == ["UNAUTHENTICATED", "TOKEN_UNKNOWN"]
    wrong_authority = {"ca": "other-ca.pem"}
    assert refusal("look", proof=wrong_authority) == ["UNAVAILABLE", "UNTRUSTED"]
    for name in ("other", "expired"):
        proof = {"certificate": f"{name}.pem", "key": f"{name}.key"}
        assert refusal("look", proof=proof) == ["UNAVAILABLE", "UNAVAILABLE"]
    assert lab.ask("stream", "read.token", run=run_id)
    assert lab.ask("delete", "admin.token", run=run_id) is None


def test_a_revoked_token_is_refused_at_once(lab: Lab) -> None:
    file = lab.trainer.home / "tokens.json"
    token_id = token(file, "guest", Scope.RUN, lab.client.home / "guest.token")
    assert lab.ask("create", "guest.token") == []
    tokens.revoke(file, token_id)
    assert lab.ask("look", "guest.token")[1:3] == ["UNAUTHENTICATED", "TOKEN_REVOKED"]


def test_a_certificate_that_expires_is_refused_and_a_new_one_taken_up(lab: Lab) -> None:
    expired = certificates.make(lab.desk, (lab.trainer.address,), -1)
    lab.trainer.receive(served(expired))
    refused = lab.command("runs", "list")
    assert refused.returncode == 1
    assert refused.stdout == ""
    (line,) = refused.stderr.splitlines()
    assert line == (
        f"error: {lab.trainer_at}: the TLS handshake failed: the service's certificate has expired"
    )
    renewed = certificates.make(lab.desk, (lab.trainer.address,), 1)
    lab.trainer.receive(served(renewed))
    assert lab.command("runs", "list").returncode == 0
