"""Which thread a call gets, and what becomes of calls that send no message, or a wrong one."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import grpc
import pytest

from tests.rpc.nodes import open_guard
from vecdb.metrics import Metrics
from vecdb.rpc import dispatch
from vecdb.rpc.dispatch import Dispatcher, never_quick, quick_when, waits
from vecdb.rpc.intercept import CallInterceptor

SECONDS = 10.0
SERVICE = "vecdb.Tested"


class Service:
    """Answers b"quick" at once, b"wait" when it is let go; tells in which thread."""

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.begun = threading.Semaphore(0)

    @quick_when(lambda request: request == b"quick")
    def ours(self, request: bytes, context: grpc.ServicerContext) -> bytes:
        if request == b"raise":
            raise ValueError("no reply")
        if request == b"wait":
            self.begun.release()
            self.go_on.wait(3 * SECONDS)  # longer than any call waits
        return threading.current_thread().name.encode()

    @waits
    def elsewhere(self, request: bytes, context: grpc.ServicerContext) -> bytes:
        return self.ours(request, context)

    def other(self, request: bytes, context: grpc.ServicerContext) -> bytes:
        return threading.current_thread().name.encode()


def refuse_bad(message: bytes) -> bytes:
    if message == b"bad":
        raise ValueError("cannot be parsed")
    return message


@contextmanager
def served(
    service: Service, threads: int = 2, *, intercepted: bool = False
) -> Iterator[tuple[grpc.Server, grpc.Channel]]:
    server = grpc.server(
        Dispatcher(16, threads),
        maximum_concurrent_rpcs=16,
        interceptors=[CallInterceptor(Metrics(), open_guard(), threads, 1)] if intercepted else [],
    )
    handlers = {
        "Ours": grpc.unary_unary_rpc_method_handler(service.ours, refuse_bad),
        "Elsewhere": grpc.unary_unary_rpc_method_handler(service.elsewhere, refuse_bad),
        "Other": grpc.unary_unary_rpc_method_handler(service.other),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield server, channel
    finally:
        service.go_on.set()
        server.stop(SECONDS).wait()


def ask(channel: grpc.Channel, request: bytes, method: str = "Ours") -> bytes:
    reply: bytes = channel.unary_unary(f"/{SERVICE}/{method}")(request, timeout=SECONDS)
    return reply


def test_grpcio_still_has_the_names_that_this_needs() -> None:
    assert dispatch.KNOWN


def test_each_call_goes_to_threads_of_its_kind() -> None:
    with served(Service()) as (_, channel):
        assert ask(channel, b"quick").startswith(b"vecdb-quick")
        assert ask(channel, b"slow").startswith(b"vecdb-query")
        assert ask(channel, b"any", "Other").startswith(b"vecdb-rpc")


def test_calls_that_wait_keep_neither_quick_ones_nor_others_waiting() -> None:
    service = Service()
    with served(service, threads=1) as (_, channel):
        calls = [channel.unary_unary(f"/{SERVICE}/Ours").future(b"wait") for _ in range(3)]
        assert service.begun.acquire(timeout=SECONDS)
        assert ask(channel, b"quick").startswith(b"vecdb-quick")
        assert ask(channel, b"any", "Other").startswith(b"vecdb-rpc")
        assert not service.begun.acquire(blocking=False), "one thread, one call at a time"
        service.go_on.set()
        assert [call.result(SECONDS) for call in calls] == [b"vecdb-query_0"] * 3


def test_quick_calls_wait_for_no_turn_that_others_have_taken() -> None:
    service = Service()
    with served(service, threads=1, intercepted=True) as (_, channel):
        waiting = channel.unary_unary(f"/{SERVICE}/Ours").future(b"wait")
        assert service.begun.acquire(timeout=SECONDS)
        assert ask(channel, b"quick").startswith(b"vecdb-quick")
        service.go_on.set()
        assert waiting.result(SECONDS) == b"vecdb-query_0"


@pytest.mark.parametrize("known", [True, False], ids=["with those names", "without"])
def test_calls_that_wait_for_another_process_wait_together(
    monkeypatch: pytest.MonkeyPatch, known: bool
) -> None:
    monkeypatch.setattr(dispatch, "KNOWN", known)
    service = Service()
    with served(service, threads=1, intercepted=True) as (_, channel):
        calls = [channel.unary_unary(f"/{SERVICE}/Elsewhere").future(b"wait") for _ in range(3)]
        assert all(service.begun.acquire(timeout=SECONDS) for _ in calls)
        assert ask(channel, b"slow").startswith(b"vecdb-")
        service.go_on.set()
        threads = {call.result(SECONDS) for call in calls}
        assert len(threads) == 3
        assert all(name.startswith(b"vecdb-rpc") for name in threads)


def test_calls_whose_message_never_comes_hold_no_thread() -> None:
    go_on = threading.Event()

    def nothing() -> Iterator[bytes]:
        go_on.wait(SECONDS)
        yield from ()

    with served(Service(), threads=1) as (_, channel):
        calls = [channel.stream_unary(f"/{SERVICE}/Ours").future(nothing()) for _ in range(8)]
        assert ask(channel, b"slow").startswith(b"vecdb-query")
        go_on.set()
        for call in calls:
            assert call.exception(SECONDS).code() is grpc.StatusCode.UNIMPLEMENTED
        # They are no longer counted as calls that are open.
        assert [ask(channel, b"quick")[:11] for _ in range(40)] == [b"vecdb-quick"] * 40


def test_cancelled_calls_leave_nothing_behind() -> None:
    service = Service()
    with served(service, threads=1) as (_, channel):
        calls = [channel.unary_unary(f"/{SERVICE}/Ours").future(b"wait") for _ in range(10)]
        assert service.begun.acquire(timeout=SECONDS)
        for call in calls:
            call.cancel()
        service.go_on.set()
        assert [ask(channel, b"quick")[:11] for _ in range(40)] == [b"vecdb-quick"] * 40


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [(b"bad", grpc.StatusCode.INTERNAL), (b"raise", grpc.StatusCode.UNKNOWN)],
)
def test_what_fails_fails_as_grpcio_has_it(request_bytes: bytes, status: grpc.StatusCode) -> None:
    with served(Service()) as (_, channel):
        for _ in range(20):
            with pytest.raises(grpc.RpcError) as raised:
                ask(channel, request_bytes)
            assert raised.value.code() is status
        assert ask(channel, b"quick").startswith(b"vecdb-quick")


def test_calls_under_way_are_finished_when_the_server_stops() -> None:
    service = Service()
    with served(service, threads=1) as (server, channel):
        calls = [channel.unary_unary(f"/{SERVICE}/Ours").future(b"wait") for _ in range(2)]
        assert service.begun.acquire(timeout=SECONDS)
        stopped = server.stop(SECONDS)
        service.go_on.set()
        assert stopped.wait(SECONDS)
        assert [call.result(SECONDS) for call in calls] == [b"vecdb-query_0"] * 2


def test_where_no_thread_can_be_started_those_that_are_there_do_the_work(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    start = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if thread.name.startswith("vecdb-"):
            raise RuntimeError("can't start new thread")
        start(thread)

    service = Service()
    with served(service) as (_, channel):
        monkeypatch.setattr(threading.Thread, "start", refuse)
        calls = [channel.unary_unary(f"/{SERVICE}/Ours").future(b"wait") for _ in range(3)]
        others = [channel.unary_unary(f"/{SERVICE}/Other").future(b"") for _ in range(3)]
        assert [call.result(SECONDS) for call in others] == [b"vecdb-rpc_0"] * 3
        assert [ask(channel, b"quick") for _ in range(3)] == [b"vecdb-quick_0"] * 3
        service.go_on.set()
        assert [call.result(SECONDS) for call in calls] == [b"vecdb-query_0"] * 3


def test_without_those_names_calls_go_grpcio_s_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "KNOWN", False)
    with served(Service()) as (_, channel):
        assert ask(channel, b"quick").startswith(b"vecdb-rpc")
    assert not never_quick(b"")
