"""Aggregations: what to ask for, and what comes back. Data and messages, no transport."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from vecdb_client.errors import InvalidArgument
from vecdb_client.filters import Filter, filter_message
from vecdb_client.pb import common_pb2, points_pb2
from vecdb_client.requests import checked_text, text_list
from vecdb_client.types import Scalar

FACET_VALUES_DEFAULT: Final = 10
_UINT32_MAX: Final = (1 << 32) - 1


@dataclass(frozen=True, slots=True)
class FacetCount:
    """A value, and how many points hold it."""

    value: Scalar
    points: int


@dataclass(frozen=True, slots=True)
class Facets:
    """The values that most points hold at a path, those of most points first.

    other_values: distinct values that there are beside these. Counts are always exact.
    """

    values: tuple[FacetCount, ...]
    other_values: int

    def __iter__(self) -> Iterator[FacetCount]:
        return iter(self.values)

    def __len__(self) -> int:
        return len(self.values)

    @property
    def counts(self) -> dict[Scalar, int]:
        """Points by value. Python takes true and 1 for one key: where both are, see `values`."""
        return {one.value: one.points for one in self.values}


@dataclass(frozen=True, slots=True)
class NumberStats:
    """The numbers at a path. points: that hold some; count: of the numbers; None without any."""

    points: int
    count: int
    sum: int | float
    avg: float | None
    min: int | float | None
    max: int | float | None


@dataclass(frozen=True, slots=True)
class TimeStats:
    """The times at a path, as RFC 3339 text in UTC; None without any."""

    points: int
    count: int
    min: str | None
    max: str | None


@dataclass(frozen=True, slots=True)
class Aggregates:
    """What was asked for, by path. points: that the filter matches.

    warnings: what may not have been meant, such as a path that no point holds.
    """

    points: int
    facets: dict[str, Facets]
    numbers: dict[str, NumberStats]
    times: dict[str, TimeStats]
    warnings: tuple[str, ...]
    commit_seq: int


def aggregate_request(
    collection: str,
    filter: Filter | None,
    facets: str | Iterable[str] | Mapping[str, int],
    numbers: str | Iterable[str],
    times: str | Iterable[str],
) -> points_pb2.AggregateRequest:
    """Return the request for some aggregations. Raises InvalidArgument."""
    request = points_pb2.AggregateRequest(collection=collection, filter=filter_message(filter))
    limits = facets if isinstance(facets, Mapping) else dict.fromkeys(text_list(facets, "a path"))
    for path, limit in limits.items():
        request.aggregations.add().facets.path = checked_text(path, "a path")
        if limit is not None:
            request.aggregations[-1].facets.limit = _limit(limit)
    for path in dict.fromkeys(text_list(numbers, "a path")):
        request.aggregations.add().numbers.path = path
    for path in dict.fromkeys(text_list(times, "a path")):
        request.aggregations.add().times.path = path
    if not request.aggregations:
        raise InvalidArgument("aggregate takes paths: facets, numbers or times")
    return request


def _limit(limit: int) -> int:
    if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= _UINT32_MAX:
        raise InvalidArgument(f"a facet's limit is a whole number from 1, got {limit!r}")
    return limit


def aggregates(
    request: points_pb2.AggregateRequest, reply: points_pb2.AggregateResponse
) -> Aggregates:
    """Return what a request found."""
    found = Aggregates(reply.points, {}, {}, {}, tuple(reply.warnings), reply.commit_seq)
    for asked, result in zip(request.aggregations, reply.results, strict=True):
        kind = asked.WhichOneof("kind")
        if kind == "facets":
            found.facets[asked.facets.path] = _facets(result.facets)
        elif kind == "numbers":
            found.numbers[asked.numbers.path] = _number_stats(result.numbers)
        else:
            times = result.times
            found.times[asked.times.path] = TimeStats(
                times.points, times.count, times.min or None, times.max or None
            )
    return found


def _facets(message: points_pb2.FacetCounts) -> Facets:
    counts = tuple(FacetCount(scalar_of(one.value), one.points) for one in message.values)
    return Facets(counts, message.other_values)


def _number_stats(message: points_pb2.NumberResult) -> NumberStats:
    if not message.count:
        return NumberStats(0, 0, 0, None, None, None)
    return NumberStats(
        message.points,
        message.count,
        _number(message.sum),
        message.avg,
        _number(message.min),
        _number(message.max),
    )


def scalar_of(message: common_pb2.Value) -> Scalar:
    """Return a value of a reply."""
    kind = message.WhichOneof("kind")
    value: Scalar = getattr(message, kind) if kind is not None else ""
    return value


def _number(message: common_pb2.Value) -> int | float:
    return message.int64 if message.HasField("int64") else message.double
