"""Many queries in one call: of one snapshot, with their texts encoded together."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Protocol, TypeVar

import grpc

from vecdb.collection.asked import Asked
from vecdb.collection.collection import Collection
from vecdb.collection.search import too_large
from vecdb.collection.snapshot import Snapshot
from vecdb.config import LimitsConfig
from vecdb.embed.client import ModelInfo
from vecdb.embed.encoded import Encoded
from vecdb.embed.encoder import Item, Role
from vecdb.errors import InvalidArgument, LimitExceeded, VecdbError
from vecdb.outcomes import QueryResult
from vecdb.rpc.deadline import deadline_of
from vecdb.rpc.pb import errors_pb2
from vecdb.rpc.pb import search_pb2 as pb
from vecdb.rpc.services.encode import SpaceEncoder
from vecdb.rpc.status import encode_details
from vecdb.types import Schema, Space, SparseSpace, Wanted

TEXTS_AT_ONCE = 256
THREADS_MAX = 8
ERROR_BYTES = 512
"""What an error takes of the reply, about."""

T = TypeVar("T")


class Queries(Protocol):
    """What makes queries of requests, and replies of results: SearchService."""

    def asked(
        self, request: pb.QueryRequest, collection: Collection, context: grpc.ServicerContext
    ) -> tuple[Callable[[Snapshot], Asked], Wanted]:
        """Return what a request asks of a snapshot, and for."""

    def reply(self, result: QueryResult, timings: dict[str, int], total_us: int) -> bytes:
        """Return a QueryResponse, serialized."""

    def field_of(self, field: str, request: pb.QueryRequest) -> str:
        """Return the path of a request's field that an error is about."""


class KnownTexts(SpaceEncoder):
    """Encodes texts, those of a batch together and ahead."""

    def __init__(self, encoder: SpaceEncoder) -> None:
        self._encoder = encoder
        self._known: dict[tuple[Space | SparseSpace, str], Encoded] = {}
        self._failed: dict[Space | SparseSpace, VecdbError] = {}

    def learn(
        self, requests: Sequence[pb.QueryRequest], schema: Schema, context: grpc.ServicerContext
    ) -> None:
        """Encode the texts of some queries."""
        sought: dict[str, dict[str, None]] = {}
        for request in requests:
            for leg in request.legs:
                if leg.near.vector.text:
                    sought.setdefault(leg.near.space, {})[leg.near.vector.text] = None
        for name, texts in sought.items():
            space = schema.space(name) or schema.sparse_space(name)
            if space is not None:
                self._learn(space, list(texts), context)

    def _learn(
        self, space: Space | SparseSpace, texts: list[str], context: grpc.ServicerContext
    ) -> None:
        for first in range(0, len(texts), TEXTS_AT_ONCE):
            some = texts[first : first + TEXTS_AT_ONCE]
            try:
                found = self._encoder.encode_some(space, some, Role.QUERY, context)
            except VecdbError as error:
                self._failed[space] = error
                return
            for at, text in enumerate(some):
                if at in found.refused:
                    continue  # its query asks again, and is the one to fail
                cut = slice(at, at + 1)
                self._known[space, text] = replace(
                    found,
                    vectors=found.vectors[cut],
                    sparse=found.sparse[cut],
                    tokens=found.tokens[cut],
                    truncated=found.truncated[cut],
                    refused={},
                )

    def re_ranker(self, name: str) -> ModelInfo:
        """Return the model of that name that gives a score."""
        return self._encoder.re_ranker(name)

    def encode_with(
        self,
        model: str,
        items: Sequence[Item],
        role: Role,
        context: grpc.ServicerContext,
        dim: int = 0,
    ) -> Encoded:
        """Return the vectors of items by a model's name."""
        return self._encoder.encode_with(model, items, role, context, dim)

    def encode(
        self,
        space: Space | SparseSpace,
        items: Sequence[Item],
        role: Role,
        context: grpc.ServicerContext,
    ) -> Encoded:
        """Return the vector of one item. Raises what encoding it ahead did."""
        if len(items) == 1 and role is Role.QUERY and isinstance(items[0], str):
            known = self._known.get((space, items[0]))
            if known is not None:
                return known
            if space in self._failed:
                error = self._failed[space]
                error.field = ""  # of the query that it was raised for before
                raise error
        return self._encoder.encode(space, items, role, context)


