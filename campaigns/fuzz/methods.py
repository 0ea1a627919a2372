"""Every method of every service, from the protos' own descriptors."""

from __future__ import annotations

import importlib
import pkgutil
from dataclasses import dataclass
from typing import Any

from google.protobuf.descriptor import ServiceDescriptor
from grpc import StatusCode
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

import mentorgrad.v1
from mentorgrad.wire.documented_codes import ANY, SPECIFIC

MENTOR, TRAINER, PREDICTOR = "mentor", "trainer", "predictor"

_SERVERS = {"MentorService": MENTOR, "PredictService": PREDICTOR}
"""Servers of the services that are not the trainer's."""

_FOREIGN = frozenset(
    {
        StatusCode.OK,
        StatusCode.INVALID_ARGUMENT,
        StatusCode.NOT_FOUND,
        StatusCode.UNIMPLEMENTED,
        StatusCode.RESOURCE_EXHAUSTED,
    }
)
"""Of health and reflection, which are not ours."""

_NOT_HERE = {
    StatusCode.UNAVAILABLE,
    StatusCode.DEADLINE_EXCEEDED,
    StatusCode.CANCELLED,
    StatusCode.DATA_LOSS,
    StatusCode.UNAUTHENTICATED,
    StatusCode.PERMISSION_DENIED,
}
"""Documented, and yet wrong where nothing is away, late, given up, damaged or locked."""


@dataclass(frozen=True)
class Method:
    """One method of one of the services."""

    server: str
    """`MENTOR`, `TRAINER` or `PREDICTOR`."""
    service: str
    """Full name."""
    name: str
    """Its name."""
    request: Any
    """Descriptor of its request."""
    many_in: bool
    """Whether requests are a stream."""
    many_out: bool
    """Whether responses are a stream."""

    @property
    def path(self) -> str:
        return f"/{self.service}/{self.name}"

    @property
    def short(self) -> str:
        return f"{self.service.rpartition('.')[2]}.{self.name}"

    @property
    def codes(self) -> frozenset[StatusCode]:
        """What it may answer where all services are well."""
        if not self.service.startswith("mentorgrad."):
            return _FOREIGN
        return frozenset({*ANY, *SPECIFIC[self.path]}) - _NOT_HERE


def _of(service: ServiceDescriptor, server: str) -> list[Method]:
    return [
        Method(
            server,
            service.full_name,
            method.name,
            method.input_type,
            method.client_streaming,
            method.server_streaming,
        )
        for method in service.methods
    ]


def _ours() -> list[Method]:
    found = []
    for module in pkgutil.iter_modules(mentorgrad.v1.__path__):
        if module.name.endswith("_service_pb2"):
            file = importlib.import_module(f"mentorgrad.v1.{module.name}").DESCRIPTOR
            for service in file.services_by_name.values():
                found += _of(service, _SERVERS.get(service.name, TRAINER))
    return found


def _foreign() -> list[Method]:
    files = (health_pb2.DESCRIPTOR, reflection_pb2.DESCRIPTOR)
    services = [service for file in files for service in file.services_by_name.values()]
    servers = (TRAINER, MENTOR, PREDICTOR)
    return [m for server in servers for service in services for m in _of(service, server)]


METHODS = (*_ours(), *_foreign())
