"""Settings of a service. Flags override `MENTORGRAD_*` environment variables, which override a TOML
file, which overrides the defaults.

A service defines its settings once, as a pydantic model. The command's flags, the names of the
environment variables and the reference in docs/ are derived from it.
"""

from __future__ import annotations

import inspect
import sys
import tomllib
import types
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import typer
from pydantic import Field, ValidationError, ValidationInfo, field_validator
from pydantic.config import JsonDict
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, EnvSettingsSource, NoDecode, SettingsConfigDict

from mentorgrad.errors import InvalidInput, MentorgradError, Violation
from mentorgrad.outside_text import one_line, without_secrets
from mentorgrad.paths import expanded
from mentorgrad.standard_streams import replace_unencodable
from service_common.tokens import Scope

S = TypeVar("S", bound="ServiceSettings")

Algorithm = Literal[
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"
]
"""Signature algorithms that can be allowed: those with a public key."""

POSITIONAL: JsonDict = {"positional": True}
"""Marks the field of a setting that is an argument of the command instead of a flag."""


def is_positional(field: FieldInfo) -> bool:
    """Whether a setting is an argument of the command."""
    return field.json_schema_extra == POSITIONAL


class ServiceSettings(BaseSettings):
    """Base class of service settings. A subclass sets its own `env_prefix`."""

    # Values from files and Kubernetes secrets end with a line end.
    model_config = SettingsConfigDict(
        env_prefix="MENTORGRAD_", extra="forbid", str_strip_whitespace=True
    )

    @field_validator("*")
    @classmethod
    def _expand_home(cls, value: Any, info: ValidationInfo) -> Any:
        """Expands ``~`` in paths, which no shell does in a file or in the environment."""
        if isinstance(value, tuple):
            return tuple(cls._expand_home(item, info) for item in value)
        try:
            return value.expanduser() if isinstance(value, Path) else value
        except RuntimeError:
            raise ValueError(f"{value}: there is no home folder; give it without ~") from None


def parse_named(value: Any, form: str, what: str) -> Any:
    """Parses repeated NAME=TARGET, a comma-separated list (environment) or a TOML table."""
    if isinstance(value, str):
        value = [part for part in value.split(",") if part.strip()]
    if not isinstance(value, (list, tuple)):
        return value
    parsed: dict[str, str] = {}
    for item in value:
        name, separator, target = (part.strip() for part in str(item).partition("="))
        if not separator or not target:
            raise ValueError(f"must be NAME={form}, not {item!r}")
        if name in parsed:
            raise ValueError(f"contains the {what} name {name!r} twice")
        parsed[name] = target
    return parsed


class ListenerSettings(ServiceSettings):
    """Settings of a service's listener: address, TLS and tokens."""

    listen: str = Field(
        "127.0.0.1:0", description="Listen address, HOST:PORT; port 0: any free port."
    )
    tls_certificate: Path | None = Field(
        None,
        description="Server certificate and chain (PEM); enables TLS. Reloaded when the file "
        "changes.",
    )
    tls_key: Path | None = Field(None, description="Private key of the server certificate (PEM).")
    tls_client_ca: Path | None = Field(
        None,
        description="CA certificates (PEM); clients must have a certificate issued by one of "
        "them (mTLS).",
    )
    tokens: Path | None = Field(
        None,
        description="Token file, see `mentorgrad tokens`; all calls except health checks then need "
        "a token.",
    )
    oidc_issuer: str = Field(
        "",
        description="Identity provider whose tokens (JWTs) are accepted, too: the URL in their "
        "claim iss.",
    )
    oidc_audience: str = Field(
        "", description="Name of this service with the identity provider: the claim aud."
    )
    oidc_keys: str = Field(
        "",
        description="Keys of the identity provider (a JWK set): an https URL, or a file. Default: "
        "those that the issuer names (OpenID Connect Discovery). Read every minute.",
    )
    oidc_algorithm: Annotated[tuple[Algorithm, ...], NoDecode] = Field(
        ("RS256", "ES256"),
        description="Allowed signature algorithm of the identity provider's tokens (repeatable).",
    )
    oidc_scope: Annotated[dict[str, Scope], NoDecode] = Field(
        default_factory=dict,
        description="Scope that a value in the scope claim gives, VALUE=SCOPE (repeatable), such "
        "as trainers=run.",
    )
    oidc_scope_claim: str = Field(
        "scope",
        min_length=1,
        description="Claim with the scopes: words in a string, or a list of strings.",
    )
    oidc_owner_claim: str = Field(
        "sub",
        min_length=1,
        description="Claim that names the owner among those of the issuer. It must be a name that "
        "nobody can choose and that is never given to another one.",
    )
    oidc_project_claim: str = Field("", description="Claim with the project; empty: no project.")
    oidc_clock_skew: float = Field(
        30.0,
        ge=0.0,
        le=300.0,
        description="Accepted difference between the clocks of the identity provider and this "
        "service, seconds.",
    )
    owner_call_rate: float = Field(
        200.0,
        gt=0.0,
        description="Maximum calls per second of one owner; a token may have its own, and "
        "administrators have none.",
    )
    insecure: bool = Field(
        False,
        description="Allow unprotected connections from other machines: an address without TLS and "
        "tokens, and unencrypted tokens.",
    )

    @field_validator("oidc_algorithm", mode="before")
    @classmethod
    def _parse_algorithms(cls, value: Any) -> Any:
        return value.replace(",", " ").split() if isinstance(value, str) else value

    @field_validator("oidc_scope", mode="before")
    @classmethod
    def _parse_scopes(cls, value: Any) -> Any:
        return parse_named(value, "SCOPE", "scope")


