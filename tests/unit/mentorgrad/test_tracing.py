"""Traces: nothing where nobody traces, W3C's words where somebody does."""

from __future__ import annotations

import sys
from datetime import UTC, datetime

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from mentorgrad.domain.event import (
    CandidatesScored,
    Payload,
    ProposalsReceived,
    RestartDecided,
    RunEvent,
    StageStarted,
)
from mentorgrad.installed import pip_line
from mentorgrad.wire import tracing
from trainer_service.running.telemetry import StageSpans

PARENT = f"00-{'1' * 32}-{'2' * 16}-01"


@pytest.fixture
def exported(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    """Spans of a program that traces itself."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "get_tracer", provider.get_tracer)
    return exporter


def test_nothing_happens_where_nobody_traces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "opentelemetry.trace")
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT", raising=False)
    assert tracing.configure("a-service") == ""
    assert not tracing.is_on()
    with tracing.span("a", parent=PARENT) as span:
        span.note(number=1)
        span.fail("it did")
        assert (span.parent, span.trace_id, span.metadata()) == ("", "", ())
        assert tracing.current().parent == ""
    tracing.begin("b").end()
    tracing.flush()


def test_a_collector_without_the_extra_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    assert pip_line("otel") in tracing.configure("a-service")


def test_a_span_belongs_to_its_parent_wherever_that_is(exported: InMemorySpanExporter) -> None:
    with tracing.span("outer", parent=PARENT, facts={"run_id": "r"}) as outer:
        assert outer.metadata() == (("traceparent", outer.parent),)
        with tracing.span("inner"):
            pass
        tracing.begin("elsewhere", parent=PARENT).end()
    inner, elsewhere, whole = exported.get_finished_spans()
    assert {span.context.trace_id for span in (inner, elsewhere, whole)} == {int("1" * 32, 16)}
    assert inner.parent.span_id == whole.context.span_id
    assert elsewhere.parent.span_id == whole.parent.span_id == int("2" * 16, 16)
    assert whole.attributes == {"mentorgrad.run_id": "r"}


@pytest.mark.parametrize("parent", ["", "nonsense", "00-zz-yy-01", f"00-{'0' * 32}-{'0' * 16}-01"])
def test_a_parent_that_is_none_begins_a_trace(exported: InMemorySpanExporter, parent: str) -> None:
    with tracing.span("a", parent=parent):
        pass
    (span,) = exported.get_finished_spans()
    assert span.parent is None


def test_an_error_marks_its_span(exported: InMemorySpanExporter) -> None:
    with pytest.raises(ValueError, match="no"), tracing.span("a"):
        raise ValueError("no")
    (span,) = exported.get_finished_spans()
    assert not span.status.is_ok


def test_stages_and_decisions_are_made_of_the_stored_events(
    exported: InMemorySpanExporter,
) -> None:
    payloads: list[Payload] = [
        StageStarted(0),
        CandidatesScored(0),
        ProposalsReceived(0),
        ProposalsReceived(0, is_fallback=True),
        CandidatesScored(0),
        RestartDecided(0),
        StageStarted(1),
        StageStarted(2),
        CandidatesScored(2),
    ]
    with tracing.span("run"):
        spans = StageSpans()
        for second, payload in enumerate(payloads):
            time = datetime(2026, 1, 1, second=second, tzinfo=UTC)
            spans.take(RunEvent("r", second, 1, time, payload))
    *found, run = exported.get_finished_spans()
    assert {span.parent.span_id for span in found} == {run.context.span_id}

    def seconds(nanoseconds: int) -> int:
        return datetime.fromtimestamp(nanoseconds / 1e9, UTC).second

    assert [(s.name, seconds(s.start_time), seconds(s.end_time)) for s in found] == [
        ("stage", 0, 1),
        ("decide", 2, 5),
        ("stage", 6, 7),
        ("stage", 7, 8),
    ]
