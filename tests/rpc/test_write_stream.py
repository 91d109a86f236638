"""WriteStream: answers in order, errors that end nothing, windows, and how streams end."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator

import grpc
import pytest

from tests.conftest import MakeServer
from tests.live import LiveServer, wait_until
from tests.rpc.nodes import calls, metrics
from vecdb.rpc.pb import common_pb2, points_pb2_grpc
from vecdb.rpc.pb import points_pb2 as pb
from vecdb_client import Client, Collection

NAME = "streamed"
both = pytest.mark.parametrize(
    "server", [1, 2], ids=["one-process", "workers"], indirect=True, scope="module"
)


class Stream:
    """A stream whose requests are sent one by one; answers wait in a queue, the end as an error."""

    def __init__(self, address: str, timeout: float | None = 60) -> None:
        self.channel = grpc.insecure_channel(
            address, options=[("grpc.use_local_subchannel_pool", 1)]
        )
        self._sent: queue.SimpleQueue[pb.WriteStreamRequest | None] = queue.SimpleQueue()
        stub = points_pb2_grpc.PointsStub(self.channel)
        self.call = stub.WriteStream(iter(self._sent.get, None), timeout=timeout)
        self.answers: queue.SimpleQueue = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._read)
        self._thread.start()
        self.first = None

    def _read(self) -> None:
        try:
            for answer in self.call:
                self.answers.put(answer)
            self.answers.put(None)
        except grpc.RpcError as error:
            self.answers.put(error)

    def send(self, number: int, *ops: pb.WriteOp, **options: object) -> None:
        options = {"collection": NAME, **options}
        write = pb.WriteRequest(ops=ops, **options)
        self._sent.put(pb.WriteStreamRequest(number=number, write=write))

    def take(self) -> pb.WriteStreamResponse:
        answer = self.answers.get(timeout=30)
        if isinstance(answer, grpc.RpcError):
            raise answer
        return answer

    def done_sending(self) -> None:
        self._sent.put(None)

    def close(self) -> None:
        self.call.cancel()
        self._sent.put(None)
        self._thread.join(30)
        self.channel.close()
        assert not self._thread.is_alive()


@pytest.fixture
def books(client: Client) -> Iterator[Collection]:
    yield client.create_collection(NAME, dim=2, metric="dot")
    client.delete_collection(NAME)


@pytest.fixture
def stream(server: LiveServer) -> Iterator[Stream]:
    made = Stream(server.address)
    yield made
    made.close()


def put(name: str, *, n: int = 0, version: int | None = None) -> pb.WriteOp:
    point = common_pb2.Point(id=name, payload=b'{"n": %d}' % n)
    return pb.WriteOp(put=point, if_version=version)


def messages(server: LiveServer) -> tuple[float, float]:
    """Return how many messages streams of writes have brought, and were answered."""
    of = 'grpc_method="WriteStream",grpc_service="vecdb.v1.Points",grpc_type="bidi_stream"'
    now = metrics(server)
    names = [f"grpc_server_msg_{one}_total{{{of}}}" for one in ("received", "sent")]
    return now.get(names[0], 0), now.get(names[1], 0)


@both
def test_writes_are_applied_and_answered_in_order(
    server: LiveServer, stream: Stream, books: Collection
) -> None:
    first = stream.take()
    received, sent = messages(server)
    assert (first.number, first.window, first.HasField("write")) == (0, 4, False)
    for number in range(1, 51):  # more than the window: those past it wait in gRPC
        stream.send(number, put("same", n=number), put(f"own{number}"))
    seqs = []
    for number in range(1, 51):
        answer = stream.take()
        assert (answer.number, answer.HasField("error")) == (number, False)
        assert [result.found for result in answer.write.results] == [number > 1, False]
        assert 1 <= answer.window <= 4
        seqs.append(answer.write.commit_seq)
    assert seqs == sorted(set(seqs))
    assert books.get("same").points[0].payload == {"n": 50}
    assert books.count() == 51
    stream.done_sending()
    assert stream.take() is None
    wait_until(lambda: messages(server) == (received + 50, sent + 50))


@both
def test_what_fails_is_answered_and_ends_nothing(stream: Stream, books: Collection) -> None:
    stream.take()
    stream.send(7, put("a", version=0), put("", n=1))
    stream.send(7, put("b"), put("a", version=0), atomic=True)
    stream.send(9, put("b"), collection="nowhere")
    stream.send(10)
    stream.send(11, put("c"), idempotency_key="k")
    stream.send(12, put("c"), idempotency_key="k")
    stream.send(13, put("d"), idempotency_key="k")
    answers = [stream.take() for _ in range(7)]
    assert [answer.number for answer in answers] == [7, 7, 9, 10, 11, 12, 13]
    assert [result.code for result in answers[0].write.results] == [0, 3]
    codes = [answer.error.code for answer in answers]
    assert codes == [0, 10, 5, 3, 0, 0, 3]
    assert answers[1].error.message.startswith("operation 1: point 'a' is there")
    assert {detail.type_url.rpartition(".")[2] for detail in answers[1].error.details} == {
        "ErrorInfo",
        "BadRequest",
    }
    assert [answers[4].write.replayed, answers[5].write.replayed] == [False, True]
    assert sorted(point.id for point in books.list()) == ["a", "c"]


def ended(server: LiveServer) -> float:
    """Count the streams whose caller went: the server may hear first that no more is sent."""
    return calls(server, "WriteStream", "CANCELLED") + calls(server, "WriteStream")


@both
@pytest.mark.usefixtures("books")
def test_streams_end_with_their_callers(server: LiveServer) -> None:
    before = ended(server)
    for _ in range(3):
        one = Stream(server.address)
        one.take()
        one.send(1, put("a"))
        assert one.take().write.results[0].code == 0
        one.close()
    late = Stream(server.address, timeout=0.5)
    late.take()
    with pytest.raises(grpc.RpcError) as caught:
        late.take()
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    late.close()
    wait_until(lambda: ended(server) >= before + 3)


def test_streams_have_a_limit(make_server: MakeServer) -> None:
    server = make_server(limits__streams=2)
    open_ones = [Stream(server.address) for _ in range(2)]
    assert [one.take().window for one in open_ones] == [4, 4]
    third = Stream(server.address)
    with pytest.raises(grpc.RpcError, match=r"limits\.streams") as caught:
        third.take()
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    for one in (*open_ones, third):
        one.close()
    wait_until(lambda: ended(server) == 2)
    again = Stream(server.address)
    assert again.take().window == 4
    again.close()


@pytest.mark.parametrize("workers", [1, 2])
def test_a_server_that_stops_ends_its_streams(make_server: MakeServer, workers: int) -> None:
    server = make_server(server__workers=workers)
    with server.client() as client:
        client.create_collection(NAME, dim=2)
    one = Stream(server.address)
    one.take()
    one.send(1, put("a"))
    assert one.take().write.commit_seq == 1
    assert server.stop() == 0
    with pytest.raises(grpc.RpcError) as caught:
        one.take()
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    one.close()


def test_a_full_queue_makes_a_stream_wait(make_server: MakeServer) -> None:
    """Of many streams and a queue of two all writes are done, and none is refused."""
    server = make_server(limits__queued_writes=2)
    with server.client() as client:
        books = client.create_collection(NAME, dim=2)
        streams = [Stream(server.address) for _ in range(6)]
        windows = set()
        for one in streams:
            assert one.take().number == 0
        for number in range(1, 11):
            for at, one in enumerate(streams):
                one.send(number, put(f"{at}-{number}"))
        for number in range(1, 11):
            for one in streams:
                answer = one.take()
                assert (answer.number, answer.error.code) == (number, 0), answer
                windows.add(answer.window)
        for one in streams:
            one.close()
        assert min(windows) < 4
        assert books.count() == 60
