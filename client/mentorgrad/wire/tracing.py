"""Traces by OpenTelemetry, where it is installed and wanted; everywhere else this does nothing.

A process that nobody traces never imports OpenTelemetry: either `configure` did, because the
standard environment names a collector, or the program that we are part of did. What crosses a
process's border is W3C's ``traceparent`` alone, in a call's metadata or in a message.
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

TRACE_PARENT = "traceparent"
"""Key of the metadata that a call's place in a trace travels under."""

SpanKind = Literal["internal", "server", "client"]
AttributeValue = str | int | float | bool
Attributes = Mapping[str, AttributeValue]

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_FLUSH_SECONDS = 2.0


class Span:
    """A span that was begun, or the nothing that stands for one."""

    def __init__(self, span: Any = None) -> None:
        self._span = span

    @property
    def parent(self) -> str:
        """The ``traceparent`` of what happens because of this; empty: nothing is traced."""
        context = self._span.get_span_context() if self._span is not None else None
        if context is None or not context.is_valid:
            return ""
        return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"

    @property
    def trace_id(self) -> str:
        """The trace that it belongs to; empty: nothing is traced."""
        return self.parent.split("-")[1] if self.parent else ""

    def metadata(self) -> tuple[tuple[str, str], ...]:
        """`parent` as metadata of a call."""
        return ((TRACE_PARENT, self.parent),) if self.parent else ()

    def note(self, **facts: AttributeValue) -> None:
        """Adds facts, recorded as ``mentorgrad.NAME``."""
        if self._span is not None:
            self._span.set_attributes(_named(facts))

    def fail(self, what: str) -> None:
        """Marks it as failed."""
        if self._span is not None:
            trace = sys.modules["opentelemetry.trace"]
            self._span.set_status(trace.StatusCode.ERROR, what)

    def end(self, at: datetime | None = None) -> None:
        """Ends it, now or at a moment that has passed."""
        if self._span is not None:
            self._span.end(_nanoseconds(at))


def configure(service: str) -> str:
    """Has this process's spans sent to the collector that the environment names, if any.

    Args:
        service: What the process is called in the traces, unless ``OTEL_SERVICE_NAME`` says.

    Returns:
        What is missing for it, in one line; empty when all is well.
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
        return "a collector is named, but traces need: pip install 'mentorgrad[otel]'"
    if isinstance(trace.get_tracer_provider(), sdk.TracerProvider):
        return ""  # the program that we are part of has seen to it
    name = os.environ.get("OTEL_SERVICE_NAME") or service
    resource = resources.Resource.create({"service.name": name})
    # Its own way of ending a process waits for a collector that is away; `flush` does not.
    provider = sdk.TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(export.BatchSpanProcessor(otlp.OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    return ""


def is_on() -> bool:
    """Whether anybody may be tracing this process."""
    return "opentelemetry.trace" in sys.modules


def flush() -> None:
    """Sends what has ended, for at most two seconds; for a process that is about to end."""
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
    """Begins a span, which is nobody's surroundings; `Span.end` it.

    Args:
        name: What happens.
        kind: Whether it answers a call, makes one, or neither.
        parent: ``traceparent`` of what it happens because of; empty: the block's span, if any.
        at: When it began; None: now.
        facts: Recorded as ``mentorgrad.NAME``.
    """
    trace = sys.modules.get("opentelemetry.trace")
    if trace is None:
        return Span()
    started = trace.get_tracer("mentorgrad").start_span(
        name,
        context=_context(trace, parent),
        kind=trace.SpanKind[kind.upper()],
        attributes=_named(facts or {}),
        start_time=_nanoseconds(at),
    )
    return Span(started)


@contextlib.contextmanager
def span(
    name: str, kind: SpanKind = "internal", parent: str = "", facts: Attributes | None = None
) -> Iterator[Span]:
    """A span around a block of one task or thread: what begins in the block belongs to it.

    See `begin`. An exception that leaves the block marks it as failed.
    """
    begun = begin(name, kind, parent, facts=facts)
    trace = sys.modules.get("opentelemetry.trace")
    if trace is None:
        yield begun
        return
    with trace.use_span(begun._span, end_on_exit=True, record_exception=False):
        yield begun


def current() -> Span:
    """The span of the block that this is called in."""
    trace = sys.modules.get("opentelemetry.trace")
    return Span(trace.get_current_span() if trace is not None else None)


def _context(trace: Any, parent: str) -> Any:
    """The context of a ``traceparent``; None, the present one, when there is none."""
    parts = parent.split("-")
    if len(parts) < 4:
        return None
    try:
        trace_id, span_id, flags = (int(part, 16) for part in parts[1:4])
    except ValueError:
        return None
    found = trace.SpanContext(
        trace_id, span_id, is_remote=True, trace_flags=trace.TraceFlags(flags)
    )
    if not found.is_valid:
        return None
    return trace.set_span_in_context(trace.NonRecordingSpan(found))


def _named(facts: Attributes) -> dict[str, AttributeValue]:
    return {f"mentorgrad.{name}": value for name, value in facts.items()}


def _nanoseconds(moment: datetime | None) -> int | None:
    return None if moment is None else int(moment.timestamp() * 1_000_000) * 1_000
