"""Which thread works on a call, and from when on: once its message is there.

grpcio hands a call to a thread with its headers; the thread asks for the message and sleeps until
it has come. So every call changes threads once more than it need, and a caller that sends nothing
holds a thread. Here the message is asked for first. grpcio has no public way to say so: a few
names of its private module are used, and where one is missing its own way is taken.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from vecdb.rpc.shares import Kind, Share

try:
    from grpc._cython import cygrpc  # type: ignore[attr-defined]
    from grpc._server import (
        _RECEIVE_MESSAGE_TOKEN,
        _abort,
        _receive_message,
        _unary_response_in_pool,
    )

    KNOWN = True
except ImportError:
    KNOWN = False

log = logging.getLogger(__name__)

Made = TypeVar("Made", bound=Callable[..., Any])


def quick_when(is_quick: Callable[[Any], bool]) -> Callable[[Made], Made]:
    """Mark a behaviour as quick for some requests: little to compute, and nothing to wait for."""

    def mark(behaviour: Made) -> Made:
        behaviour.is_quick = is_quick  # type: ignore[attr-defined]
        return behaviour

    return mark


def waits(behaviour: Made) -> Made:
    """Mark a behaviour as one that waits for another process, which bounds how much it takes."""
    behaviour.waits = True  # type: ignore[attr-defined]
    return behaviour


Refusal = tuple[str, tuple[tuple[str, str | bytes], ...]]
"""The words and the trailers of a call that is RESOURCE_EXHAUSTED."""


def shared_by(share: Share, refusal: Callable[[], Refusal]) -> Callable[[Made], Made]:
    """Mark a behaviour as one of a share. refusal: says what a call hears that finds it taken."""

    def mark(behaviour: Made) -> Made:
        behaviour.share, behaviour.refusal = share, refusal  # type: ignore[attr-defined]
        return behaviour

    return mark


def never_quick(request: Any) -> bool:  # noqa: ANN401
    """Return that a request may take its time."""
    return False


class _Pool(ThreadPoolExecutor):
    """Threads that are started as they are needed, the first of them at once.

    Where the machine has no room for one more, those that are there do the work: an error would end
    gRPC's one thread, and with it the server.
    """

    def __init__(self, threads: int, name: str) -> None:
        """Start the first. Raises RuntimeError when the machine has no room for it."""
        super().__init__(threads, thread_name_prefix=name)
        ThreadPoolExecutor.submit(self, int)

    def _adjust_thread_count(self) -> None:
        try:
            super()._adjust_thread_count()  # private; if renamed, no longer called
        except RuntimeError as error:
            if not self._threads:
                raise
            log.warning("%s: %d threads do the work", error, len(self._threads))


class Dispatcher(_Pool):
    """The executor that a gRPC server gives its calls to.

    A behaviour of a share (see shares.py) that is taken is refused here, without any thread.

    Behaviours with an `is_quick` are given a thread with their message: quick ones one of a few
    more than there are cores, so that a burst is worked off one by one and not by many threads
    that take the interpreter from each other; the others one of `threads` of their kind, a quarter
    as many for ADMIN, but for those that `waits` marks, which are as many as there are `calls`. All
    else has a thread of `calls` from its headers on, as streams need it.
    """

    def __init__(self, calls: int, threads: int) -> None:
        super().__init__(calls, "vecdb-rpc")
        self._quick = _Pool(len(os.sched_getaffinity(0)) + 1, "vecdb-quick")
        self._slow = {
            kind: _Pool(max(1, threads // 4) if kind is Kind.ADMIN else threads, f"vecdb-{kind}")
            for kind in Kind
        }

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End all threads, once what was begun is done."""
        for pool in (self._quick, *self._slow.values()):
            pool.shutdown(wait, cancel_futures=cancel_futures)
        super().shutdown(wait, cancel_futures=cancel_futures)

    def submit(self, run: Callable[..., Any], /, *args: Any, **named: Any) -> Future[Any]:  # noqa: ANN401
        """Take a call over from grpcio."""
        if not KNOWN or args[0] is not _unary_response_in_pool:
            return super().submit(run, *args, **named)
        share: Share | None = getattr(args[3], "share", None)
        if share is not None and not share.take():
            return self._refuse(*args[1:4])
        try:
            if hasattr(args[3], "is_quick"):
                done = self._receive(*args)
            else:
                done = super().submit(run, *args, **named)
        except BaseException:
            if share is not None:
                share.give_back()
            raise
        if share is not None:
            done.add_done_callback(lambda _: share.give_back())
        return done

    def _refuse(self, rpc_event: Any, state: Any, behaviour: Any) -> Future[Any]:  # noqa: ANN401
        """Answer a call whose share is taken; the caller holds state.condition."""
        text, state.trailing_metadata = behaviour.refusal()
        _abort(state, rpc_event.call, cygrpc.StatusCode.resource_exhausted, text.encode())
        done: Future[Any] = Future()
        done.set_result(None)
        return done

    def _begin(
        self,
        call: Callable[[Any], None],
        behaviour: Any,  # noqa: ANN401
        request: Any,  # noqa: ANN401
    ) -> None:
        """Give a call a thread, now that its message is there."""
        if getattr(behaviour, "waits", False):
            super().submit(call, request)
        elif behaviour.is_quick(request):
            self._quick.submit(call, request)
        else:
            share: Share | None = getattr(behaviour, "share", None)
            self._slow[share.kind if share else Kind.QUERY].submit(call, request)

    def _receive(
        self,
        work: Callable[..., None],
        rpc_event: Any,  # noqa: ANN401
        state: Any,  # noqa: ANN401
        behaviour: Callable[..., Any],
        request_of: Callable[[], Any],
        deserialize: Callable[[bytes], Any],
        serialize: Callable[[Any], bytes],
    ) -> Future[Any]:
        """Ask for a call's message; what it returns is done when the call is."""
        done: Future[Any] = Future()
        receive = _receive_message(state, rpc_event.call, deserialize)

        def call(request: Any) -> None:  # noqa: ANN401
            try:
                work(rpc_event, state, behaviour, lambda: request, deserialize, serialize)
            finally:
                done.set_result(None)

        def refuse(status: Any, why: bytes) -> None:  # noqa: ANN401
            with state.condition:
                if not state.statused:
                    _abort(state, rpc_event.call, status, why)
            done.set_result(None)

        def received(event: Any) -> Any:  # noqa: ANN401
            """Do as grpcio does with a message, then find the call a thread."""
            outcome = receive(event)
            request, state.request = state.request, None
            if request is None:
                refuse(cygrpc.StatusCode.unimplemented, b"expected one request message")
                return outcome
            try:
                self._begin(call, behaviour, request)
            except RuntimeError:  # shut down meanwhile
                refuse(cygrpc.StatusCode.unavailable, b"the server is stopping")
            return outcome

        # The caller holds state.condition.
        rpc_event.call.start_server_batch((cygrpc.ReceiveMessageOperation(0),), received)
        state.due.add(_RECEIVE_MESSAGE_TOKEN)
        return done
