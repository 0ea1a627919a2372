"""What a receiver gets, and how it verifies it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mentorgrad.domain.run import RunState
from mentorgrad.errors import InvalidInput
from run_store.outbox import Delivery
from tests.support.deployment import ROOT
from trainer_service.webhooks.message import body_of, headers_of, secrets_of

DELIVERY = Delivery(
    webhook="ops",
    run_id="01run",
    seq=17,
    state=RunState.SUCCEEDED,
    time=datetime(2026, 1, 2, 3, 4, 5, 600, tzinfo=UTC),
    name="první pokus",
    owner="alice",
    best_selection_loss=0.25,
)


def test_a_body_says_what_became_of_a_run_and_nothing_of_its_data() -> None:
    said = json.loads(body_of(DELIVERY, "https://page.lan/runs/{run_id}"))
    assert said == {
        "type": "run.succeeded",
        "timestamp": "2026-01-02T03:04:05.000600Z",
        "data": {
            "event_id": "01run.17",
            "run_id": "01run",
            "sequence": 17,
            "state": "succeeded",
            "name": "první pokus",
            "owner": "alice",
            "best_selection_loss": 0.25,
            "link": "https://page.lan/runs/01run",
        },
    }
    assert "link" not in json.loads(body_of(DELIVERY, ""))["data"]


def test_a_signature_is_that_of_standard_webhooks(tmp_path: Path) -> None:
    """The example of the specification's libraries."""
    file = tmp_path / "secret"
    file.write_text("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n")
    body = b'{"test": 2432232314}'
    event, now = "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330
    headers = headers_of(event, body, secrets_of(file), now)
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_the_guides_receiver_accepts_what_is_signed_and_nothing_else(tmp_path: Path) -> None:
    guide = (ROOT / "docs/webhooks.md").read_text()
    code = guide.partition("```python\n")[2].partition("```")[0]
    shown: dict[str, object] = {}
    exec(code, shown)  # our own guide's
    verified = shown["verified"]
    assert callable(verified)
    file = tmp_path / "secret"
    old, new = "a secret that is to be replaced", "a secret that replaces it, of any length"
    file.write_text(f"{old}\n{new}\n")
    with pytest.raises(InvalidInput):  # words of a line are secrets of their own
        secrets_of(file)
    old, new = old.replace(" ", "-"), new.replace(" ", "-")
    file.write_text(f"{old}\n{new}\n")
    body = body_of(DELIVERY, "")
    headers = headers_of(DELIVERY.event_id, body, secrets_of(file), 1000)
    for secret in (old, new):
        assert verified(secret.encode(), headers, body, now=1010)
    assert not verified(b"another", headers, body, now=1010)
    assert not verified(old.encode(), headers, body + b" ", now=1010)
    assert not verified(old.encode(), headers, body, now=2000)  # recorded and sent again
    assert not verified(old.encode(), headers | {"webhook-id": "x"}, body, now=1010)
    unsigned = headers_of(DELIVERY.event_id, body, (), 1000)
    assert not verified(old.encode(), unsigned, body, now=1010)


@pytest.mark.parametrize("content", [b"", b"short", b"whsec_???", b"whsec_QUJD", b"\xff" * 40])
def test_a_file_without_good_secrets_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "secret"
    file.write_bytes(content)
    with pytest.raises(InvalidInput, match="secret"):
        secrets_of(file)
    with pytest.raises(InvalidInput, match="cannot be read"):
        secrets_of(tmp_path / "none")
