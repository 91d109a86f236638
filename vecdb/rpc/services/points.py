"""Points: write and read."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from concurrent.futures import TimeoutError as FutureTimeout

import grpc

from vecdb.collection.collection import Collection
from vecdb.collection.snapshot import Found
from vecdb.config import LimitsConfig
from vecdb.database import Database
from vecdb.embed.encoder import Role
from vecdb.errors import DeadlineExceeded, InvalidArgument, LimitExceeded, VecdbError
from vecdb.metrics import Metrics
from vecdb.outcomes import ItemResult, WriteOutcome
from vecdb.rpc.convert import fill_point, ops_of
from vecdb.rpc.convert_aggregate import aggregations_of, fill_result
from vecdb.rpc.deadline import deadline_of, remaining_s
from vecdb.rpc.pb import common_pb2, points_pb2_grpc
from vecdb.rpc.pb import points_pb2 as pb
from vecdb.rpc.services.encode import SpaceEncoder
from vecdb.rpc.services.reads import check_reply, checked_filter, listing_of, wanted_of
from vecdb.rpc.services.watch import watch
from vecdb.rpc.status import code_number
from vecdb.types import Delete, Op, Patch, Put, Space
from vecdb.write.prepare import KINDS, check_batch, prepare

PAGE_SIZE_DEFAULT = 100

Truncated = dict[int, list[str]]
"""Position of an operation to the spaces whose text was cut."""


class PointsService(points_pb2_grpc.PointsServicer):
    """Serves vecdb.v1.Points."""

    def __init__(
        self, database: Database, encoder: SpaceEncoder, limits: LimitsConfig, metrics: Metrics
    ) -> None:
        self._database = database
        self._encoder = encoder
        self._limits = limits
        self._metrics = metrics

    def Write(self, request: pb.WriteRequest, context: grpc.ServicerContext) -> pb.WriteResponse:
        """Apply a list of operations; return a result for each."""
        check_batch(len(request.ops), self._limits)
        with self._database.collection(request.collection) as collection:
            ops, refused = ops_of(request.ops)
            digest = b""
            if request.idempotency_key:
                digest = hashlib.sha256(request.SerializeToString(deterministic=True)).digest()
                stored = collection.replay(request.idempotency_key, digest)
                if stored is not None:
                    return self._reply(ops, stored)
            truncated = self._encode_texts(collection, ops, refused, context)
            command = prepare(
                ops,
                collection.schema,
                self._limits,
                refused=refused,
                truncated=truncated,
                atomic=request.atomic,
                idempotency_key=request.idempotency_key,
                request_digest=digest,
                now_ms=collection.clock(),
                ttl_ms=collection.ttl_ms,
            )
            if not command.runs:  # nothing to apply, and the same answer whenever it is asked
                results = tuple(
                    ItemResult(reason=one.reason, message=one.message) for one in command.refused
                )
                return self._reply(ops, WriteOutcome(0, results))
            written = collection.write(command, is_wanted=context.is_active)
            try:
                outcome = written.result(remaining_s(context))
            except FutureTimeout:
                raise DeadlineExceeded(
                    "the deadline passed before the write was durable; it may still become so",
                    hint="send it again with the same idempotency key",
                ) from None
        return self._reply(ops, outcome)

    def _encode_texts(
        self,
        collection: Collection,
        ops: list[Op],
        refused: dict[int, VecdbError],
        context: grpc.ServicerContext,
    ) -> Truncated:
        """Give every text of the operations its vector; say which were cut."""
        truncated: Truncated = {}
        for space in collection.schema.spaces:
            rows = [
                (position, op)
                for position, op in enumerate(ops)
                if position not in refused and not isinstance(op, Delete) and space.name in op.texts
            ]
            if rows:
                refused.update(self._wrong_texts(space, rows))
                rows = [(position, op) for position, op in rows if position not in refused]
            if not rows:
                continue
            texts = [op.texts[space.name] for _, op in rows]
            encoded = self._encoder.encode(space, texts, Role.DOCUMENT, context)
            for row, (position, op) in enumerate(rows):
                op.vectors[space.name] = encoded.vectors[row].astype("<f4", copy=False).tobytes()
                if encoded.truncated[row]:
                    truncated.setdefault(position, []).append(space.name)
        known = {space.name for space in collection.schema.spaces}
        for one in ops:
            if not isinstance(one, Delete):
                # A text for a space that does not exist is refused with the vectors, by name.
                one.vectors.update({name: b"" for name in one.texts if name not in known})
        return truncated

    def _wrong_texts(
        self, space: Space, rows: list[tuple[int, Put | Patch]]
    ) -> dict[int, VecdbError]:
        """Return what is wrong with the texts for a space, by position."""

        def field(op: Put | Patch) -> str:
            return f"{KINDS[type(op)]}.vectors[{space.name!r}].text"

        try:
            self._encoder.check(space)
        except VecdbError as error:
            error.field = error.field or field(rows[0][1])
            return {position: error for position, _ in rows}
        wrong: dict[int, VecdbError] = {}
        for position, op in rows:
            try:
                self._check_text(op.texts[space.name])
            except VecdbError as error:
                error.field = field(op)
                wrong[position] = error
        return wrong

    def _check_text(self, text: str) -> None:
        if not text:
            raise InvalidArgument("the text is empty: there is nothing to encode")
        size = len(text.encode())
        if size > self._limits.text_bytes:
            raise LimitExceeded(
                f"the text has {size} bytes, the limit is {self._limits.text_bytes}",
                hint="split it into chunks, or raise limits.text_bytes",
            )

    def _reply(self, ops: list[Op], outcome: WriteOutcome) -> pb.WriteResponse:
        reply = pb.WriteResponse(commit_seq=outcome.commit_seq, replayed=outcome.replayed)
        counts: dict[tuple[str, str], int] = {}
        for op, result in zip(ops, outcome.results, strict=True):
            kind = KINDS[type(op)]
            what = "replayed" if outcome.replayed else "applied"
            if result.reason:
                what = "refused"
            reply.results.add(
                code=code_number(result.reason),
                reason=result.reason,
                message=result.message,
                version=result.version,
                found=result.found,
                truncated=result.truncated,
            )
            counts[kind, what] = counts.get((kind, what), 0) + 1
        for (kind, what), count in counts.items():
            self._metrics.write_operations.labels(kind, what).inc(count)
        return reply

    def Get(
        self, request: pb.GetPointsRequest, context: grpc.ServicerContext
    ) -> pb.GetPointsResponse:
        """Return points by id."""
        check_batch(len(request.ids), self._limits, "ids")
        wanted = wanted_of(request)
        with (
            self._database.collection(request.collection) as collection,
            collection.snapshot() as snapshot,
        ):
            found = snapshot.get(request.ids, wanted, self._limits.message_bytes)
            reply = pb.GetPointsResponse(
                missing=found.missing, damaged=found.damaged, commit_seq=snapshot.seq
            )
        _fill(reply, found, self._limits)
        return reply

    def Count(self, request: pb.CountRequest, context: grpc.ServicerContext) -> pb.CountResponse:
        """Return the exact number of points that match."""
        chosen = checked_filter(request, self._limits)
        with (
            self._database.collection(request.collection) as collection,
            collection.snapshot(deadline_of(context)) as snapshot,
        ):
            return pb.CountResponse(count=snapshot.count(chosen), commit_seq=snapshot.seq)

    def List(
        self, request: pb.ListPointsRequest, context: grpc.ServicerContext
    ) -> pb.ListPointsResponse:
        """Return a page of points, by id or in the order of a field."""
        size = request.page_size or min(PAGE_SIZE_DEFAULT, self._limits.page_items)
        if size > self._limits.page_items:
            raise LimitExceeded(
                f"page_size is {size}, the limit is {self._limits.page_items}",
                field="page_size",
                hint="ask for more pages, or raise limits.page_items",
            )
        listing = listing_of(request, self._limits)
        with (
            self._database.collection(request.collection) as collection,
            collection.snapshot(deadline_of(context)) as snapshot,
        ):
            wanted, bytes_max = wanted_of(request), self._limits.message_bytes // 2
            found = snapshot.page(listing, size, request.page_token, wanted, bytes_max)
            reply = pb.ListPointsResponse(
                next_page_token=found.next_token, damaged=found.damaged, commit_seq=snapshot.seq
            )
        _fill(reply, found, self._limits)
        return reply

    def Watch(
        self, request: pb.WatchRequest, context: grpc.ServicerContext
    ) -> Iterator[pb.WatchResponse | None]:
        """Yield what writes change; None for nothing yet."""
        return watch(self._database, self._limits, request, context)

    def Aggregate(
        self, request: pb.AggregateRequest, context: grpc.ServicerContext
    ) -> pb.AggregateResponse:
        """Return counts and sums over all points that match."""
        asked = aggregations_of(request.aggregations, self._limits)
        chosen = checked_filter(request, self._limits)
        with (
            self._database.collection(request.collection) as collection,
            collection.snapshot(deadline_of(context)) as snapshot,
        ):
            found = snapshot.aggregate(asked, chosen)
            reply = pb.AggregateResponse(
                points=found.points, warnings=found.warnings, commit_seq=snapshot.seq
            )
        for result in found.results:
            fill_result(reply.results.add(), result)
        check_reply(reply.ByteSize(), self._limits)
        return reply


def _fill(
    reply: pb.GetPointsResponse | pb.ListPointsResponse, found: Found, limits: LimitsConfig
) -> None:
    for point in found.points:
        message: common_pb2.Point = reply.points.add()
        fill_point(message, point)
    check_reply(reply.ByteSize(), limits)
