"""Aggregations as the wire has them, and what they found. Raises InvalidArgument, LimitExceeded."""

from __future__ import annotations

from collections.abc import Sequence

from vecdb.config import LimitsConfig
from vecdb.errors import InvalidArgument, LimitExceeded
from vecdb.query.aggregate import (
    AggregateResult,
    Aggregation,
    FacetCounts,
    Facets,
    NumberResult,
    NumberStats,
    TimeStats,
)
from vecdb.rpc.pb import common_pb2
from vecdb.rpc.pb import points_pb2 as pb
from vecdb.segment.fields import INT64, PATH_CHARACTERS_MAX
from vecdb.types import Scalar

FACET_VALUES_DEFAULT = 10


def aggregations_of(messages: Sequence[pb.Aggregation], limits: LimitsConfig) -> list[Aggregation]:
    """Return what a request asks for."""
    if not messages:
        raise InvalidArgument("the request has no aggregation", field="aggregations")
    if len(messages) > limits.aggregations:
        raise LimitExceeded(
            f"{len(messages)} aggregations, the limit is {limits.aggregations}",
            field="aggregations",
            hint="ask in several calls, or raise limits.aggregations",
        )
    return [_aggregation(one, f"aggregations[{at}]", limits) for at, one in enumerate(messages)]


def _aggregation(message: pb.Aggregation, field: str, limits: LimitsConfig) -> Aggregation:
    kind = message.WhichOneof("kind")
    if kind is None:
        raise InvalidArgument(f"{field} is empty: expected facets, numbers or times", field=field)
    path = checked_path(getattr(message, kind).path, f"{field}.{kind}.path")
    if kind == "numbers":
        return NumberStats(path)
    if kind == "times":
        return TimeStats(path)
    limit = message.facets.limit or min(FACET_VALUES_DEFAULT, limits.facet_values)
    if limit > limits.facet_values:
        raise LimitExceeded(
            f"a facet of {limit} values, the limit is {limits.facet_values}",
            field=f"{field}.facets.limit",
            hint="ask for fewer, or raise limits.facet_values",
        )
    return Facets(path, limit)


def checked_path(path: str, field: str) -> str:
    """Return a payload path. Raises InvalidArgument for one that no payload can be asked for."""
    if not 0 < len(path) <= PATH_CHARACTERS_MAX:
        raise InvalidArgument(
            f"a path has 1 to {PATH_CHARACTERS_MAX} characters, got {len(path)}", field=field
        )
    return path


def fill_result(message: pb.AggregateResult, result: AggregateResult) -> None:
    """Fill in what an aggregation found."""
    if isinstance(result, FacetCounts):
        message.facets.other_values = result.others
        for value, points in result.values:
            message.facets.values.add(points=points, value=value_message(value))
        message.facets.SetInParent()
    elif isinstance(result, NumberResult):
        numbers = message.numbers
        numbers.points, numbers.count = result.points, result.count
        numbers.sum.CopyFrom(value_message(result.sum))
        if result.avg is not None and result.min is not None and result.max is not None:
            numbers.avg = result.avg
            numbers.min.CopyFrom(value_message(result.min))
            numbers.max.CopyFrom(value_message(result.max))
    else:
        times = message.times
        times.points, times.count = result.points, result.count
        times.min, times.max = result.min, result.max
        times.SetInParent()


def value_message(value: Scalar) -> common_pb2.Value:
    """Return a value as replies carry it."""
    if isinstance(value, bool):
        return common_pb2.Value(bool=value)
    if isinstance(value, str):
        sound = value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        return common_pb2.Value(string=sound)
    if isinstance(value, int) and value in INT64:
        return common_pb2.Value(int64=value)
    return common_pb2.Value(double=value)
