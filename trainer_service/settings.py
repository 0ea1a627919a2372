"""Settings of the trainer service: the source of its flags, environment variables and reference."""

from __future__ import annotations

from pydantic import Field, SecretStr
from pydantic_settings import SettingsConfigDict

from service_common.settings import ListenerSettings, ServiceSettings
from trainer_service.agent.settings import ExecutionSettings
from trainer_service.webhooks.settings import WebhookSettings


class TrainerSettings(ExecutionSettings, ListenerSettings, WebhookSettings):
    """Settings of a trainer service."""

    model_config = SettingsConfigDict(env_prefix="MENTORGRAD_TRAINER_", extra="forbid")

    listen: str = Field(
        "127.0.0.1:50551", description="Listen address, HOST:PORT; port 0: any free port."
    )
    workers_per_device: int = Field(
        1,
        ge=0,
        le=64,
        description="Maximum number of concurrent runs per device; 0: this trainer executes none "
        "and leaves them to workers.",
    )
    queue_limit: int = Field(100, ge=1, le=100_000, description="Maximum number of queued runs.")
    audit_days: int = Field(
        90, ge=1, description="Days that the audit keeps who changed what and who was refused."
    )
    owner_queue_limit: int | None = Field(
        None,
        ge=1,
        le=100_000,
        description="Maximum number of queued runs of one owner. Tokens may have their own, and "
        "administrators have none. Default: half of queue_limit.",
    )
    owner_experiment_limit: int = Field(
        16,
        ge=1,
        le=10_000,
        description="Maximum number of running experiments of one owner. Tokens may have their "
        "own, and administrators have none.",
    )
    owner_run_limit: int | None = Field(
        None,
        ge=1,
        description="Maximum number of runs that one owner keeps, of any state; with more, it can "
        "create and import none before it deletes some. Tokens may have their own, and "
        "administrators have none. Default: no limit.",
    )
    owner_size_limit_mib: int | None = Field(
        None,
        ge=1,
        description="Maximum size of the ended runs of one owner, in MiB; with more, it can create "
        "and import none before some are deleted or dropped (`mentorgrad store gc`). Tokens may "
        "have their own, and administrators have none. Default: no limit.",
    )
    import_limit_mib: int = Field(
        256, ge=1, le=65_536, description="Maximum size of an imported run, in MiB."
    )
    import_limit_events: int = Field(
        1_000_000, ge=1, description="Maximum number of events of an imported run."
    )
    upload_limit_mib: int = Field(
        64, ge=1, le=256, description="Maximum size of an uploaded data file, in MiB."
    )
    upload_keep_hours: float = Field(
        24.0,
        ge=0.1,
        le=8760.0,
        description="Time after which an uploaded data file that no run uses is deleted, in hours.",
    )


class TrainerSecrets(ServiceSettings):
    """Secrets, which must not be given on a command line."""

    model_config = SettingsConfigDict(env_prefix="MENTORGRAD_TRAINER_", extra="ignore")

    openai_api_key: SecretStr = SecretStr("")
    """API key of the served models."""
