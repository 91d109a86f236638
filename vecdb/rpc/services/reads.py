"""What the calls that read points share: filter, parts of a point wanted, size of the reply."""

from __future__ import annotations

from vecdb.config import LimitsConfig
from vecdb.errors import LimitExceeded
from vecdb.query.filter_check import check_filter
from vecdb.rpc.convert_filter import filter_of
from vecdb.rpc.pb import points_pb2, search_pb2
from vecdb.types import Filter, Wanted


def checked_filter(
    request: points_pb2.CountRequest | points_pb2.ListPointsRequest | search_pb2.QueryRequest,
    limits: LimitsConfig,
) -> Filter | None:
    """Return the filter of a request, or None. Raises BadFilter, LimitExceeded."""
    if not request.HasField("filter"):
        return None
    chosen = filter_of(request.filter)
    check_filter(chosen, limits)
    return chosen


def wanted_of(
    request: points_pb2.GetPointsRequest
    | points_pb2.ListPointsRequest
    | points_pb2.WatchRequest
    | search_pb2.QueryRequest,
) -> Wanted:
    """Return which parts of a point a request asks for."""
    return Wanted(not request.without_payload, request.with_vectors, request.with_texts)


def check_reply(size: int, limits: LimitsConfig) -> None:
    """Raise LimitExceeded for a reply that clients would refuse."""
    if size > limits.message_bytes:
        raise LimitExceeded(
            f"the reply would have {size} bytes, the limit is {limits.message_bytes}",
            hint="ask for fewer points, or without payload and vectors",
        )
