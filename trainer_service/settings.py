"""Settings of the trainer service: the source of its flags, environment variables and reference."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import NoDecode, SettingsConfigDict

from mentorgrad.domain.spec import CONTROLS
from mentorgrad.schema import NAME_PATTERN
from service_common.settings import (
    ListenerSettings,
    OperationSettings,
    ServiceSettings,
    parse_named,
)


def default_cache_dir() -> Path:
    """``~/.cache/mentorgrad``, or ``$XDG_CACHE_HOME/mentorgrad`` if that variable is set; without a
    home folder ``.cache/mentorgrad``."""
    try:
        base = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    except RuntimeError:
        # Not the folder of temporary files, where others could put models of theirs.
        base = Path.cwd() / ".cache"
    return base / "mentorgrad"


def default_threads() -> int:
    """Half of the cores: the other half is left for the mentor, whose threads spin."""
    return max((os.cpu_count() or 2) // 2, 1)


def parse_roots(value: Any) -> Any:
    """Parses repeated folders, or a list with the separator of PATH (environment)."""
    return tuple(filter(None, value.split(os.pathsep))) if isinstance(value, str) else value


def check_roots(value: tuple[Path, ...]) -> tuple[Path, ...]:
    """The folders without symbolic links; refuses those that do not exist."""
    for root in value:
        if not root.is_dir():
            raise ValueError(f"folder {root} does not exist")
    return tuple(root.resolve() for root in value)


class ModelSettings(ServiceSettings):
    """Where the models of runs are."""

    tuned_model: Annotated[dict[str, str], NoDecode] = Field(
        default_factory=dict,
        description="Served model that prompts can be tuned for, NAME=URL (repeatable): an "
        "OpenAI-compatible server, such as http://127.0.0.1:8080/v1; a fragment is the model's "
        "name on the server (http://127.0.0.1:11434/v1#qwen2.5:1.5b).",
    )
    model_root: Annotated[tuple[Path, ...], NoDecode] = Field(
        (), description="Folder from which models may be loaded (repeatable)."
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="Device that executes runs: auto, cpu or cuda."
    )
    cache_dir: Path = Field(
        default_factory=default_cache_dir,
        description="Folder for cached embeddings and dequantised models.",
    )

    @field_validator("tuned_model", mode="before")
    @classmethod
    def _parse_tuned_models(cls, value: Any) -> Any:
        return parse_named(value, "URL", "model")

    @field_validator("tuned_model")
    @classmethod
    def _check_tuned_models(cls, value: dict[str, str]) -> dict[str, str]:
        for name, target in value.items():
            if not re.fullmatch(NAME_PATTERN, name):
                raise ValueError(f"{name!r} is not a valid model name")
            url = urlsplit(target)
            if url.scheme not in ("http", "https") or not url.hostname:
                raise ValueError(f"the address of {name} must be an http(s) URL, not {target!r}")
        return value

    @field_validator("model_root", mode="before")
    @classmethod
    def _parse_model_roots(cls, value: Any) -> Any:
        return parse_roots(value)

    @field_validator("model_root")
    @classmethod
    def _check_model_roots(cls, value: tuple[Path, ...]) -> tuple[Path, ...]:
        return check_roots(value)


class TrainerSettings(OperationSettings, ModelSettings, ListenerSettings):
    """Settings of a trainer service."""

    model_config = SettingsConfigDict(env_prefix="MENTORGRAD_TRAINER_", extra="forbid")

    listen: str = Field(
        "127.0.0.1:50551", description="Listen address, HOST:PORT; port 0: any free port."
    )
    store: str = Field(
        "sqlite:///mentorgrad.sqlite",
        description="URL of the run store: sqlite:///PATH or postgresql://USER@HOST/DATABASE.",
    )
    mentor: Annotated[dict[str, str], NoDecode] = Field(
        default_factory=dict,
        description="Mentor service, NAME=HOST:PORT (repeatable).",
    )
    mentor_ca: Path | None = Field(
        None,
        description="CA certificates (PEM) for connections to the mentors; enables TLS to them.",
    )
    mentor_certificate: Path | None = Field(
        None, description="Client certificate and chain (PEM) for mTLS to the mentors."
    )
    mentor_key: Path | None = Field(
        None, description="Private key of the client certificate (PEM)."
    )
    mentor_token_file: Path | None = Field(
        None, description="File with the token that is sent to the mentors."
    )
    data_root: Annotated[tuple[Path, ...], NoDecode] = Field(
        (), description="Folder from which task data files may be read (repeatable)."
    )
    workers_per_device: int = Field(
        1, ge=1, le=64, description="Maximum number of concurrent runs per device."
    )
    threads: int = Field(
        default_factory=default_threads, ge=1, le=1024, description="Threads per worker."
    )
    runs_per_worker: int = Field(
        1,
        ge=1,
        le=1000,
        description="Runs that one worker process executes, one after another. A higher number "
        "saves the imports, some seconds of CPU time per run; with 1 each run has its own process.",
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
    owner_running_limit: int | None = Field(
        None,
        ge=1,
        le=10_000,
        description="Maximum number of runs of one owner that run at once; the others wait. "
        "Default: no limit, but owners take turns.",
    )
    owner_experiment_limit: int = Field(
        16,
        ge=1,
        le=10_000,
        description="Maximum number of running experiments of one owner. Tokens may have their "
        "own, and administrators have none.",
    )
    max_restarts: int = Field(
        3, ge=0, le=1000, description="Automatic resumes of a run whose worker died, at most."
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
    state_cache_mib: int = Field(
        2048,
        ge=0,
        le=1_048_576,
        description="Maximum memory of a worker for the keys and values of texts, which "
        "`causal_prompt` computes once, in MiB. Those of further texts are computed in each pass. "
        "What the current run leaves is for those of the worker's earlier runs.",
    )
    spool_mib: int = Field(
        64,
        ge=1,
        le=65_536,
        description="Maximum data per run that is buffered while the store is unavailable, in MiB.",
    )
    store_patience: float = Field(
        300.0,
        ge=0.0,
        le=86_400.0,
        description="Time the store may be unavailable before its runs are paused, in seconds.",
    )
    warm: bool = Field(True, description="Keep one idle worker with its imports done.")

    @field_validator("mentor", mode="before")
    @classmethod
    def _parse_mentors(cls, value: Any) -> Any:
        return parse_named(value, "HOST:PORT", "mentor")

    @field_validator("mentor")
    @classmethod
    def _check_mentors(cls, value: dict[str, str]) -> dict[str, str]:
        for name, target in value.items():
            if not re.fullmatch(NAME_PATTERN, name):
                raise ValueError(f"{name!r} is not a valid mentor name")
            if name in CONTROLS:
                raise ValueError(
                    f"{name!r} is the name of a control; choose another name for the mentor"
                )
            host, separator, port = target.rpartition(":")
            if not separator or not host or not port.isdigit():
                raise ValueError(f"the address of {name} must be HOST:PORT, not {target!r}")
        return value

    @field_validator("data_root", mode="before")
    @classmethod
    def _parse_data_roots(cls, value: Any) -> Any:
        return parse_roots(value)

    @field_validator("data_root")
    @classmethod
    def _check_data_roots(cls, value: tuple[Path, ...]) -> tuple[Path, ...]:
        return check_roots(value)


class TrainerSecrets(ServiceSettings):
    """Secrets, which must not be given on a command line."""

    model_config = SettingsConfigDict(env_prefix="MENTORGRAD_TRAINER_", extra="ignore")

    openai_api_key: SecretStr = SecretStr("")
    """API key of the served models."""
