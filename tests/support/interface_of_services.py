"""The interface of the commands and the services: flags, settings, environment, metrics."""

from __future__ import annotations

import enum
import re
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast

import typer
from prometheus_client import CollectorRegistry
from pydantic.fields import FieldInfo

from mentor_service.metrics import MentorMetrics
from mentor_service.settings import MentorSettings, Secrets
from mentorgrad.cli.main import app
from mentorgrad.wire.credentials import Credentials
from service_common.metrics import CallMetrics
from service_common.settings import ServiceSettings
from tests.support.product_source import modules_with, texts_of
from trainer_service.agent.metrics import TrainerMetrics
from trainer_service.agent.settings import WorkerSettings
from trainer_service.agent.store_metrics import StoreMetrics
from trainer_service.prediction.metrics import PredictMetrics
from trainer_service.prediction.settings import PredictorSettings
from trainer_service.settings import TrainerSecrets, TrainerSettings
from trainer_service.webhooks.sender import WebhookSender
from ui_service.metrics import UiMetrics
from ui_service.settings import UiSecrets, UiSettings

_COMPUTED = "computed"
"""Stands for a default that depends on the machine."""

_PREFIX = "(MENTORGRAD|OTEL|XDG|HF|OMP|GRPC|TOKENIZERS)_"
_VARIABLE = re.compile(_PREFIX + "[A-Z0-9]+(_[A-Z0-9]+)*")


def command_line() -> dict[str, Any]:
    """Every command by its path, with its options and arguments; help texts are left out."""
    return dict(_commands("mentorgrad", typer.main.get_command(app)))


def _commands(path: str, command: Any) -> Iterator[tuple[str, Any]]:
    parameters: dict[str, Any] = {}
    arguments = 0
    for parameter in command.params:
        if parameter.param_type_name == "argument":
            arguments += 1
            parameters[f"argument {arguments}"] = _parameter(parameter)
        else:
            parameters[max(parameter.opts, key=len)] = _parameter(parameter)
    yield path, parameters
    if hasattr(command, "list_commands"):
        for name in command.list_commands(None):
            yield from _commands(f"{path} {name}", command.get_command(None, name))


def _parameter(parameter: Any) -> dict[str, Any]:
    is_argument = parameter.param_type_name == "argument"
    found = {
        "flags": [] if is_argument else [*parameter.opts, *parameter.secondary_opts],
        "metavar": parameter.metavar if is_argument else None,
        "type": _type_name(parameter.type_descriptor.annotation),
        "limits": {
            name: getattr(parameter, name)
            for name in ("min", "max")
            if getattr(parameter, name) is not None
        },
        "default": _plain(parameter.default),
        "environment": parameter.envvar,
        "required": parameter.required,
        "multiple": getattr(parameter, "multiple", False) or parameter.nargs != 1,
        "takes_no_value": getattr(parameter, "is_flag", False),
    }
    return {name: value for name, value in found.items() if value not in (None, False, [], {})}


def _plain(value: Any) -> Any:
    """A default as JSON has it."""
    if callable(value):
        return _COMPUTED
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def settings() -> dict[str, Any]:
    """Settings of the services by key; `defaults` that depend on the machine are named as such."""
    return {
        "trainer": _settings_of(TrainerSettings),
        "mentor": _settings_of(MentorSettings),
        "predictor": _settings_of(PredictorSettings),
        "worker": _settings_of(WorkerSettings),
        "ui": _settings_of(UiSettings),
        "mentor_secrets": _settings_of(Secrets),
        "trainer_secrets": _settings_of(TrainerSecrets),
        "ui_secrets": _settings_of(UiSecrets),
    }


def _settings_of(cls: type[ServiceSettings]) -> dict[str, Any]:
    prefix = cls.model_config.get("env_prefix", "")
    return {
        name: {"environment": (prefix + name).upper(), **_setting(field)}
        for name, field in cls.model_fields.items()
    }


def _setting(field: FieldInfo) -> dict[str, Any]:
    # A factory that is a function of ours looks at the machine; `dict` does not.
    is_computed = isinstance(field.default_factory, types.FunctionType)
    default = (
        None if is_computed or field.is_required() else field.get_default(call_default_factory=True)
    )
    limits = {
        name: getattr(item, name)
        for item in field.metadata
        for name in ("gt", "ge", "lt", "le")
        if hasattr(item, name)
    }
    return {
        "type": _type_name(field.annotation),
        "default": _COMPUTED if is_computed else _plain(default),
        **({"limits": limits} if limits else {}),
    }


def _type_name(kind: Any) -> str:
    """A type without modules, the same in every version of Python."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind in (None, type(None)):
        return "None"
    if origin in (typing.Union, types.UnionType):
        return " | ".join(map(_type_name, arguments))
    if origin is typing.Literal:
        return " | ".join(map(repr, arguments))
    if arguments:
        return f"{origin.__name__}[{', '.join(map(_type_name, arguments))}]"
    return "..." if kind is ... else str(kind.__name__)


class _Asked(dict[str, str]):
    """An empty environment that keeps the names it is asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def get(self, key: str, default: Any = None) -> Any:
        self.names.add(key)
        return default


def environment() -> list[str]:
    """Environment variables that are no service's settings: read by commands, the SDK and traces,
    or set for the processes that the product starts."""
    asked = _Asked()
    Credentials.from_environment(asked)
    texts = {text for tree in modules_with(_PREFIX).values() for text in texts_of(tree)}
    return sorted(asked.names | {text for text in texts if _VARIABLE.fullmatch(text)})


class _Registry(CollectorRegistry):
    """Keeps what is registered, with its labels: metrics without samples show none."""

    def __init__(self) -> None:
        super().__init__()
        self.metrics: dict[str, Any] = {}

    def register(self, collector: Any) -> None:
        super().register(collector)
        labels = getattr(collector, "_labelnames", None)
        if labels is not None:  # none of the process's own figures
            (metric,) = collector.describe()
            self.metrics[metric.name] = {"type": metric.type, "labels": list(labels)}


def metrics() -> dict[str, Any]:
    """Metrics of the services, with types and labels."""
    made: dict[str, Callable[[CollectorRegistry], Any]] = {
        "trainer": lambda registry: (
            StoreMetrics(registry),
            TrainerMetrics(registry, ("cpu",)),
            WebhookSender(cast(Any, None), {}, registry=registry),
        ),
        "mentor": lambda registry: MentorMetrics(registry, lambda: 0, lambda: 0),
        "predictor": lambda registry: PredictMetrics(registry, lambda: 0),
        "ui": lambda registry: UiMetrics(registry, lambda: 0, lambda: 0),
    }
    found = {}
    for name, make in made.items():
        registry = _Registry()
        if name != "ui":  # no gRPC server
            CallMetrics(registry)
        make(registry)
        found[name] = registry.metrics
    return found
