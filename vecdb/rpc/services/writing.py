"""A write from its request to its reply, in two steps: begun, then waited for."""

from __future__ import annotations

import hashlib
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import ExitStack
from dataclasses import dataclass

import grpc

from vecdb.config import LimitsConfig
from vecdb.database import Database
from vecdb.errors import DeadlineExceeded
from vecdb.metrics import Metrics
from vecdb.outcomes import ItemResult, WriteOutcome
from vecdb.rpc.convert import fill_write_result, ops_of
from vecdb.rpc.pb import points_pb2 as pb
from vecdb.rpc.services.contents import ContentEncoder
from vecdb.types import Op
from vecdb.write.prepare import KINDS, check_batch, prepare


class Writing:
    """Begins the writes of requests."""

    def __init__(
        self, database: Database, texts: ContentEncoder, limits: LimitsConfig, metrics: Metrics
    ) -> None:
        self._database = database
        self._texts = texts
        self._limits = limits
        self._metrics = metrics

    def window(self, most: int) -> int:
        """Return how many writes of one caller may be under way: fewer while many wait."""
        return max(1, round(most * (1 - self._database.write_load())))

    def begin(self, request: pb.WriteRequest, context: grpc.ServicerContext) -> Begun:
        """Return a write that waits for the disk, or has its answer already."""
        check_batch(len(request.ops), self._limits)
        with ExitStack() as stack:
            collection = stack.enter_context(self._database.collection(request.collection))
            ops, refused = ops_of(request.ops)
            digest = b""
            if request.idempotency_key:
                digest = hashlib.sha256(request.SerializeToString(deterministic=True)).digest()
                stored = collection.replay(request.idempotency_key, digest)
                if stored is not None:
                    return Begun(ops, stored, stack, self._metrics)
            if any(KINDS[type(op)] != "delete" for op in ops):
                collection.check_room()  # before its texts are encoded
            schema = collection.schema  # one for all: a name may stand for another space meanwhile
            truncated = self._texts.encode_ops(schema, ops, refused, context)
            command = prepare(
                ops,
                schema,
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
                return Begun(ops, WriteOutcome(0, results), stack, self._metrics)
            written = collection.write(command, is_wanted=context.is_active, schema=schema)
            return Begun(ops, written, stack.pop_all(), self._metrics)


@dataclass(frozen=True, slots=True)
class Begun:
    """A write under way. open: what keeps its collection open, until one of the two is called."""

    ops: list[Op]
    written: Future[WriteOutcome] | WriteOutcome
    open: ExitStack
    metrics: Metrics

    def reply(self, timeout_s: float | None) -> pb.WriteResponse:
        """Return the reply, once the write is durable. Raises its error, DeadlineExceeded."""
        with self.open:
            written = self.written
            try:
                outcome = written.result(timeout_s) if isinstance(written, Future) else written
            except FutureTimeout:
                raise DeadlineExceeded(
                    "the deadline passed before the write was durable; it may still become so",
                    hint="send it again with the same idempotency key",
                ) from None
        return self._counted(outcome)

    def abandon(self) -> None:
        """Wait until it is over; its answer is nobody's."""
        with self.open:
            if isinstance(self.written, Future):
                self.written.exception()

    def _counted(self, outcome: WriteOutcome) -> pb.WriteResponse:
        reply = pb.WriteResponse(commit_seq=outcome.commit_seq, replayed=outcome.replayed)
        counts: dict[tuple[str, str], int] = {}
        for op, result in zip(self.ops, outcome.results, strict=True):
            kind = KINDS[type(op)]
            what = "replayed" if outcome.replayed else "applied"
            if result.reason:
                what = "refused"
            fill_write_result(reply.results.add(), result)
            counts[kind, what] = counts.get((kind, what), 0) + 1
        for (kind, what), count in counts.items():
            self.metrics.write_operations.labels(kind, what).inc(count)
        return reply
