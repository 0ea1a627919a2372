"""Settings of where models are, which all services that compute with them share."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator
from pydantic_settings import NoDecode

from mentorgrad.schema import NAME_PATTERN
from service_common.settings import ServiceSettings, parse_named


def default_cache_dir() -> Path:
    """``~/.cache/mentorgrad``, or ``$XDG_CACHE_HOME/mentorgrad`` if that variable is set; without a
    home folder ``.cache/mentorgrad``."""
    try:
        base = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    except RuntimeError:
        # Not the folder of temporary files, where others could put models of theirs.
        base = Path.cwd() / ".cache"
    return base / "mentorgrad"


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
