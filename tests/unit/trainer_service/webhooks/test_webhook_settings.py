"""Webhooks as an operator names them, and as specs do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mentorgrad.domain.spec import RunSpec
from mentorgrad.errors import InvalidInput
from service_common.settings import load
from trainer_service.settings import TrainerSettings
from trainer_service.webhooks.checks import webhook_violations
from trainer_service.webhooks.endpoint import Endpoint, check_secrets, endpoints_of

OPS, DESK = "ops=https://hooks.test/x?y=z", "desk=http://10.0.0.7:8080/"


def made(**flags: Any) -> TrainerSettings:
    return load(TrainerSettings, None, flags)


def test_they_are_named_by_flags_or_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = made(
        webhook=[OPS, DESK], webhook_private=["desk"], webhook_secret_file=["ops=/run/secret"]
    )
    assert endpoints_of(settings) == {
        "ops": Endpoint("ops", "https://hooks.test/x?y=z", Path("/run/secret")),
        "desk": Endpoint("desk", "http://10.0.0.7:8080/", allows_private=True),
    }
    for name, value in {
        "WEBHOOK": f"{OPS},{DESK}",
        "WEBHOOK_PRIVATE": "desk",
        "WEBHOOK_SECRET_FILE": "ops=/run/secret",
    }.items():
        monkeypatch.setenv(f"MENTORGRAD_TRAINER_{name}", value)
    assert endpoints_of(made()) == endpoints_of(settings)


def test_blanks_around_a_name_and_an_address_are_no_part_of_them() -> None:
    """A file of variables ends with a line end, and lists are written with blanks."""
    assert made(webhook=f" ops = https://hooks.test/x?y=z ,{DESK}\r\n", webhook_private="desk") == (
        made(webhook=[OPS, DESK], webhook_private=["desk"])
    )


def test_a_secret_that_cannot_be_read_is_noticed_at_the_start(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    settings = made(webhook=[OPS, DESK], webhook_private=["desk"])
    check_secrets(endpoints_of(settings).values())
    settings = made(webhook=[OPS], webhook_secret_file=[f"ops={file}"])
    with pytest.raises(InvalidInput, match=r"webhook_secret_file: .*cannot be read"):
        check_secrets(endpoints_of(settings).values())
    file.write_text("s" * 24)
    check_secrets(endpoints_of(settings).values())


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        ({"webhook": ["ops"]}, "must be NAME=URL"),
        ({"webhook": ["a b=https://x"]}, "not a valid webhook name"),
        ({"webhook": ["ops=http://hooks.test/secret"]}, "must be https"),
        ({"webhook": ["ops=ftp://hooks.test/secret"]}, "an https URL"),
        ({"webhook": ["ops=https://me:secret@hooks.test"]}, "without user"),
        ({"webhook": ["ops=https://hooks.test:secret/"]}, "an https URL"),
        ({"webhook": ["ops=https://hooks.test/a secret"]}, "an https URL"),
        ({"webhook": ["ops=https://hooks.test/\x1bsecret"]}, "an https URL"),
        ({"webhook": [OPS], "webhook_private": ["desk"]}, "'desk', which is no webhook"),
        ({"webhook": [OPS], "webhook_secret_file": ["d=/x"]}, "'d', which is no webhook"),
        ({"webhook_link": "https://page"}, r"must contain \{run_id\}"),
    ],
)
def test_what_cannot_be_is_refused_and_the_address_kept_secret(
    flags: dict[str, Any], says: str
) -> None:
    with pytest.raises(InvalidInput, match=says) as caught:
        made(**flags)
    assert "secret" not in caught.value.message.replace("webhook_secret_file", "")


def test_a_spec_names_those_that_there_are() -> None:
    spec = RunSpec(webhooks=("ops", "who"))
    (unknown,) = webhook_violations(spec, ("ops", "desk"))
    assert unknown.field == "spec.webhooks[1]"
    assert unknown.description == "'who' is not known here; known: ops, desk"
    first, _ = webhook_violations(spec, ())
    assert "this trainer has none" in first.description
