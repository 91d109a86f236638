"""Which queries are slow: one line of the log for each, that says where its time went.

It holds how a query was made, and never what it asks for: no vector, text, id or value of a filter.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping

from vecdb.outcomes import QueryResult
from vecdb.rpc.pb import search_pb2 as pb

log = logging.getLogger(__name__)

OPTIONS = ("filter", "rerank", "boost", "mmr", "group", "highlights", "page_token", "min_score")


class SlowQueries:
    """Writes down queries that took as long as some ms, or longer; none where that is 0."""

    def __init__(self, slow_ms: int) -> None:
        self._slow_us = slow_ms * 1_000 or 1 << 62

    def look(
        self,
        request: pb.QueryRequest,
        result: QueryResult,
        timings: Mapping[str, int],
        total_us: int,
    ) -> None:
        """Take a query that was answered. timings: us of each stage."""
        if total_us < self._slow_us:
            return
        stages = {f"{name}_ms": us / 1e3 for name, us in timings.items()}
        self._write(
            request.collection,
            total_us,
            {
                "legs": _legs([request]),
                "k": request.k,
                "ef": max((leg.ef for leg in request.legs), default=0),
                "options": [name for name in OPTIONS if request.HasField(name)],
                "hits": result.found,
                "matched": result.matched,
                "plan": result.plan,
                **stages,
            },
        )

    def look_at_batch(self, request: pb.QueryBatchRequest, total_us: int) -> None:
        """Take a batch that was answered."""
        if total_us < self._slow_us:
            return
        about = {"queries": len(request.queries), "legs": _legs(request.queries)}
        self._write(request.collection, total_us, about)

    def _write(self, collection: str, total_us: int, about: dict[str, object]) -> None:
        told = ", ".join(f"{name} {_text(value)}" for name, value in about.items() if value)
        fields = {"collection": collection, "total_ms": total_us / 1e3, **about}
        log.warning(
            "slow query of %s: %.1f ms; %s",
            collection,
            total_us / 1e3,
            told,
            extra={"fields": fields},
        )


def _legs(requests: Iterable[pb.QueryRequest]) -> dict[str, int]:
    """Return how many legs there are of each kind."""
    return dict(Counter(str(leg.WhichOneof("kind")) for one in requests for leg in one.legs))


def _text(value: object) -> str:
    if isinstance(value, dict):
        return " ".join(f"{count}x{name}" for name, count in value.items())
    return " ".join(map(str, value)) if isinstance(value, list) else f"{value}"
