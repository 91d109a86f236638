"""What an operator can set of logs, metrics and traces; sections of config.Config."""

from __future__ import annotations

from dataclasses import dataclass

from vecdb.setting import setting


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
