# Made from ingest.py by scripts/make_async.py. Do not edit.
"""How a write of any length gets done: batches in flight, answers counted, nothing lost in silence.

Order: operations on one id are applied in the order they came. Within a batch the server sees to
it; a batch waits for those in flight that hold one of its ids. Other batches may overtake.
Repeats: each batch has an idempotency key, so the transport may send it again after a failure.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import chain
from typing import Final, TypeAlias

from vecdb_client.batches import Batch
from vecdb_client.errors import Internal, VecdbError
from vecdb_client.pb import points_pb2 as pb
from vecdb_client.progress import Progress
from vecdb_client.protocol import WRITE
from vecdb_client.status import code_name, over_limit
from vecdb_client.aio.transport import Transport
from vecdb_client.types import ItemFailure, TruncatedText, WriteReport
from vecdb_client.async_wire import Flight, Flights, Recalled

TRUNCATED_NAMED_MAX: Final = 10_000


async def write(
    transport: Transport,
    batches: Iterator[Batch],
    *,
    parallel: int,
    progress: Progress | None,
    total: int | None,
    timeout_s: float | None,
) -> WriteReport:
    """Return the report of all batches. At most `parallel` are in flight, one more is built.

    timeout_s: of each batch. Raises the error of a call that failed as a whole, at once, with the
    report of what was done in its `report`: later batches are not sent.
    """
    return await _Ingest(transport, parallel, progress, total, timeout_s).run(batches)


class _Ingest:
    """One write under way. Used from the caller's task alone, but for `_send`."""

    def __init__(
        self,
        transport: Transport,
        parallel: int,
        progress: Progress | None,
        total: int | None,
        timeout_s: float | None,
    ) -> None:
        self._transport = transport
        self._parallel = parallel
        self._progress = progress
        self._total = total
        self._timeout_s = timeout_s
        self._in_flight: dict[Flight[list[_Answer]], tuple[Batch, frozenset[str]]] = {}
        self._unsettled: list[int] = []
        self._refused_bytes = sys.maxsize  # size of the smallest batch that was too large
        self._report = WriteReport()

    async def run(self, batches: Iterator[Batch]) -> WriteReport:
        try:
            first = next(batches, None)
            second = next(batches, None) if first else None
            if first and second:
                await self._pipelined(chain((first, second), batches))
            elif first:  # one batch needs no thread
                self._unsettled.append(first.start)
                self._count(first, await self._send(first))
                self._unsettled.clear()
                self._report.settled = first.end
        except BaseException as error:
            self._report.failures.sort(key=lambda failure: failure.index)
            self._report.settled = min(self._unsettled, default=self._report.settled)
            if isinstance(error, VecdbError):
                error.report = self._report
            elif self._report.written:
                error.add_note(f"vecdb: {self._report.written:,} items were written before this")
            raise
        self._report.failures.sort(key=lambda failure: failure.index)
        return self._report

    async def _pipelined(self, batches: Iterator[Batch]) -> None:
        async with Flights[list[_Answer]](self._parallel) as flights:
            try:
                for batch in batches:
                    ids = frozenset(batch.ids)
                    self._unsettled.append(batch.start)
                    while len(self._in_flight) >= self._parallel or any(
                        not ids.isdisjoint(others) for _, others in self._in_flight.values()
                    ):
                        await self._settle_one(flights)
                    self._in_flight[flights.start(self._send, batch)] = batch, ids
                    self._report.settled = batch.end
                while self._in_flight:
                    await self._settle_one(flights)
            finally:
                await self._drain(flights)

    async def _settle_one(self, flights: Flights[list[_Answer]]) -> None:
        """Wait for a batch and count its answers."""
        flight = await flights.landed(self._in_flight)
        batch, _ = self._in_flight.pop(flight)
        answers = flight.result()
        self._unsettled.remove(batch.start)
        self._count(batch, answers)

    async def _drain(self, flights: Flights[list[_Answer]]) -> None:
        """Count what is still in flight when the write is being stopped, and send no more."""
        self._progress = None
        flights.recall(self._in_flight)
        while self._in_flight:
            try:
                await self._settle_one(flights)
            except (VecdbError, Recalled):
                continue  # the first error is on its way to the caller; settled shows the rest

    async def _send(self, batch: Batch) -> list[_Answer]:
        """Return the answer to a batch; halves it where it is more than this server takes at once.

        Runs beside the caller.
        """
        if not batch.ids:
            return []
        if len(batch.body) >= self._refused_bytes and len(batch.ids) > 1:
            return await self._send_halves(batch)
        try:
            reply = await self._transport.call(WRITE, batch.body, timeout_s=self._timeout_s)
        except VecdbError as error:
            if batch.atomic or len(batch.ids) == 1 or not over_limit(error):
                raise
            self._refused_bytes = min(self._refused_bytes, len(batch.body))
            return await self._send_halves(batch)
        if len(reply.results) != len(batch.ids):
            raise Internal(
                f"the server gave {len(reply.results)} results for {len(batch.ids)} operations",
                call=WRITE.name,
            )
        return [(batch, reply)]

    async def _send_halves(self, batch: Batch) -> list[_Answer]:
        return [answer for half in batch.halves() for answer in await self._send(half)]

    def _count(self, batch: Batch, answers: list[_Answer]) -> None:
        self._report.failures += batch.refused
        for part, reply in answers:
            count(self._report, part, reply)
        if self._progress is not None:
            self._progress(self._report.total, self._total)


def count(report: WriteReport, batch: Batch, reply: pb.WriteResponse) -> None:
    """Add the answer to a batch to a report."""
    report.commit_seq = max(report.commit_seq, reply.commit_seq)
    for i, result in enumerate(reply.results):
        if result.code:
            report.failures.append(_failure(batch, i, result))
            continue
        report.written += 1
        report.found += result.found
        if result.truncated:
            report.truncated_total += 1
            if len(report.truncated) < TRUNCATED_NAMED_MAX:
                report.truncated.append(
                    TruncatedText(batch.indexes[i], batch.ids[i], tuple(result.truncated))
                )


_Answer: TypeAlias = tuple[Batch, pb.WriteResponse]


def _failure(batch: Batch, i: int, result: pb.WriteResult) -> ItemFailure:
    return ItemFailure(
        batch.indexes[i],
        batch.ids[i],
        code_name(result.code),
        result.reason,
        result.message,
        result.version,
    )
