"""What the calls that read points share: filter, parts of a point wanted, size of the reply."""

from __future__ import annotations

from vecdb.collection.paging import Listing, Slice
from vecdb.config import LimitsConfig
from vecdb.errors import InvalidArgument, LimitExceeded
from vecdb.query.filter_check import check_filter
from vecdb.query.order import OrderBy
from vecdb.rpc.convert_aggregate import checked_path
from vecdb.rpc.convert_filter import filter_of
from vecdb.rpc.pb import documents_pb2, points_pb2, search_pb2
from vecdb.types import Filter, Wanted
from vecdb.write.mask import PayloadMask, paths_of

SLICES_MAX = 1_024
PAGE_SIZE_DEFAULT = 100


def checked_filter(
    request: (
        points_pb2.CountRequest
        | points_pb2.ListPointsRequest
        | points_pb2.ExportRequest
        | points_pb2.AggregateRequest
        | points_pb2.DeleteWhereRequest
        | points_pb2.PatchWhereRequest
        | search_pb2.QueryRequest
        | search_pb2.Leg
        | documents_pb2.ListDocumentsRequest
    ),
    limits: LimitsConfig,
) -> Filter | None:
    """Return the filter of a request or a leg, or None. Raises BadFilter, LimitExceeded."""
    if not request.HasField("filter"):
        return None
    chosen = filter_of(request.filter)
    check_filter(chosen, limits)
    return chosen


def listing_of(
    request: points_pb2.ListPointsRequest | points_pb2.ExportRequest, limits: LimitsConfig
) -> Listing:
    """Return what a request lists. Raises BadFilter, InvalidArgument, LimitExceeded."""
    order = chosen = None
    if isinstance(request, points_pb2.ListPointsRequest) and request.HasField("order_by"):
        path = checked_path(request.order_by.path, "order_by.path")
        order = OrderBy(path, request.order_by.descending)
    if request.HasField("slice"):
        index, count = request.slice.index, request.slice.count
        if not 1 <= count <= SLICES_MAX or index >= count:
            raise InvalidArgument(
                f"slice {index} of {count}: expected 0 to count - 1 of 1 to {SLICES_MAX}",
                field="slice",
            )
        if order is not None:
            raise InvalidArgument(
                "slices go with the order of ids alone: leave out order_by or slice", field="slice"
            )
        chosen = Slice(index, count)
    return Listing(checked_filter(request, limits), order, chosen)


def page_size_of(
    request: points_pb2.ListPointsRequest | documents_pb2.ListDocumentsRequest,
    limits: LimitsConfig,
) -> int:
    """Return how many items a page of a list has. Raises LimitExceeded."""
    size = request.page_size or min(PAGE_SIZE_DEFAULT, limits.page_items)
    if size > limits.page_items:
        raise LimitExceeded(
            f"page_size is {size}, the limit is {limits.page_items}",
            field="page_size",
            hint="ask for more pages, or raise limits.page_items",
        )
    return size


def wanted_of(
    request: points_pb2.GetPointsRequest
    | points_pb2.ListPointsRequest
    | points_pb2.ExportRequest
    | points_pb2.WatchRequest
    | search_pb2.QueryRequest,
    limits: LimitsConfig,
) -> Wanted:
    """Return which parts of a point a request asks for. Raises InvalidArgument, LimitExceeded."""
    wanted = Wanted(not request.without_payload, request.with_vectors, request.with_texts)
    if not request.HasField("payload_mask"):
        return wanted
    if request.without_payload:
        raise InvalidArgument(
            "a mask of payloads that are not sent: leave out payload_mask or without_payload",
            field="payload_mask",
        )
    include, exclude = request.payload_mask.include, request.payload_mask.exclude
    count = len(include) + len(exclude)
    if not count:
        raise InvalidArgument(
            "the mask is empty: expected paths to include or to exclude", field="payload_mask"
        )
    if count > limits.mask_paths:
        raise LimitExceeded(
            f"the mask has {count} paths, the limit is {limits.mask_paths}",
            field="payload_mask",
            hint="name the object that they are in, or raise limits.mask_paths",
        )
    for what, paths in (("include", include), ("exclude", exclude)):
        for at, path in enumerate(paths):
            checked_path(path, f"payload_mask.{what}[{at}]")
    mask = PayloadMask(paths_of(include) if include else None, paths_of(exclude))
    return wanted._replace(kept=mask.kept)


def check_reply(size: int, limits: LimitsConfig) -> None:
    """Raise LimitExceeded for a reply that clients would refuse."""
    if size > limits.message_bytes:
        raise LimitExceeded(
            f"the reply would have {size} bytes, the limit is {limits.message_bytes}",
            hint="ask for fewer points, or without payload and vectors",
        )
