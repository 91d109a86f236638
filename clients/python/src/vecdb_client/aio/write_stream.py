# Made from write_stream.py by scripts/make_async.py. Do not edit.
"""Writing without an end: batches go out over one stream, a report comes back for each."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Iterator

from vecdb_client.batches import Batch
from vecdb_client.aio.ingest import count
from vecdb_client.pb import points_pb2 as pb
from vecdb_client.protocol import WRITE_STREAM
from vecdb_client.status import build_error, code_name
from vecdb_client.aio.transport import Transport
from vecdb_client.types import WriteReport
from vecdb_client.async_wire import Window, next_of


async def write_stream(transport: Transport, batches: Iterator[Batch]) -> AsyncIterator[WriteReport]:
    """Yield the report of each batch, in their order; see Writes.write_stream."""
    sender = _Sender(batches)
    try:
        async for reply in transport.duplex(WRITE_STREAM, sender.requests()):
            if reply.number:
                if reply.HasField("error"):
                    code = code_name(reply.error.code)
                    raise build_error(code, reply.error.message, reply.error, WRITE_STREAM.name)
                batch = sender.answered()
                report = WriteReport(failures=batch.refused, settled=batch.end)
                count(report, batch, reply.write)
                report.failures.sort(key=lambda failure: failure.index)
                yield report
            sender.allow(reply.window)
    finally:
        sender.stop()
    if sender.failure is not None:
        raise sender.failure
    if sender.unsent is not None:
        yield WriteReport(failures=sender.unsent.refused, settled=sender.unsent.end)


class _Sender:
    """What is sent, beside the caller, as far as the server's window allows.

    failure: what the caller's iterator raised. unsent: a last batch of which all was refused here.
    """

    def __init__(self, batches: Iterator[Batch]) -> None:
        self._batches = batches
        self._window = Window()
        self._under_way: deque[Batch] = deque()  # whose ends may be in two threads
        self.failure: BaseException | None = None
        self.unsent: Batch | None = None

    async def requests(self) -> AsyncIterator[pb.WriteStreamRequest]:
        """Yield the batches as requests, each once it may be sent."""
        number = 0
        try:
            while (batch := await next_of(self._batches)) is not None:
                if not batch.ids:
                    self.unsent = batch
                    return
                number += 1
                request = pb.WriteStreamRequest(number=number)
                request.write.MergeFromString(batch.body)
                if not await self._window.enter():
                    return
                self._under_way.append(batch)
                yield request
        except Exception as error:
            self.failure = error  # raised again where the caller waits, after the last answer

    def answered(self) -> Batch:
        """Return the batch that the next answer is about."""
        self._window.leave()
        return self._under_way.popleft()

    def allow(self, most: int) -> None:
        """Take over how many may be under way."""
        self._window.allow(most)

    def stop(self) -> None:
        """Send no more."""
        self._window.close()
