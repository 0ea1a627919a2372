"""A collector of traces, as OpenTelemetry's exporters know it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as pb
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc


@dataclass(frozen=True)
class Received:
    """One span."""

    service: str
    name: str
    trace: bytes
    span: bytes
    parent: bytes
    facts: dict[str, str]


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """Keeps what it is sent."""

    def __init__(self) -> None:
        self.spans: list[Received] = []
        self._server = grpc.server(ThreadPoolExecutor(2))
        trace_service_pb2_grpc.add_TraceServiceServicer_to_server(self, self._server)
        self.endpoint = f"http://127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.stop(0).wait()

    def Export(self, request: Any, context: Any) -> Any:  # noqa: N802 - the name on the wire
        for group in request.resource_spans:
            service = _facts(group.resource.attributes)["service.name"]
            for scope in group.scope_spans:
                self.spans += [
                    Received(
                        service,
                        span.name,
                        span.trace_id,
                        span.span_id,
                        span.parent_span_id,
                        _facts(span.attributes),
                    )
                    for span in scope.spans
                ]
        return pb.ExportTraceServiceResponse()

    def named(self, name: str) -> list[Received]:
        return [span for span in self.spans if span.name == name]

    def path(self, span: Received) -> list[tuple[str, str]]:
        """Service and name of a span and of what it happened because of, up to the root."""
        known = {item.span: item for item in self.spans if item.trace == span.trace}
        found = [(span.service, span.name)]
        while span.parent:
            span = known[span.parent]
            found.append((span.service, span.name))
        return found


def _facts(attributes: Any) -> dict[str, str]:
    return {
        item.key: str(getattr(item.value, item.value.WhichOneof("value"))) for item in attributes
    }
