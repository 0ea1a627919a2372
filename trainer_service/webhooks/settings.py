"""Settings of the webhooks of a trainer service."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator
from pydantic_settings import NoDecode

from mentorgrad.schema import NAME_PATTERN
from service_common.settings import ServiceSettings, parse_named


class WebhookSettings(ServiceSettings):
    """Who is told what became of runs."""

    webhook: Annotated[dict[str, str], NoDecode] = Field(
        default_factory=dict,
        description="Webhook that specs may name, NAME=URL (repeatable): it is told when a run "
        "ends, pauses or is interrupted. Set a URL that is a secret by the environment or a file.",
    )
    webhook_secret_file: Annotated[dict[str, Path], NoDecode] = Field(
        default_factory=dict,
        description="File with the secret that a webhook's messages are signed with, NAME=FILE "
        "(repeatable); read for each message.",
    )
    webhook_private: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="Name of a webhook that may be http, and at a private or loopback address "
        "(repeatable); the others must be https, and at public ones.",
    )
    webhook_link: str = Field(
        "",
        description="Address of a run for people, such as https://page.lan/runs/{run_id}, for the "
        "messages; empty: none.",
    )

    @field_validator("webhook", mode="before")
    @classmethod
    def _parse_webhooks(cls, value: Any) -> Any:
        return parse_named(value, "URL", "webhook")

    @field_validator("webhook_secret_file", mode="before")
    @classmethod
    def _parse_secret_files(cls, value: Any) -> Any:
        return parse_named(value, "FILE", "webhook")

    @field_validator("webhook_private", mode="before")
    @classmethod
    def _parse_private(cls, value: Any) -> Any:
        return value.replace(",", " ").split() if isinstance(value, str) else value

    @field_validator("webhook")
    @classmethod
    def _check_webhooks(cls, value: dict[str, str]) -> dict[str, str]:
        for name, target in value.items():
            if not re.fullmatch(NAME_PATTERN, name):
                raise ValueError(f"{name!r} is not a valid webhook name")
            # The URL may be a secret, so that no message shows it.
            if not _is_address(target):
                raise ValueError(
                    f"the address of {name} must be an https URL without user or fragment"
                )
        return value

    @field_validator("webhook_link")
    @classmethod
    def _check_link(cls, value: str) -> str:
        if value and "{run_id}" not in value:
            raise ValueError("must contain {run_id}")
        return value

    @model_validator(mode="after")
    def _check_together(self) -> WebhookSettings:
        for setting in ("webhook_secret_file", "webhook_private"):
            for name in getattr(self, setting):
                if name not in self.webhook:
                    raise ValueError(f"{setting} names {name!r}, which is no webhook")
        for name, target in self.webhook.items():
            if not target.startswith("https:") and name not in self.webhook_private:
                raise ValueError(
                    f"the address of webhook {name} must be https, or {name} be named by "
                    "webhook_private, too"
                )
        return self


def _is_address(target: str) -> bool:
    try:
        url = urlsplit(target)
        _ = url.port
    except ValueError:
        return False
    is_word = target.isascii() and target.isprintable() and " " not in target
    is_plain = url.username is None and not url.fragment and is_word
    return url.scheme in ("http", "https") and bool(url.hostname) and is_plain
