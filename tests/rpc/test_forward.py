"""What a query worker passes on arrives as it was sent, and comes back as it was answered."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest

from tests.live import wait_until
from tests.rpc.nodes import open_guard
from vecdb.metrics import Metrics
from vecdb.rpc import server as rpc_server
from vecdb.rpc.forward import READS, STATES, Forwarder
from vecdb.rpc.intercept import CallInterceptor
from vecdb.rpc.pb import errors_pb2

METHOD = "/vecdb.v1.Points/Write"
STATE = "/vecdb.v1.Collections/Stats"


class Answers(grpc.GenericRpcHandler):
    """Answers every method of a server, with bytes, by a function that a test chooses."""

    def __init__(self):
        self.answer = lambda body, context: body

    def service(self, details):
        return grpc.unary_unary_rpc_method_handler(
            lambda body, context: self.answer(body, context), bytes, bytes
        )


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[Answers]:
    answers = Answers()
    answers.address = f"unix:{tmp_path}/w.sock"
    answers.server = grpc.server(ThreadPoolExecutor(4), (answers,))
    answers.server.add_insecure_port(answers.address)
    answers.server.start()
    yield answers
    answers.server.stop(0).wait()


@pytest.fixture
def worker(writer: Answers) -> Iterator[grpc.Channel]:
    """A connection to a worker that passes to that writer, and itself answers b"here"."""
    forwarder = Forwarder(writer.address)
    here = Answers()
    here.answer = lambda body, context: b"here"
    front = grpc.server(
        ThreadPoolExecutor(4),
        (here,),
        interceptors=[CallInterceptor(Metrics(), open_guard(), 2, 1, forwarder=forwarder)],
    )
    port = front.add_insecure_port("127.0.0.1:0")
    front.start()
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield channel
    front.stop(0).wait()
    forwarder.close()


def test_bytes_and_metadata_go_through(writer: Answers, worker: grpc.Channel) -> None:
    seen = {}

    def answer(body, context):
        seen["metadata"] = dict(context.invocation_metadata())
        seen["left"] = context.time_remaining()
        context.send_initial_metadata((("first", "1"),))
        context.set_trailing_metadata((("last-bin", b"\0\1"), ("note", "x")))
        return body[::-1]

    writer.answer = answer
    reply, call = worker.unary_unary(METHOD).with_call(
        b"\0abc", timeout=20, metadata=(("key", "v"), ("raw-bin", b"\xff"), ("key2", "w"))
    )
    assert reply == b"cba\0"
    assert {"key": "v", "raw-bin": b"\xff", "key2": "w"}.items() <= seen["metadata"].items()
    assert 10 < seen["left"] < 21  # what is left is rounded up on its way
    assert dict(call.initial_metadata())["first"] == "1"
    trailing = dict(call.trailing_metadata())
    assert (trailing["last-bin"], trailing["note"]) == (b"\0\1", "x")


def test_a_call_without_a_deadline_has_none(writer: Answers, worker: grpc.Channel) -> None:
    left = []
    writer.answer = lambda body, context: left.append(context.time_remaining()) or b""
    assert worker.unary_unary(METHOD)(b"") == b""
    assert left[0] is None or left[0] > 1e9


@pytest.mark.parametrize("code", [code for code in grpc.StatusCode if code.value[0]])
def test_every_status_goes_through(
    writer: Answers, worker: grpc.Channel, code: grpc.StatusCode
) -> None:
    def answer(body, context):
        context.set_trailing_metadata(
            (("grpc-status-details-bin", b"details"), ("vecdb-request-id", "r"))
        )
        context.abort(code, f"because, {code.name} ü")

    writer.answer = answer
    with pytest.raises(grpc.RpcError) as caught:
        worker.unary_unary(METHOD)(b"x", timeout=20)
    assert caught.value.code() is code
    assert caught.value.details() == f"because, {code.name} ü"
    trailing = dict(caught.value.trailing_metadata())
    assert trailing["grpc-status-details-bin"] == b"details"
    assert trailing["vecdb-request-id"] == "r"


def test_cancelling_goes_through(writer: Answers, worker: grpc.Channel) -> None:
    entered, cancelled = threading.Event(), threading.Event()

    def answer(body, context):
        context.add_callback(cancelled.set)
        entered.set()
        cancelled.wait(20)
        return b""

    writer.answer = answer
    call = worker.unary_unary(METHOD).future(b"x", timeout=30)
    assert entered.wait(20)
    call.cancel()
    assert cancelled.wait(20)


def test_waiting_calls_take_no_turn_of_the_reads(writer: Answers, worker: grpc.Channel) -> None:
    go_on = threading.Event()
    entered = threading.Semaphore(0)

    def answer(body, context):
        entered.release()
        go_on.wait(20)
        return b""

    writer.answer = answer
    waiting = [worker.unary_unary(METHOD).future(b"x", timeout=30) for _ in range(3)]
    for _ in waiting:
        assert entered.acquire(timeout=20)
    (read,) = [path for path in READS if path.endswith("Count")]
    assert worker.unary_unary(read)(b"", timeout=20) == b"here"
    go_on.set()
    for call in waiting:
        call.result()


def test_while_the_writer_is_away(writer: Answers, worker: grpc.Channel) -> None:
    writer.answer = lambda body, context: b"writer"
    assert worker.unary_unary(STATE)(b"", timeout=20) == b"writer"
    writer.server.stop(0).wait()
    with pytest.raises(grpc.RpcError) as caught:
        worker.unary_unary(METHOD)(b"x", timeout=20)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    status = errors_pb2.Status.FromString(
        dict(caught.value.trailing_metadata())["grpc-status-details-bin"]
    )
    assert {detail.type_url.rpartition(".")[2] for detail in status.details} >= {"RetryInfo"}
    # What a worker knows too, it answers itself meanwhile.
    assert worker.unary_unary(STATE)(b"", timeout=20) == b"here"


def test_every_method_is_passed_on_as_one_message_or_answered_by_a_stream() -> None:
    """Other methods that stream need a way of their own."""
    known = set()
    files = [module for name, module in vars(rpc_server).items() if name.endswith("_pb2")]
    for file in files:
        for service in file.DESCRIPTOR.services_by_name.values():
            if not service.full_name.startswith("vecdb."):
                continue
            for method in service.methods:
                path = f"/{service.full_name}/{method.name}"
                known.add(path)
                assert method.server_streaming or not method.client_streaming, path
    assert known > READS | STATES


class Streams(grpc.GenericRpcHandler):
    """Answers every method of a server as a stream of requests and replies."""

    def __init__(self, answer):
        self.answer = answer

    def service(self, details):
        return grpc.stream_stream_rpc_method_handler(self.answer, bytes, bytes)


@pytest.fixture
def streams(tmp_path: Path) -> Iterator[tuple[Streams, grpc.Server, grpc.Channel, CallInterceptor]]:
    """A writer that streams, and a connection to a worker before it."""
    back = Streams(lambda bodies, context: (body[::-1] for body in bodies))
    writer = grpc.server(ThreadPoolExecutor(4), (back,))
    address = f"unix:{tmp_path}/w.sock"
    writer.add_insecure_port(address)
    writer.start()
    forwarder = Forwarder(address)
    calls = CallInterceptor(Metrics(), open_guard(), 2, 1, forwarder=forwarder)
    here = Streams(lambda bodies, context: iter([b"here"]))
    front = grpc.server(ThreadPoolExecutor(4), (here,), interceptors=[calls])
    port = front.add_insecure_port("127.0.0.1:0")
    front.start()
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield back, writer, channel, calls
    front.stop(0).wait()
    forwarder.close()
    writer.stop(0).wait()


STREAM = "/vecdb.v1.Points/WriteStream"
Code = grpc.StatusCode


def test_streams_go_through_one_by_one(streams) -> None:
    _, _, channel, _ = streams
    step = threading.Semaphore(1)

    def sent():
        for n in range(5):
            assert step.acquire(timeout=20)
            yield f"{n}abc".encode()

    for n, reply in enumerate(channel.stream_stream(STREAM)(sent(), timeout=20)):
        assert reply == f"cba{n}".encode()
        step.release()
    assert n == 4


def test_a_stream_ends_as_the_writer_ended_it(streams) -> None:
    back, writer, channel, _ = streams
    ended = threading.Event()

    def refuse(bodies, context):
        yield b"first"
        context.set_trailing_metadata((("vecdb-request-id", "7"),))
        context.abort(grpc.StatusCode.NOT_FOUND, "no such thing")

    def endless(bodies, context):
        context.add_callback(ended.set)
        yield b"first"
        ended.wait(20)

    def begun(answer):
        back.answer = answer
        found = []

        def begin():
            call = channel.stream_stream(STREAM)(iter([b"x"]), timeout=20)
            try:
                assert next(call) == b"first"
            except grpc.RpcError as error:
                # There may be one: the worker may not have heard yet that the last was given up.
                if error.code() is Code.RESOURCE_EXHAUSTED:
                    return False
                raise
            found.append(call)
            return True

        wait_until(begin)
        return found[0]

    with pytest.raises(grpc.RpcError) as caught:
        next(begun(refuse))
    assert (caught.value.code(), caught.value.details()) == (Code.NOT_FOUND, "no such thing")

    begun(endless).cancel()
    assert ended.wait(20)  # the writer hears of a caller that went

    ended.clear()
    call = begun(endless)
    writer.stop(0)
    with pytest.raises(grpc.RpcError) as caught:
        next(call)
    assert caught.value.code() is Code.UNAVAILABLE
    assert "writer is being started again" in caught.value.details()


def test_a_worker_that_stops_ends_its_streams(streams) -> None:
    back, _, channel, calls = streams
    ended = threading.Event()

    def endless(bodies, context):
        context.add_callback(ended.set)
        yield b"first"
        ended.wait(20)

    back.answer = endless
    call = channel.stream_stream(STREAM)(iter([b"x"]), timeout=20)
    assert next(call) == b"first"
    calls.drain()
    with pytest.raises(grpc.RpcError) as caught:
        next(call)
    assert caught.value.code() is Code.UNAVAILABLE
    assert ended.wait(20)
