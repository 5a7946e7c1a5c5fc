"""OpenTelemetry as a user sets it up: everything else is read from the standard OTEL_ variables.

`telemetry()` yields the providers and makes the program fail if anything that it made was not exported.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from opentelemetry import trace
from opentelemetry._logs import set_logger_provider
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

if os.environ.get("OTEL_EXPORTER_OTLP_PROTOCOL") == "grpc":
    from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
else:
    from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter


@dataclass
class Telemetry:
    """The providers to instrument with."""

    tracers: TracerProvider
    loggers: LoggerProvider


class Watched:
    """An exporter that counts what it was given, and remembers whether anything failed."""

    def __init__(self, exporter: Any) -> None:
        self.exporter = exporter
        self.sent = 0
        self.failed = 0

    def export(self, batch: Any, *args: Any, **kwargs: Any) -> Any:
        result = self.exporter.export(batch, *args, **kwargs)
        if result.name == "SUCCESS":
            self.sent += len(batch)
        else:
            self.failed += len(batch)
        return result

    def __getattr__(self, name: str) -> Any:
        return getattr(self.exporter, name)


@contextmanager
def counted() -> Iterator[None]:
    """The same report for programs whose library makes its exporters of spans itself."""
    export = OTLPSpanExporter.export
    counts = {"SUCCESS": 0, "FAILURE": 0}

    def count(exporter: OTLPSpanExporter, batch: Any) -> Any:
        result = export(exporter, batch)
        counts[result.name] += len(batch)
        return result

    OTLPSpanExporter.export = count  # type: ignore[method-assign]
    yield
    print(f"sent {counts['SUCCESS']} spans and 0 log records")
    if counts["FAILURE"]:
        sys.exit(f"not exported: {counts['FAILURE']} spans")


@contextmanager
def telemetry() -> Iterator[Telemetry]:
    """Send to where the environment says; say on standard output how much was sent; exit with 1 if not all was."""
    spans, logs = Watched(OTLPSpanExporter()), Watched(OTLPLogExporter())
    tracers, loggers = TracerProvider(), LoggerProvider()
    tracers.add_span_processor(BatchSpanProcessor(spans))  # type: ignore[arg-type]
    loggers.add_log_record_processor(BatchLogRecordProcessor(logs))  # type: ignore[arg-type]
    trace.set_tracer_provider(tracers)
    set_logger_provider(loggers)
    try:
        yield Telemetry(tracers, loggers)
    finally:
        tracers.shutdown()
        loggers.shutdown()
        print(f"sent {spans.sent} spans and {logs.sent} log records")
    if spans.failed or logs.failed:
        sys.exit(f"not exported: {spans.failed} spans and {logs.failed} log records")
