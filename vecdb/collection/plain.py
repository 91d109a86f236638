"""The query that most are, one leg near to a vector, answered in fewer steps than the others.

`search.py` answers it too, to the same effect (a test holds them together), and takes over where
anything is not as usual: a damaged record, a reply that is too large, a vector that is none. Half
of the processor time of such a query was Python's.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from vecdb import kernel
from vecdb.collection.asked import Asked
from vecdb.collection.search import way
from vecdb.outcomes import QueryResult
from vecdb.query.search import Candidates, nearest
from vecdb.segment.vectors import Effort, scores_and_distances
from vecdb.storage.hits import Ranked
from vecdb.storage.store import ReadTxn
from vecdb.traces import note
from vecdb.types import Metric, Query, Schema, Wanted
from vecdb.write.sparse import LENGTH_MAX

_NOTHING_MORE = Asked((), 0)[3:]


def plain_query(asked: Asked) -> Query | None:
    """Return the only leg of a query, near to a vector, to which nothing is added; or None."""
    if len(asked.legs) != 1 or asked[3:] != _NOTHING_MORE:
        return None
    (query,) = asked.legs
    if not isinstance(query, Query) or query.filter is not asked.filter or query.k != asked.k:
        return None
    return query


def plain_answer(
    query: Query,
    candidates: Sequence[Candidates],
    txn: ReadTxn,
    schema: Schema,
    scale: float,
    matched: int,
    wanted: Wanted,
    bytes_max: int,
    filter_ns: int,
) -> QueryResult | None:
    """Return the hits, or None for what is not as usual.

    candidates: that the query's filter lets through, `matched` points; filter_ns: what it took.
    scale: of ef, see Effort.
    """
    started = time.perf_counter_ns()
    space = schema.space(query.space)
    if space is None:
        return None
    unit = space.metric is Metric.COSINE
    vector = kernel.comparable_query(query.vector, space.dim, unit, LENGTH_MAX)
    if vector is None:
        return None
    effort = Effort(query.ef, query.exact, scale)
    found = nearest(candidates, space, vector, query.k, effort)
    note("leg", started, kind="Query")
    searched = time.perf_counter_ns()
    ranked = Ranked(found.slots, *scores_and_distances(space.metric, found.scores))
    fetched = txn.encode_hits(ranked, query.k, bytes_max, wanted)
    if fetched.damaged or len(fetched.hits) > bytes_max:
        return None
    note("fetch", searched, hits=fetched.found)
    return QueryResult(
        fetched.hits,
        fetched.found,
        way(query, found),
        matched,
        txn.state.applied_seq,
        timings_us={
            "filter": filter_ns // 1000,
            "search": (searched - started) // 1000,
            "fetch": (time.perf_counter_ns() - searched) // 1000,
        },
    )
