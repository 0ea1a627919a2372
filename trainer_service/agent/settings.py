"""Settings of executing runs, which trainer services and workers share."""

from __future__ import annotations

import os
import re
import socket
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, field_validator, model_validator
from pydantic_settings import NoDecode, SettingsConfigDict

from mentorgrad.domain.spec import CONTROLS
from mentorgrad.schema import NAME_PATTERN
from mentorgrad.wire.addresses import is_target
from service_common.settings import OperationSettings, parse_named
from trainer_service.job import STORE_PATIENCE
from trainer_service.model_settings import ModelSettings, check_roots, parse_roots


def default_threads() -> int:
    """Half of the cores: the other half is left for the mentor, whose threads spin."""
    return max((os.cpu_count() or 2) // 2, 1)


def default_name() -> str:
    """``HOST-PROCESS``."""
    return f"{socket.gethostname()}-{os.getpid()}"


class ExecutionSettings(OperationSettings, ModelSettings):
    """Where runs come from, and what executes them."""

    insecure: bool = Field(False, description="Allow unencrypted tokens to mentors.")
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
    owner_running_limit: int | None = Field(
        None,
        ge=1,
        le=10_000,
        description="Maximum number of runs of one owner that run at once; the others wait. "
        "Default: no limit, but owners take turns.",
    )
    max_restarts: int = Field(
        3, ge=0, le=1000, description="Automatic resumes of a run whose worker died, at most."
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
        STORE_PATIENCE,
        ge=0.0,
        le=86_400.0,
        description="Time the store may be unavailable before its runs are paused, in seconds.",
    )
    warm: bool = Field(True, description="Keep one idle worker with its imports done.")

    name: str = Field(
        default_factory=default_name,
        min_length=1,
        max_length=200,
        pattern=r"^\S+$",
        description="Name among all trainers and workers of the store.",
    )
    label: Annotated[dict[str, str], NoDecode] = Field(
        default_factory=dict,
        description="What specs may require, NAME=VALUE (repeatable), such as gpu=h200.",
    )

    @field_validator("label", mode="before")
    @classmethod
    def _parse_labels(cls, value: Any) -> Any:
        return parse_named(value, "VALUE", "label")

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
            if not is_target(target):
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


RAY_ONLY = ("ray_workers", "ray_cpus", "ray_gpus")
"""Settings that have a meaning with ``ray`` only."""


class WorkerSettings(ExecutionSettings):
    """Settings of an agent without a trainer service: ``mentorgrad serve worker``."""

    model_config = SettingsConfigDict(env_prefix="MENTORGRAD_WORKER_", extra="forbid")

    store: str = Field(
        description="URL of the trainer's run store: postgresql://USER@HOST/DATABASE. Set one with "
        "a password by the environment."
    )
    slots: int = Field(1, ge=1, le=64, description="Maximum number of concurrent runs per device.")
    runs: int | None = Field(
        None, ge=1, description="Number of runs after which the worker exits. Default: no limit."
    )
    until_idle: float | None = Field(
        None,
        ge=0.0,
        description="Time without a run after which the worker exits, in seconds. Default: never.",
    )
    ray: bool = Field(
        False,
        description="Start workers on the nodes of a Ray cluster instead of here: of the one that "
        "RAY_ADDRESS names, or that this machine is part of.",
    )
    ray_workers: int = Field(1, ge=1, le=10_000, description="With --ray: number of workers.")
    ray_cpus: int = Field(
        1,
        ge=1,
        le=1024,
        description="With --ray: CPUs of a node that each worker has. Unless --threads is given, "
        "its runs share them.",
    )
    ray_gpus: float = Field(
        0.0,
        ge=0.0,
        le=64.0,
        description="With --ray: GPUs of a node that each worker has. A fraction, such as 0.25, "
        "makes workers share a GPU, which divides neither its memory nor its time.",
    )

    @field_validator("ray_gpus")
    @classmethod
    def _check_gpus(cls, value: float) -> float:
        if value > 1 and value != int(value):
            raise ValueError("must be a whole number, or less than 1")
        return value

    @model_validator(mode="after")
    def _check_ray(self) -> WorkerSettings:
        given = [name for name in RAY_ONLY if name in self.model_fields_set]
        if given and not self.ray:
            raise ValueError(f"{given[0]} is for workers on a Ray cluster, and ray is not set")
        if self.ray and self.metrics:
            raise ValueError("metrics must be empty with ray: its workers may share a machine")
        if self.ray and self.device == "cuda" and not self.ray_gpus:
            raise ValueError("device cuda with ray needs ray_gpus")
        return self

    @field_validator("store")
    @classmethod
    def _check_store(cls, value: str) -> str:
        if not value.startswith("postgresql"):
            raise ValueError("must be postgresql://..., which can be reached from other hosts")
        return value
