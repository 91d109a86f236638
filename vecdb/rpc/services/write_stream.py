"""WriteStream: one write after the other, a few under way at a time."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator

import grpc

from vecdb.errors import Overloaded, VecdbError
from vecdb.rpc.deadline import remaining_s
from vecdb.rpc.pb import points_pb2 as pb
from vecdb.rpc.services.writing import Begun, Writing
from vecdb.rpc.status import status_of

WINDOW = 4
"""Requests without an answer: one is read and made ready while others wait for the disk."""
POLL_S = 0.25
"""Seconds after which a stream without news may be ended."""


def write_stream(
    writing: Writing, requests: Iterator[pb.WriteStreamRequest], context: grpc.ServicerContext
) -> Iterator[pb.WriteStreamResponse | None]:
    """Yield the answers to writes in their order, and None now and then while there is none."""
    yield pb.WriteStreamResponse(window=writing.window(WINDOW))
    reader = _Reader(writing, requests, context)
    try:
        while True:
            try:
                found = reader.begun.get(timeout=POLL_S)
            except queue.Empty:
                yield None
                continue
            if found is None:
                return
            if isinstance(found, Exception):
                if context.is_active():
                    raise found
                return  # the caller is gone, which reading is the first to hear
            answer = _answer(*found, context)
            answer.window = writing.window(WINDOW)
            reader.room.release()
            yield answer
    finally:
        reader.stop()


def _answer(
    number: int, begun: Begun | VecdbError, context: grpc.ServicerContext
) -> pb.WriteStreamResponse:
    answer = pb.WriteStreamResponse(number=number)
    try:
        if isinstance(begun, VecdbError):
            raise begun
        answer.write.CopyFrom(begun.reply(remaining_s(context)))
    except VecdbError as error:
        answer.error.CopyFrom(status_of(error))
    return answer


class _Reader:
    """A thread that begins writes as they come.

    begun: their numbers, and the writes or why they cannot be; in the end an error or None. room:
    taken for each write, given back by whoever answers it.
    """

    def __init__(
        self,
        writing: Writing,
        requests: Iterator[pb.WriteStreamRequest],
        context: grpc.ServicerContext,
    ) -> None:
        self._writing = writing
        self._requests = requests
        self._context = context
        self.begun: queue.SimpleQueue[tuple[int, Begun | VecdbError] | Exception | None] = (
            queue.SimpleQueue()
        )
        self.room = threading.Semaphore(WINDOW)
        self._over = threading.Event()
        self._lock = threading.Lock()  # what is put after `_over` is nobody's
        threading.Thread(target=self._main, name="vecdb-write-stream", daemon=True).start()

    def stop(self) -> None:
        """Begin no more, and see what was begun to its end."""
        with self._lock:
            self._over.set()
        self.room.release()
        while not self.begun.empty():
            self._abandon(self.begun.get())

    def _main(self) -> None:
        end: Exception | None = None
        try:
            while self.room.acquire() and not self._over.is_set():
                request = next(self._requests, None)
                if request is None:
                    break
                self._put((request.number, self._begin(request.write)))
        except Exception as error:
            end = error
        self._put(end)

    def _begin(self, request: pb.WriteRequest) -> Begun | VecdbError:
        while True:
            try:
                return self._writing.begin(request, self._context)
            except Overloaded as error:
                pause_s = error.retry_after_s
                if pause_s is None or self._over.wait(pause_s) or not self._context.is_active():
                    return error
            except VecdbError as error:
                return error

    def _put(self, found: tuple[int, Begun | VecdbError] | Exception | None) -> None:
        with self._lock:
            if not self._over.is_set():
                self.begun.put(found)
                return
        self._abandon(found)

    def _abandon(self, found: tuple[int, Begun | VecdbError] | Exception | None) -> None:
        if isinstance(found, tuple) and isinstance(found[1], Begun):
            found[1].abandon()
