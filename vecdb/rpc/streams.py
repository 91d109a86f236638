"""What a stream goes through, one reply after the other: asked for, counted, known to logs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import grpc

from vecdb.metrics import Metrics
from vecdb.rpc.guard import Admission
from vecdb.rpc.malformed import all_well_formed, well_formed

T = TypeVar("T")


def admitted_replies(
    behaviour: Callable[[Any, grpc.ServicerContext], Iterator[Any]],
    admission: Admission | None,
    seen: dict[str, None],
    *,
    many_requests: bool,
) -> Callable[[Any, grpc.ServicerContext], Iterator[Any]]:
    """Return a behaviour that works on what its caller may ask.

    seen: takes the collections that the requests name. many_requests: whether they are a stream.
    """

    def of_many(requests: Iterator[Any], context: grpc.ServicerContext) -> Iterator[Any]:
        formed = all_well_formed(requests)
        return behaviour(formed if admission is None else admission.checked(formed, seen), context)

    def of_one(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:  # noqa: ANN401
        well_formed(request)
        if admission is not None:
            seen.update(dict.fromkeys(admission.collections(request)))
            admission.check(request)
        return behaviour(request, context)

    return of_many if many_requests else of_one


def each_within(
    context: tuple[Callable[[T], Any], Callable[[Any], object]],
    value: T,
    replies: Callable[[], Iterator[Any]],
) -> Iterator[Any]:
    """Yield replies, each made while a context variable of the thread has a value.

    context: how the variable is set, and set back. A caller that leaves ends the replies.
    """
    enter, leave = context
    made: Iterator[Any] | None = None
    try:
        while True:
            before = enter(value)
            try:
                made = made or replies()
                reply = next(made)
            except StopIteration:
                return
            finally:
                leave(before)
            yield reply
    finally:
        if made is not None and hasattr(made, "close"):
            made.close()


class Counted:
    """A block in which a stream is open, as metrics see it. code: what it ends with."""

    def __init__(self, metrics: Metrics, labels: tuple[str, str, str]) -> None:
        self._metrics = metrics
        self._labels = labels
        self.code = grpc.StatusCode.OK

    def requests(self, request: Any, *, many: bool) -> Any:  # noqa: ANN401
        """Return a request, or the requests of a stream, each counted once it is read."""
        counter = self._metrics.received.labels(*self._labels)
        if many:
            return _each_counted(request, counter.inc)
        counter.inc()
        return request

    def replies(self, made: Iterator[Any]) -> Iterator[Any]:
        """Yield what is answered, and count it."""
        return _each_counted(made, self._metrics.sent.labels(*self._labels).inc)

    def __enter__(self) -> Counted:
        self._metrics.started.labels(*self._labels).inc()
        self._begun = time.perf_counter()
        return self

    def __exit__(self, *raised: object) -> None:
        self._metrics.handled.labels(*self._labels, self.code.name).inc()
        self._metrics.handling.labels(*self._labels).observe(time.perf_counter() - self._begun)


def _each_counted(messages: Iterator[Any], count: Callable[[], object]) -> Iterator[Any]:
    try:
        for message in messages:
            count()
            yield message
    finally:
        if hasattr(messages, "close"):
            messages.close()