class OperationSettings(ServiceSettings):
    """Settings of a service's logging, metrics and shutdown."""

    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Minimum log level; debug also logs one line per call."
    )
    log_format: Literal["auto", "console", "json"] = Field(
        "auto", description="Log format; auto: console on a terminal, otherwise json."
    )
    metrics: str = Field(
        "",
        description="Address of the Prometheus metrics, HOST:PORT, without authentication; empty: "
        "no metrics.",
    )
    drain_seconds: float = Field(
        8.0,
        ge=0.0,
        le=3600.0,
        description="Shutdown grace period, seconds.",
    )


def load(cls: type[S], config: Path | None, flags: dict[str, Any]) -> S:
    """Reads the settings.

    Args:
        cls: Settings model.
        config: TOML file; its keys are the field names. If it has a table with the service's name,
            as the file of ``serve all``, only that table is read. None: no file.
        flags: Values from the command line by field name; None: not given.

    Raises:
        InvalidInput: A value is invalid or the file cannot be read; names the setting.
    """
    given = {name: value for name, value in flags.items() if value not in (None, [], ())}
    config = config and expanded(config, "config")
    if config is not None and not config.is_file():
        raise InvalidInput.field("config", f"file {config} does not exist")
    try:
        file = tomllib.loads(config.read_text(encoding="utf-8-sig")) if config is not None else {}
        own = file.get(_service(cls))
        table = own if isinstance(own, dict) else file
        return cls(**{**table, **EnvSettingsSource(cls)(), **given})
    except ValidationError as error:
        raise InvalidInput(
            violations=[
                Violation(
                    ".".join(str(part) for part in item["loc"]),
                    _missing(cls, str(item["loc"][0]))
                    if item["type"] == "missing"
                    else _plain(item["msg"]),
                )
                for item in error.errors()
            ]
        ) from None
    except (OSError, ValueError) as error:  # a file that cannot be read or parsed
        raise InvalidInput.field("config", f"{config}: {error}") from None


def _service(cls: type[ServiceSettings]) -> str:
    """Name of the service: ``trainer`` for the variables ``MENTORGRAD_TRAINER_*``."""
    return cls.model_config.get("env_prefix", "").removeprefix("MENTORGRAD_").strip("_").lower()


def _missing(cls: type[ServiceSettings], name: str) -> str:
    variable = (cls.model_config.get("env_prefix", "") + name).upper()
    is_argument = is_positional(cls.model_fields[name])
    flag = name.upper() if is_argument else "--" + name.replace("_", "-")
    return f"must be given, as {flag} or {variable}"


def _plain(message: str) -> str:
    """Turns a message of pydantic into a description that follows the setting's name."""
    text = without_secrets(message.removeprefix("Value error, "))
    return text[:1].lower() + text[1:]


def command(cls: type[S], run: Callable[[S], None], doc: str) -> Callable[..., None]:
    """Creates a typer command whose flags are the fields of `cls`; it passes the settings to `run`.

    Every flag defaults to None ("not given"), so that the environment and the file apply. The help
    text shows the model's default, and once how the environment variables are named: one beside
    each flag would be cut off on a terminal of 80 columns.
    """
    prefix = cls.model_config.get("env_prefix", "").upper()
    named = next(name for name, field in cls.model_fields.items() if not is_positional(field))
    variable = f"{prefix}{named.upper()} for --{named.replace('_', '-')}"
    parameters = [
        inspect.Parameter(
            "config",
            inspect.Parameter.KEYWORD_ONLY,
            default=None,
            annotation=Annotated[
                Path | None,
                typer.Option(
                    "--config",
                    help="TOML file with these settings. Each has an environment variable, too, "
                    f"such as {variable}.",
                ),
            ],
        )
    ]
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


def run_app(app: typer.Typer, program: str) -> None:
    """Runs a service's command line. An error prints one line; exit code 2 for invalid input,
    else 1.

    Args:
        app: The commands.
        program: Name of the program in the help.
    """
    replace_unencodable()
    try:
        app(prog_name=program)
    except MentorgradError as error:
        sys.stderr.write(f"error: {one_line(error.message)}\n")
        sys.exit(2 if isinstance(error, InvalidInput) else 1)


def _annotation(name: str, field: FieldInfo, prefix: str) -> Any:
    kind: Any = field.annotation
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        kind = next(arg for arg in typing.get_args(kind) if arg is not type(None))
    origin = typing.get_origin(kind)
    if origin in (tuple, list, dict):  # repeated flags; the model parses NAME=VALUE
        kind = list[str]
    elif kind not in (int, float, bool, Path):
        kind = str
    if is_positional(field):
        said = f"{field.description} \\[env: {(prefix + name).upper()}]"
        return Annotated[kind | None, typer.Argument(metavar=name.upper(), help=said)]
    flag = "--" + name.replace("_", "-")
    default = None if field.is_required() else field.get_default(call_default_factory=True)
    default = " ".join(default) if isinstance(default, tuple) else default
    shown = "" if default in (None, "", (), {}) else f" \\[default: {default}]"
    shown = " Required." if field.is_required() else shown
    return Annotated[
        kind | None,
        typer.Option(
            f"{flag}/--no-{flag[2:]}" if kind is bool else flag,
            help=f"{field.description}{shown}",
            show_default=False,
        ),
    ]
