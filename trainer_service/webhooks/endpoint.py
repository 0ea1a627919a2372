"""A webhook as the operator has set it up."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from mentorgrad.errors import InvalidInput
from trainer_service.webhooks.message import secrets_of
from trainer_service.webhooks.settings import WebhookSettings


@dataclass(frozen=True)
class Endpoint:
    """Where messages go, and how."""

    name: str
    """Name in specs."""
    url: str
    """Address; may be a secret."""
    secret_file: Path | None = None
    """File with the secrets that messages are signed with; None: they are not signed."""
    allows_private: bool = False
    """Whether its host may have an address that is not public."""


def endpoints_of(settings: WebhookSettings) -> Mapping[str, Endpoint]:
    """Name of each webhook → the webhook."""
    return {
        name: Endpoint(
            name,
            url,
            settings.webhook_secret_file.get(name),
            name in settings.webhook_private,
        )
        for name, url in settings.webhook.items()
    }


def check_secrets(endpoints: Iterable[Endpoint]) -> None:
    """Checks that the secrets can be read, so that a mistake shows at the start.

    Raises:
        InvalidInput: A file has none.
    """
    for endpoint in endpoints:
        if endpoint.secret_file is None:
            continue
        try:
            secrets_of(endpoint.secret_file)
        except InvalidInput as error:
            raise InvalidInput.field("webhook_secret_file", error.message) from None