class Batch:
    """One call: what its queries ask, and what they are answered."""

    def __init__(
        self, queries: Queries, limits: LimitsConfig, request: pb.QueryBatchRequest
    ) -> None:
        """Raise InvalidArgument or LimitExceeded for too few queries, or too many."""
        count = len(request.queries)
        if not count:
            raise InvalidArgument("the batch has no query", field="queries")
        if count > limits.queries:
            raise LimitExceeded(
                f"{count} queries, the limit is {limits.queries}",
                field="queries",
                hint="send them in several calls, or raise limits.queries",
            )
        self._queries = queries
        self._limits = limits
        self._request = request
        self._errors: dict[int, errors_pb2.Status] = {}

    def answer(
        self, collection: Collection, texts: KnownTexts, context: grpc.ServicerContext
    ) -> pb.QueryBatchResponse:
        """Return what each query finds, or its error. Raises what concerns all of them."""
        started = time.perf_counter_ns()
        texts.learn(self._request.queries, collection.schema, context)
        asks: dict[int, tuple[Callable[[Snapshot], Asked], Wanted]] = {}
        for at in range(len(self._request.queries)):
            made = self._tried(at, partial(self._ask, at, collection, context))
            if made is not None:
                asks[at] = made
        embedded = time.perf_counter_ns()
        with collection.snapshot(deadline_of(context)) as snapshot:
            snapshotted = time.perf_counter_ns()
            snapshot.require_seq(self._request.min_commit_seq)
            asked: dict[int, tuple[Asked, Wanted]] = {}
            for at, (ask, wanted) in asks.items():
                found = self._tried(at, partial(ask, snapshot))
                if found is not None:
                    asked[at] = found, wanted
            bytes_max, threads = self._limits.message_bytes, min(os.cpu_count() or 1, THREADS_MAX)
            scale = collection.recall.scale
            results = snapshot.query_many(list(asked.values()), bytes_max, scale, threads)
            commit_seq = snapshot.seq
        for query, _ in asked.values():
            collection.recall.saw_legs(query.legs, query.filter)
        count = len(self._request.queries)
        shares = {
            "embed": (embedded - started) // count // 1000,
            "snapshot": (snapshotted - embedded) // count // 1000,
        }
        return self._reply(dict(zip(asked, results, strict=True)), shares, commit_seq)

    def _ask(
        self, at: int, collection: Collection, context: grpc.ServicerContext
    ) -> tuple[Callable[[Snapshot], Asked], Wanted]:
        one = self._request.queries[at]
        if one.collection not in ("", self._request.collection):
            raise InvalidArgument(
                "a query of another collection: a batch is of one state of one collection",
                field="collection",
            )
        if one.min_commit_seq > self._request.min_commit_seq:
            raise InvalidArgument("min_commit_seq is that of the batch", field="min_commit_seq")
        return self._queries.asked(one, collection, context)

    def _tried(self, at: int, work: Callable[[], T]) -> T | None:
        """Return what some work for a query does; None after an error, which is kept."""
        try:
            return work()
        except VecdbError as error:
            self._failed(at, error)
            return None

    def _failed(self, at: int, error: VecdbError) -> None:
        error.field = self._queries.field_of(error.field, self._request.queries[at])
        self._errors[at] = errors_pb2.Status.FromString(encode_details(error))

    def _reply(
        self,
        results: dict[int, QueryResult | VecdbError],
        shares: dict[str, int],
        commit_seq: int,
    ) -> pb.QueryBatchResponse:
        reply = pb.QueryBatchResponse(commit_seq=commit_seq)
        count, bytes_max = len(self._request.queries), self._limits.message_bytes
        left = bytes_max - min(count * ERROR_BYTES, bytes_max // 2)
        for at in range(count):
            result = results.get(at)
            item = reply.results.add()
            if isinstance(result, QueryResult):
                timings = {**shares, **result.timings_us}
                encoded = self._queries.reply(result, timings, sum(timings.values()))
                left -= len(encoded)
                if left >= 0:
                    item.response.MergeFromString(encoded)
                    continue
                result = too_large(bytes_max)
            if result is not None:
                self._failed(at, result)
            item.error.CopyFrom(self._errors[at])
        return reply
