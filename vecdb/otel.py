"""Traces by OpenTelemetry: the one file that knows it. Its packages are the extra `vecdb[otel]`.

A span is made when its work is done, with the times that were taken anyway: what is not sampled, or
not traced, costs no more than without.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from vecdb import __version__
from vecdb.errors import InvalidArgument
from vecdb.observe_config import TracesConfig

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.trace import Span, Tracer

EXPORT_S = 5.0
"""Seconds that sending a batch of spans may take; one that takes longer is lost."""


class OpenCall:
    """The span of a call: a Trace. For the thread that works on it."""

    def __init__(self, tracer: Tracer, span: Span, traceparent: str, wall_ns: int) -> None:
        """Take a span that has begun. wall_ns: the wall clock less time.perf_counter_ns."""
        from opentelemetry.trace import set_span_in_context

        self._tracer = tracer
        self._span = span
        self._context = set_span_in_context(span)
        self._wall_ns = wall_ns
        self.traceparent = traceparent

    def note(
        self, name: str, begun_ns: int, ended_ns: int, attributes: dict[str, str | int]
    ) -> None:
        """Make a span of a piece of work on the call."""
        span = self._tracer.start_span(
            name, self._context, attributes=attributes, start_time=begun_ns + self._wall_ns
        )
        span.end(ended_ns + self._wall_ns)

    def end(self, code: int, name: str, *, failed: bool) -> None:
        """End the span. code, name: of the gRPC status; failed: whether that is the server's."""
        from opentelemetry.trace import Status, StatusCode

        self._span.set_attribute("rpc.grpc.status_code", code)
        if failed:
            self._span.set_status(Status(StatusCode.ERROR, name))
        self._span.end()


class Tracing:
    """What makes spans of calls and sends them to a collector. Threads may share it."""

    def __init__(
        self, config: TracesConfig, process: str, exporter: SpanExporter | None = None
    ) -> None:
        """Begin to send. process: which of a node's. exporter: in place of the one configured.

        Raises InvalidArgument where the packages are missing.
        """
        try:
            from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
            from opentelemetry.sdk.resources import Resource
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor
            from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
            from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
        except ImportError as error:
            raise InvalidArgument(
                f"traces.endpoint is set, and {error.name} is missing",
                hint="pip install 'vecdb[otel]', or leave traces.endpoint empty",
            ) from None
        about = {
            "service.name": "vecdb",
            "service.version": __version__,
            "vecdb.process": process,
        }
        self._provider = TracerProvider(
            sampler=ParentBased(TraceIdRatioBased(config.sample_ratio)),
            resource=Resource.create(about),
            shutdown_on_exit=False,
        )
        self._provider.add_span_processor(
            BatchSpanProcessor(
                exporter
                or OTLPSpanExporter(
                    config.endpoint,
                    insecure=not config.endpoint.startswith("https:"),
                    timeout=EXPORT_S,
                )
            )
        )
        self._tracer = self._provider.get_tracer("vecdb", __version__)
        self._header = TraceContextTextMapPropagator()

    def call(self, path: str, metadata: Mapping[str, str], begun_ns: int) -> OpenCall | None:
        """Return a call that is traced, or None for one that is not sampled.

        metadata: the caller's, whose traceparent decides. begun_ns: of time.perf_counter_ns.
        """
        from opentelemetry.trace import SpanKind, set_span_in_context

        service, _, method = path.removeprefix("/").partition("/")
        wall_ns = time.time_ns() - time.perf_counter_ns()
        span = self._tracer.start_span(
            f"{service}/{method}",
            self._header.extract(metadata),
            SpanKind.SERVER,
            {"rpc.system": "grpc", "rpc.service": service, "rpc.method": method},
            start_time=begun_ns + wall_ns,
        )
        if not span.is_recording():
            return None
        carrier: dict[str, str] = {}
        self._header.inject(carrier, set_span_in_context(span))
        return OpenCall(self._tracer, span, carrier["traceparent"], wall_ns)

    def close(self) -> None:
        """Send what was not sent yet, within a few seconds, and end."""
        self._provider.shutdown()


def tracing_of(config: TracesConfig, process: str) -> Tracing | None:
    """Return what traces a process's calls; None where no endpoint is set. Raises as Tracing."""
    return Tracing(config, process) if config.endpoint else None
