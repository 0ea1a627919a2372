"""Settings of a service: flags over `MENTORGRAD_*` environment over a TOML file over defaults.

A service states its settings once, as a pydantic model; the command's flags, the environment's
names and the reference in docs/ are all made from it.
"""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import typer
from pydantic import Field, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from mentorgrad.errors import InvalidInput, Violation

S = TypeVar("S", bound="ServiceSettings")


class ServiceSettings(BaseSettings):
    """Base of the services' settings. A subclass sets its own `env_prefix`."""

    model_config = SettingsConfigDict(env_prefix="MENTORGRAD_", extra="forbid")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Flags, environment, TOML file: the first that says something wins."""
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)


class ListenerSettings(ServiceSettings):
    """What every service has to say about where it listens, and what protects it there."""

    listen: str = Field("127.0.0.1:0", description="HOST:PORT to listen on; port 0: a free one.")
    tls_certificate: Path | None = Field(
        None, description="PEM file of the service's certificate and its chain; read when renewed."
    )
    tls_key: Path | None = Field(None, description="PEM file of its key.")
    tls_client_ca: Path | None = Field(
        None,
        description="PEM file of authorities; every client then needs a certificate of theirs.",
    )
    tokens: Path | None = Field(
        None,
        description="File of `mentorgrad tokens`; every call but health then needs one of them.",
    )
    insecure: bool = Field(
        False,
        description="Allow what others could reach or read: an address without TLS and tokens, "
        "and tokens sent unencrypted.",
    )


class OperationSettings(ServiceSettings):
    """What every service has to say about how it is watched and stopped."""

    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Least level of log lines; debug: one a call, too."
    )
    log_format: Literal["auto", "console", "json"] = Field(
        "auto", description="How log lines are written; auto: console on a terminal, else json."
    )
    metrics: str = Field(
        "",
        description="HOST:PORT that shows metrics to whoever can reach it; empty: they are not "
        "shown.",
    )
    drain_seconds: float = Field(
        8.0,
        ge=0.0,
        le=3600.0,
        description="Longest time from the signal to stop until the end.",
    )


def load(cls: type[S], config: Path | None, flags: dict[str, Any]) -> S:
    """Reads the settings once.

    Args:
        cls: The settings model.
        config: TOML file, whose keys are the fields' names.
        flags: What the command line gave; None means not given.

    Raises:
        InvalidInput: A value is wrong or the file cannot be read; names the setting.
    """
    given = {name: value for name, value in flags.items() if value not in (None, [], ())}
    if config is not None and not config.is_file():
        raise InvalidInput.field("config", f"there is no file {config}")
    with_file = type(cls.__name__, (cls,), {"model_config": SettingsConfigDict(toml_file=config)})
    try:
        return cls(**with_file(**given).model_dump())
    except ValidationError as error:
        raise InvalidInput(
            violations=[
                Violation(".".join(str(part) for part in item["loc"]), _plain(item["msg"]))
                for item in error.errors()
            ]
        ) from None
    except ValueError as error:  # a TOML file that cannot be parsed
        raise InvalidInput.field("config", f"{config}: {error}") from None


def _plain(message: str) -> str:
    """pydantic's sentence as the rest of one of ours."""
    text = message.removeprefix("Value error, ")
    return text[:1].lower() + text[1:]


def command(cls: type[S], run: Callable[[S], None], doc: str) -> Callable[..., None]:
    """A typer command whose flags are the fields of `cls`, and which calls `run` with them read.

    Every flag defaults to None, "not given", so that the environment and the file can speak; the
    help shows the model's default and the environment's name.
    """
    parameters = [
        inspect.Parameter(
            "config",
            inspect.Parameter.KEYWORD_ONLY,
            default=None,
            annotation=Annotated[
                Path | None, typer.Option("--config", help="TOML file with these settings.")
            ],
        )
    ]
    prefix = cls.model_config.get("env_prefix", "")
    for name, field in cls.model_fields.items():
        parameters.append(
            inspect.Parameter(
                name,
                inspect.Parameter.KEYWORD_ONLY,
                default=None,
                annotation=_annotation(name, field, prefix),
            )
        )

    def invoke(config: Path | None = None, **flags: Any) -> None:
        run(load(cls, config, flags))

    invoke.__doc__ = doc
    invoke.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return invoke


def _annotation(name: str, field: FieldInfo, prefix: str) -> Any:
    kind: Any = field.annotation
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        kind = next(arg for arg in typing.get_args(kind) if arg is not type(None))
    origin = typing.get_origin(kind)
    if origin in (tuple, list, dict):  # repeated flags; the model parses NAME=VALUE itself
        kind = list[str]
    elif kind not in (int, float, bool, Path):
        kind = str
    flag = "--" + name.replace("_", "-")
    default = field.get_default(call_default_factory=True)
    shown = "" if default in (None, "", (), {}) else f" \\[default: {default}]"
    return Annotated[
        kind | None,
        typer.Option(
            f"{flag}/--no-{flag[2:]}" if kind is bool else flag,
            help=f"{field.description}{shown} \\[env: {(prefix + name).upper()}]",
            show_default=False,
        ),
    ]
