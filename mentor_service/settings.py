"""Settings of the mentor service."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, SecretStr
from pydantic_settings import SettingsConfigDict

from mentorgrad.model_refs import DEFAULT_MENTOR_MODEL
from service_common.settings import ListenerSettings, OperationSettings, ServiceSettings


class MentorSettings(OperationSettings, ListenerSettings):
    """Flags, `MENTORGRAD_MENTOR_*` environment or a TOML file, in that order of strength."""

    model_config = SettingsConfigDict(env_prefix="MENTORGRAD_MENTOR_", extra="forbid")

    listen: str = Field("127.0.0.1:50552", description="Address to serve on; port 0: a free one.")
    model: str = Field(
        DEFAULT_MENTOR_MODEL,
        description="Model: a path, pkg:package/path or hf:org/repo:file; with the "
        "openai backend, its name at the server.",
    )
    backend: Literal["llama_cpp", "openai"] = Field(
        "llama_cpp", description="llama_cpp (in this process) or openai (any compatible server)."
    )
    base_url: str = Field(
        "", description="Address of the OpenAI-compatible server, such as http://127.0.0.1:8080/v1."
    )
    threads: int = Field(
        1, ge=1, le=256, description="Threads of llama.cpp. They spin, so leave cores to others."
    )
    gpu_layers: int | None = Field(
        None,
        ge=-1,
        le=10_000,
        description="Layers on the GPU; -1: all. Default: all if there is one.",
    )
    context: int = Field(
        4096,
        ge=256,
        le=1_048_576,
        description="Tokens of a question and its reply together; the local model's memory holds "
        "twice as many, for further replies and earlier questions.",
    )
    queue_limit: int = Field(16, ge=1, le=10_000, description="Questions that may wait.")
    profile: Literal["auto", "small", "capable"] = Field(
        "auto", description="Form of the questions: auto (by the model's size), small or capable."
    )


class Secrets(ServiceSettings):
    """What must not stand on a command line."""

    model_config = SettingsConfigDict(env_prefix="MENTORGRAD_MENTOR_", extra="ignore")

    openai_api_key: SecretStr = SecretStr("")
    """Key for the OpenAI-compatible server."""
