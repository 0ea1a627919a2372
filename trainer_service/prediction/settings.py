"""Settings of the predict service."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from service_common.settings import POSITIONAL, ListenerSettings, OperationSettings
from trainer_service.model_settings import ModelSettings


def all_cores() -> int:
    """All cores."""
    return os.cpu_count() or 1


class PredictorSettings(OperationSettings, ModelSettings, ListenerSettings):
    """Settings of a predict service."""

    model_config = SettingsConfigDict(env_prefix="MENTORGRAD_PREDICTOR_", extra="forbid")

    listen: str = Field(
        "127.0.0.1:50553", description="Listen address, HOST:PORT; port 0: any free port."
    )
    result: Path = Field(
        description="Folder with the files of a run.", json_schema_extra=POSITIONAL
    )
    use: Literal["auto", "prompt", "words", "probe"] = Field(
        "auto",
        description="What predicts: the tuned prompt, the prompt in words, or the linear probe; "
        "auto: what the folder names, otherwise prompt.",
    )
    model: str = Field("", description="Reference of the model, if it has moved.")
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto",
        description="Device that predicts: cpu or cuda; auto: the kind of the run's device if "
        "there is one, otherwise cpu.",
    )
    threads: int = Field(default_factory=all_cores, ge=1, le=1024, description="Threads of torch.")
    queue_limit: int = Field(
        16_384, ge=1, le=10_000_000, description="Maximum number of texts that wait."
    )
