"""Settings of the mentor service."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, SecretStr
from pydantic_settings import SettingsConfigDict

from mentorgrad.model_refs import DEFAULT_MENTOR_MODEL
from service_common.settings import ListenerSettings, OperationSettings, ServiceSettings


class MentorSettings(OperationSettings, ListenerSettings):
    """Settings of a mentor service.

    Flags override `MENTORGRAD_MENTOR_*` environment variables, which override a TOML file.
    """

    model_config = SettingsConfigDict(env_prefix="MENTORGRAD_MENTOR_", extra="forbid")

    listen: str = Field(
        "127.0.0.1:50552", description="Listen address, HOST:PORT; port 0: any free port."
    )
    model: str = Field(
        DEFAULT_MENTOR_MODEL,
        description="Model of the mentor: a path, pkg:package/path or hf:org/repo:file; with the "
        "openai backend, the model name on the server.",
    )
    backend: Literal["llama_cpp", "openai"] = Field(
        "llama_cpp",
        description="LLM backend: llama_cpp (in process) or openai (any compatible server).",
    )
    base_url: str = Field(
        "", description="URL of the OpenAI-compatible server, such as http://127.0.0.1:8080/v1."
    )
    threads: int = Field(
        1,
        ge=1,
        le=256,
        description="Threads of llama.cpp. They spin, so leave cores for other processes.",
    )
    gpu_layers: int | None = Field(
        None,
        ge=-1,
        le=10_000,
        description="Model layers on the GPU; -1: all. Default: all if there is a GPU.",
    )
    context: int = Field(
        4096,
        ge=256,
        le=1_048_576,
        description="Maximum tokens of a question and its reply together. A local model has a KV "
        "cache of twice this size, for more replies and earlier questions.",
    )
    queue_limit: int = Field(16, ge=1, le=10_000, description="Maximum number of queued questions.")
    profile: Literal["auto", "small", "capable"] = Field(
        "auto",
        description="Model profile, the form of the questions: auto (by model size), small or "
        "capable.",
    )


class Secrets(ServiceSettings):
    """Secrets, which must not be given on a command line."""

    model_config = SettingsConfigDict(env_prefix="MENTORGRAD_MENTOR_", extra="ignore")

    openai_api_key: SecretStr = SecretStr("")
    """API key of the OpenAI-compatible server."""
