"""How the answer to a query came about: each leg's own list, and each part of the collection."""

from __future__ import annotations

import time
from typing import NamedTuple

from vecdb.collection.search import ID_ALONE, Prepared, way
from vecdb.errors import DeadlineExceeded
from vecdb.outcomes import QueryResult
from vecdb.query.search import Part
from vecdb.segment.segment import Segment
from vecdb.storage.store import ReadTxn


class PartReport(NamedTuple):
    """One part searched by itself. segment: its number; 0 for rows in memory."""

    segment: int
    rows: int
    matched: int
    plan: str
    search_us: int
    found: int


class LegReport(NamedTuple):
    """One leg by itself. hits: its list, as the wire has them, without payloads."""

    hits: bytes
    plan: str
    matched: int
    parts: list[PartReport]


class Explanation(NamedTuple):
    """The answer, and how each leg came to its part of it."""

    result: QueryResult
    legs: list[LegReport]


def explained(prepared: Prepared, txn: ReadTxn, bytes_max: int, deadline: float) -> list[LegReport]:
    """Return how each leg of a query that was answered searches. Raises DeadlineExceeded.

    Nothing is measured while a query is answered: parts are searched again, one at a time.
    """
    reports: list[LegReport] = []
    for leg in prepared.legs:
        parts: list[PartReport] = []
        for one in leg.candidates:
            if time.monotonic() > deadline:
                raise DeadlineExceeded("the deadline passed while the query was explained")
            if one.count:
                started = time.perf_counter_ns()
                leg.found = leg.search([one], leg.query.k)
                took = (time.perf_counter_ns() - started) // 1000
                number, found = _number(one.part), len(leg.found.slots)
                parts.append(
                    PartReport(
                        number, one.part.rows, one.count, way(leg.query, leg.found), took, found
                    )
                )
        leg.found = leg.search(leg.candidates, leg.query.k)
        hits = txn.encode_hits(leg.ranked, leg.query.k, bytes_max, ID_ALONE).hits
        matched = sum(one.count for one in leg.candidates)
        reports.append(LegReport(hits, way(leg.query, leg.found), matched, parts))
    return reports


def _number(part: Part) -> int:
    return int(part.folder.name) if isinstance(part, Segment) else 0
