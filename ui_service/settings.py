"""Settings of the page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import NoDecode, SettingsConfigDict

from mentorgrad.async_client import DEFAULT_TARGET
from mentorgrad.wire.addresses import is_target
from mentorgrad.wire.credentials import Credentials
from service_common.settings import ListenerSettings, OperationSettings, ServiceSettings


class UiSettings(OperationSettings, ListenerSettings):
    """Settings of the page.

    Flags override `MENTORGRAD_UI_*` environment variables, which override a TOML file.
    """

    model_config = SettingsConfigDict(env_prefix="MENTORGRAD_UI_", extra="forbid")

    listen: str = Field(
        "127.0.0.1:8080", description="Listen address, HOST:PORT; port 0: any free port."
    )
    drain_seconds: float = Field(
        1.0, ge=0.0, le=3600.0, description="Shutdown grace period, seconds."
    )
    server: str = Field(DEFAULT_TARGET, description="Trainer address, HOST:PORT.")
    token_file: Path | None = Field(
        None,
        description="File with the token to send to the trainer; without it, MENTORGRAD_UI_TOKEN "
        "is used. The page shows the runs that this token sees.",
    )
    ca: Path | None = Field(
        None, description="CA certificates (PEM) for the trainer; enables TLS to it."
    )
    cert: Path | None = Field(None, description="Client certificate (PEM) for mTLS to the trainer.")
    key: Path | None = Field(None, description="Private key of the client certificate (PEM).")
    login: bool = Field(
        False,
        description="Require a login on a loopback address, too. Wherever tokens or an identity "
        "provider are given, a login is required anyway.",
    )
    allow_actions: bool = Field(
        False,
        description="Let visitors cancel, pause, resume and finish runs, and edit labels and "
        "notes. Where a login is required, with the rights of their own tokens at the trainer; "
        "otherwise with those of the page's token.",
    )
    predictor: str = Field(
        "",
        description="Predict service, HOST:PORT, whose classifier visitors may try; it gets the "
        "same token and certificates as the trainer.",
    )
    host: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="Host name by which browsers reach the page (repeatable), beside localhost and "
        "IP addresses. Requests for other names are refused.",
    )

    @field_validator("server")
    @classmethod
    def _check_server(cls, value: str) -> str:
        if not is_target(value):
            raise ValueError(f"must be HOST:PORT, not {value!r}")
        return value

    @field_validator("host", mode="before")
    @classmethod
    def _parse_hosts(cls, value: Any) -> Any:
        names = value.split(",") if isinstance(value, str) else value
        return tuple(filter(None, (str(name).strip().lower() for name in names)))


class UiSecrets(ServiceSettings):
    """Secrets, which must not be given on a command line."""

    model_config = SettingsConfigDict(env_prefix="MENTORGRAD_UI_", extra="ignore")

    token: SecretStr = SecretStr("")
    """Token to send to the trainer if no token file is given."""


def trainer_credentials(settings: UiSettings, secrets: UiSecrets) -> Credentials:
    """What the page presents to the trainer.

    Raises:
        InvalidInput: The settings contradict each other, or the token would be sent unencrypted.
    """
    found = Credentials(
        ca=settings.ca,
        certificate=settings.cert,
        key=settings.key,
        token="" if settings.token_file is not None else secrets.token.get_secret_value(),
        token_file=settings.token_file,
        insecure=settings.insecure,
    )
    found.check_target(settings.server)
    if found.has_token:
        found.bearer()
    found.read()
    return found
