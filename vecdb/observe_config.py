"""What an operator can set of logs, metrics and traces; sections of config.Config."""

from __future__ import annotations

from dataclasses import dataclass

from vecdb.setting import setting


@dataclass(frozen=True, slots=True)
class LogConfig:
    """What the log on standard error looks like, and what goes there; see `server.log_level`."""

    format: str = setting("text", "lines for people, or JSON objects", one_of=("text", "json"))
    slow_query_ms: int = setting(
        0,
        "time from which on a query is written down, with where it went; 0 for none. What it asks "
        "for is not",
        0,
        3_600_000,
    )


@dataclass(frozen=True, slots=True)
class MetricsConfig:
    """What /metrics tells; its address is `server.metrics`."""

    collections: int = setting(
        50,
        "collections with series of their own, the largest; the others are summed up; 0 keeps "
        "their names off /metrics",
        0,
        1_000,
    )


@dataclass(frozen=True, slots=True)
class TracesConfig:
    """Where traces go, by OpenTelemetry's protocol (OTLP over gRPC); needs `vecdb[otel]`."""

    endpoint: str = setting(
        "", "address of a collector, such as http://127.0.0.1:4317; '' for none"
    )
    sample_ratio: float = setting(
        1.0, "share of calls traced, where the caller's traceparent does not say", 0, 1
    )
