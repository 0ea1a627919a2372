"""Optional OpenTelemetry tracing; without OpenTelemetry all functions are no-ops.

OpenTelemetry is imported only by `configure`, if the standard environment variables name a
collector, or by the host program. Between processes only the W3C ``traceparent`` is passed, in call
metadata or in a message.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import threading
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Literal

from mentorgrad.installed import pip_line

TRACE_PARENT = "traceparent"
"""Metadata key of the W3C trace context."""

SpanKind = Literal["internal", "server", "client"]
AttributeValue = str | int | float | bool
Attributes = Mapping[str, AttributeValue]

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_FLUSH_SECONDS = 2.0


class Span:
    """A started span, or a no-op if tracing is off."""

    def __init__(self, span: Any = None) -> None:
        self._span = span

    @property
    def parent(self) -> str:
        """The ``traceparent`` for child spans; empty: not traced."""
        if self._span is None:
            return ""
        carrier: dict[str, str] = {}
        trace = sys.modules["opentelemetry.trace"]
        _propagator().inject(carrier, trace.set_span_in_context(self._span))
        return carrier.get(TRACE_PARENT, "")

    @property
    def trace_id(self) -> str:
        """The trace id; empty: not traced."""
        return self.parent.split("-")[1] if self.parent else ""

    def metadata(self) -> tuple[tuple[str, str], ...]:
        """`parent` as call metadata."""
        return ((TRACE_PARENT, self.parent),) if self.parent else ()

    def note(self, **facts: AttributeValue) -> None:
        """Adds attributes ``mentorgrad.NAME``."""
        if self._span is not None:
            self._span.set_attributes(_named(facts))

    def fail(self, what: str) -> None:
        """Sets the status to error, with a description."""
        if self._span is not None:
            trace = sys.modules["opentelemetry.trace"]
            self._span.set_status(trace.StatusCode.ERROR, what)

    def end(self, at: datetime | None = None) -> None:
        """Ends the span, at a past time if given."""
        if self._span is not None:
            self._span.end(_nanoseconds(at))


def configure(service: str) -> str:
    """Enables export of spans to the collector named by the environment, if any.

    Args:
        service: Service name, unless ``OTEL_SERVICE_NAME`` is set.

    Returns:
        One-line problem; empty if there is none.
    """
    if not any(map(os.environ.get, _ENDPOINTS)):
        return ""
    try:
        trace = importlib.import_module("opentelemetry.trace")
        sdk = importlib.import_module("opentelemetry.sdk.trace")
        export = importlib.import_module("opentelemetry.sdk.trace.export")
        otlp = importlib.import_module("opentelemetry.exporter.otlp.proto.grpc.trace_exporter")
        resources = importlib.import_module("opentelemetry.sdk.resources")
    except ImportError:
        return f"a collector is configured, but tracing needs: {pip_line('otel')}"
    if isinstance(trace.get_tracer_provider(), sdk.TracerProvider):
        return ""  # the host program has configured it
    name = os.environ.get("OTEL_SERVICE_NAME") or service
    resource = resources.Resource.create({"service.name": name})
    # Its own exit handler may wait for an unreachable collector; `flush` does not.
    provider = sdk.TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(export.BatchSpanProcessor(otlp.OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    return ""


def is_on() -> bool:
    """Whether tracing may be on in this process."""
    return "opentelemetry.trace" in sys.modules


def flush() -> None:
    """Exports finished spans, for at most two seconds; call before process exit."""
    trace = sys.modules.get("opentelemetry.trace")
    provider: Any = trace.get_tracer_provider() if trace is not None else None
    if hasattr(provider, "force_flush"):
        sending = threading.Thread(target=provider.force_flush, name="traces", daemon=True)
        sending.start()
        sending.join(_FLUSH_SECONDS)


def begin(
    name: str,
    kind: SpanKind = "internal",
    parent: str = "",
    at: datetime | None = None,
    facts: Attributes | None = None,
) -> Span:
    """Starts a span without making it the current one; the caller must `Span.end` it.

    Args:
        name: Name of the span.
        kind: Kind of the span.
        parent: ``traceparent`` of the parent; empty: the current span, if any.
        at: Start time; None: now.
        facts: Attributes, recorded as ``mentorgrad.NAME``.
    """
    trace = sys.modules.get("opentelemetry.trace")
    if trace is None:
        return Span()
    started = trace.get_tracer("mentorgrad").start_span(
        name,
        context=_context(parent),
        kind=trace.SpanKind[kind.upper()],
        attributes=_named(facts or {}),
        start_time=_nanoseconds(at),
    )
    return Span(started)


@contextlib.contextmanager
def span(
    name: str, kind: SpanKind = "internal", parent: str = "", facts: Attributes | None = None
) -> Iterator[Span]:
    """Context manager: a span that is the current one within the block.

    See `begin`. An exception from the block sets the status to error.
    """
    begun = begin(name, kind, parent, facts=facts)
    trace = sys.modules.get("opentelemetry.trace")
    if trace is None:
        yield begun
        return
    with trace.use_span(begun._span, end_on_exit=True, record_exception=False):
        yield begun


def current() -> Span:
    """The current span."""
    trace = sys.modules.get("opentelemetry.trace")
    return Span(trace.get_current_span() if trace is not None else None)


def _context(parent: str) -> Any:
    """The context of a ``traceparent``; the current one if that is empty or malformed."""
    current = importlib.import_module("opentelemetry.context").get_current()
    return _propagator().extract({TRACE_PARENT: parent}, current)


def _propagator() -> Any:
    module = importlib.import_module("opentelemetry.trace.propagation.tracecontext")
    return module.TraceContextTextMapPropagator()


def _named(facts: Attributes) -> dict[str, AttributeValue]:
    return {f"mentorgrad.{name}": value for name, value in facts.items()}


def _nanoseconds(moment: datetime | None) -> int | None:
    return None if moment is None else int(moment.timestamp() * 1_000_000) * 1_000
