"""How a search came to its answer. Data only."""

from __future__ import annotations

from dataclasses import dataclass

from google.protobuf.json_format import MessageToDict

from vecdb_client import replies
from vecdb_client.pb import search_pb2
from vecdb_client.types import Hit, SearchResult


@dataclass(frozen=True, slots=True)
class ExplainedPart:
    """A segment, by its number, or the points in memory: 0. search_us: searched by itself.

    rows: that it has; matched: that the filters let through; found: hits that it found.
    """

    segment: int
    rows: int
    matched: int
    plan: str
    search_us: int
    found: int


@dataclass(frozen=True, slots=True)
class ExplainedLeg:
    """A leg by itself: its own list, without payloads, and where it was searched how.

    matched: points that the search's filter and its own let through.
    """

    hits: tuple[Hit, ...]
    plan: str
    matched: int
    parts: tuple[ExplainedPart, ...]


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition of the filter, as the protocol's JSON, and how many points it lets through."""

    condition: dict[str, object]
    matched: int


@dataclass(frozen=True, slots=True)
class Explanation:
    """What a search found, its legs, and the conditions that are joined in its filter."""

    result: SearchResult
    legs: tuple[ExplainedLeg, ...]
    conditions: tuple[Condition, ...]


def explanation(reply: search_pb2.ExplainResponse) -> Explanation:
    """Return how a search came to its answer."""
    return Explanation(
        replies.search_result(reply.response),
        tuple(map(_leg, reply.legs)),
        tuple(
            Condition(MessageToDict(one.condition, preserving_proto_field_name=True), one.matched)
            for one in reply.conditions
        ),
    )


def _leg(message: search_pb2.LegExplanation) -> ExplainedLeg:
    parts = [
        ExplainedPart(part.segment, part.rows, part.matched, part.plan, part.search_us, part.found)
        for part in message.parts
    ]
    return ExplainedLeg(replies.hits_of(message.hits), message.plan, message.matched, tuple(parts))
