"""Explain: a query's answer, and how it came about."""

from __future__ import annotations

import time
from collections.abc import Sequence

import grpc

from vecdb.config import LimitsConfig
from vecdb.database import Database
from vecdb.rpc.convert_filter import filter_of
from vecdb.rpc.deadline import deadline_of
from vecdb.rpc.pb import common_pb2
from vecdb.rpc.pb import search_pb2 as pb
from vecdb.rpc.services.batch import Queries
from vecdb.rpc.services.reads import check_reply


def explain(
    queries: Queries,
    database: Database,
    limits: LimitsConfig,
    request: pb.QueryRequest,
    context: grpc.ServicerContext,
) -> pb.ExplainResponse:
    """Return what a query finds, and how."""
    started = time.perf_counter_ns()
    reply = pb.ExplainResponse()
    with database.collection(request.collection) as collection:
        ask, wanted = queries.asked(request, collection, context)
        embedded = time.perf_counter_ns()
        with collection.snapshot(deadline_of(context)) as snapshot:
            snapshotted = time.perf_counter_ns()
            snapshot.require_seq(request.min_commit_seq)
            found = snapshot.explain(
                ask(snapshot), wanted, limits.message_bytes, collection.recall.scale
            )
            for condition in _conditions(request):
                matched = snapshot.count(filter_of(condition))
                reply.conditions.add(condition=condition, matched=matched)
    timings = {
        "embed": (embedded - started) // 1000,
        "snapshot": (snapshotted - embedded) // 1000,
        **found.result.timings_us,
    }
    reply.response.MergeFromString(queries.reply(found.result, timings, sum(timings.values())))
    for leg in found.legs:
        message = reply.legs.add(plan=leg.plan, matched=leg.matched)
        message.MergeFromString(leg.hits)
        for part in leg.parts:
            message.parts.add(**part._asdict())
    check_reply(reply.ByteSize(), limits)
    return reply


def _conditions(request: pb.QueryRequest) -> Sequence[common_pb2.Filter]:
    if not request.HasField("filter"):
        return ()
    if request.filter.WhichOneof("kind") == "and":
        joined: common_pb2.FilterList = getattr(request.filter, "and")
        return joined.filters
    return (request.filter,)
