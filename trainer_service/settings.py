"""Settings of the trainer service, stated once: flags, environment, TOML file and reference."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator
from pydantic_settings import NoDecode, SettingsConfigDict

from mentorgrad.domain.spec import CONTROLS, NAME_PATTERN
from service_common.settings import ListenerSettings, OperationSettings


def default_cache_dir() -> Path:
    """``~/.cache/mentorgrad``, or under ``$XDG_CACHE_HOME`` where that is set."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "mentorgrad"


def default_threads() -> int:
    """Half the cores: the other half is for the mentor, whose threads spin."""
    return max((os.cpu_count() or 2) // 2, 1)


class TrainerSettings(OperationSettings, ListenerSettings):
    """Everything that shapes a trainer service."""

    model_config = SettingsConfigDict(env_prefix="MENTORGRAD_TRAINER_", extra="forbid")

    listen: str = Field(
        "127.0.0.1:50551", description="HOST:PORT to listen on; port 0: a free one."
    )
    store: str = Field(
        "sqlite:///mentorgrad.sqlite",
        description="Run store: sqlite:///PATH or postgresql://USER@HOST/DATABASE.",
    )
    mentor: Annotated[dict[str, str], NoDecode] = Field(
        default_factory=dict,
        description="A mentor as NAME=HOST:PORT; may be repeated.",
    )
    mentor_ca: Path | None = Field(
        None,
        description="PEM file of the authorities that vouch for the mentors, which are then "
        "reached by TLS.",
    )
    mentor_certificate: Path | None = Field(
        None, description="PEM file of our certificate and its chain, for mentors that want one."
    )
    mentor_key: Path | None = Field(None, description="PEM file of its key.")
    mentor_token_file: Path | None = Field(
        None, description="File that holds our token for the mentors."
    )
    data_root: Annotated[tuple[Path, ...], NoDecode] = Field(
        (), description="Folder that tasks' files may lie in; may be repeated."
    )
    model_root: Annotated[tuple[Path, ...], NoDecode] = Field(
        (), description="Folder that models may lie in; may be repeated."
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="Where runs compute: auto, cpu or cuda."
    )
    workers_per_device: int = Field(1, ge=1, le=64, description="Runs at once on each device.")
    threads: int = Field(
        default_factory=default_threads, ge=1, le=1024, description="Threads of a worker."
    )
    runs_per_worker: int = Field(
        1,
        ge=1,
        le=1000,
        description="Runs that one worker process executes, one after another. More saves each the "
        "imports, some seconds of a core; 1 gives each run a process of its own.",
    )
    queue_limit: int = Field(100, ge=1, le=100_000, description="Most runs that may wait.")
    max_restarts: int = Field(
        3, ge=0, le=1000, description="How often a run whose worker died is resumed by itself."
    )
    import_limit_mib: int = Field(
        256, ge=1, le=65_536, description="Largest run that may be imported, in MiB."
    )
    import_limit_events: int = Field(
        1_000_000, ge=1, description="Most events of a run that may be imported."
    )
    cache_dir: Path = Field(
        default_factory=default_cache_dir, description="Folder of cached embeddings."
    )
    spool_mib: int = Field(
        64,
        ge=1,
        le=65_536,
        description="Most that a run may have waiting for a store that is away, in MiB.",
    )
    store_patience: float = Field(
        300.0,
        ge=0.0,
        le=86_400.0,
        description="Seconds that the store may be away before its runs are paused.",
    )
    warm: bool = Field(True, description="Keep one worker waiting with its imports done.")

    @field_validator("mentor", mode="before")
    @classmethod
    def _parse_mentors(cls, value: Any) -> Any:
        """NAME=HOST:PORT, repeated or (in the environment) between commas; or a TOML table."""
        if isinstance(value, str):
            value = [part for part in value.split(",") if part.strip()]
        if not isinstance(value, (list, tuple)):
            return value
        parsed: dict[str, str] = {}
        for item in value:
            name, separator, target = str(item).strip().partition("=")
            if not separator or not target:
                raise ValueError(f"must be NAME=HOST:PORT, not {item!r}")
            if name in parsed:
                raise ValueError(f"names {name!r} twice")
            parsed[name] = target
        return parsed

    @field_validator("mentor")
    @classmethod
    def _check_mentors(cls, value: dict[str, str]) -> dict[str, str]:
        for name, target in value.items():
            if not re.fullmatch(NAME_PATTERN, name):
                raise ValueError(f"a mentor cannot be called {name!r}")
            if name in CONTROLS:
                raise ValueError(f"{name!r} is a control; choose another name for the mentor")
            host, separator, port = target.rpartition(":")
            if not separator or not host or not port.isdigit():
                raise ValueError(f"{name} must be at HOST:PORT, not {target!r}")
        return value

    @field_validator("data_root", "model_root", mode="before")
    @classmethod
    def _parse_roots(cls, value: Any) -> Any:
        """Repeated, or (in the environment) separated as in PATH."""
        return tuple(filter(None, value.split(os.pathsep))) if isinstance(value, str) else value

    @field_validator("data_root", "model_root")
    @classmethod
    def _check_roots(cls, value: tuple[Path, ...]) -> tuple[Path, ...]:
        for root in value:
            if not root.is_dir():
                raise ValueError(f"there is no folder {root}")
        return tuple(root.resolve() for root in value)
