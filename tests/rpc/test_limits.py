"""Each limit of the configuration through a real server: at the limit, and one past it."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest

from tests.live import START_S, LiveServer, run_vecdb
from vecdb.config import settings
from vecdb.rpc.pb import models_pb2, models_pb2_grpc, points_pb2, points_pb2_grpc
from vecdb.rpc.pb.common_pb2 import Point
from vecdb_client import (
    NO_RETRIES,
    Client,
    F,
    Keyword,
    Mask,
    MultiDenseSpace,
    Space,
    SparseSpace,
    TextField,
    VecdbError,
)
from vecdb_client.status import error_of

DIM = 4
LIMITS: dict[str, int] = {
    "message_bytes": 64 << 10,
    "batch_items": 8,
    "page_items": 8,
    "payload_bytes": 200,
    "text_bytes": 60,
    "embed_texts": 3,
    "k": 20,
    "legs": 3,
    "ef": 32,
    "dim": 384,
    "spaces": 3,
    "sparse_values": 4,
    "multi_vectors": 3,
    "text_fields": 2,
    "query_words": 5,
    "collections": 6,
    "aliases": 2,
    "metadata_bytes": 60,
    "filter_nodes": 6,
    "filter_depth": 4,
    "streams": 2,
    "aggregations": 2,
    "facet_values": 3,
    "queries": 4,
    "groups": 10,
    "mask_paths": 3,
}
ELSEWHERE = {
    "keys": "tests/auth/test_keys.py",
    "queued_writes": "tests/storage/test_writer.py",
    "query_calls": "tests/rpc/test_shares.py",
    "write_calls": "tests/rpc/test_shares.py",
    "embed_calls": "tests/rpc/test_shares.py",
    "admin_calls": "tests/rpc/test_shares.py",
    "memory_bytes": "tests/rpc/test_watermarks.py",
    "memory_reserve_bytes": "tests/rpc/test_watermarks.py",
    "image_bytes": "tests/rpc/test_images.py",  # where a model takes images
}

_names = (f"made-{n}" for n in itertools.count())


class Node:
    """A client that does not try again, and stubs for what it would cut into parts."""

    def __init__(self, address: str, client: Client, channel: grpc.Channel) -> None:
        self.address = address
        self.client = client
        self.things = client.collection("things")
        self.channel = channel
        self.points = points_pb2_grpc.PointsStub(channel)
        self.models = models_pb2_grpc.ModelsStub(channel)


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    pytest.importorskip("onnxruntime", reason="needs the embed extra")
    chosen = {f"limits.{name}": value for name, value in LIMITS.items()}
    live = LiveServer(tmp_path_factory.mktemp("limits") / "data", dict(chosen)).start()
    with (
        live.client(retries=NO_RETRIES) as client,
        grpc.insecure_channel(live.address, options=[("grpc.max_send_message_length", -1)]) as raw,
    ):
        client.wait_ready(START_S, service="vecdb.v1.Models")
        client.create_collection(
            "things",
            spaces={"": Space(DIM), "terms": SparseSpace(), "tokens": MultiDenseSpace(2)},
            text_fields=[TextField("title")],
        )
        client.create_collection("texts", model="all-minilm-l6-v2")
        things = client.collection("things")
        things.upsert([{"id": "a", "vector": [1] * DIM, "payload": {"title": "one"}}])
        yield Node(live.address, client, raw)
    assert live.stop() == 0


def message_bytes(node: Node, size: int) -> None:
    sent = points_pb2.CountRequest(collection="things").SerializeToString()
    tag, left = b"\xa2\x06", size - len(sent) - 2  # a field 100 that nobody knows
    padding = b"x" * (left - 3)
    length = bytes([len(padding) & 127 | 128, len(padding) >> 7 & 127 | 128, len(padding) >> 14])
    sent += tag + length + padding
    assert len(sent) == size
    node.channel.unary_unary("/vecdb.v1.Points/Count")(sent, timeout=20)


def batch_items(node: Node, size: int) -> None:
    ops = [points_pb2.WriteOp(put=Point(id=f"{n}")) for n in range(size)]
    node.points.Write(points_pb2.WriteRequest(collection="things", ops=ops), timeout=20)


def page_items(node: Node, size: int) -> None:
    request = points_pb2.ListPointsRequest(collection="things", page_size=size)
    node.points.List(request, timeout=20)


def payload_bytes(node: Node, size: int) -> None:
    content = "x" * (size - len('{"x":""}'))
    put = Point(id="p", payload=b'{"x":"%s"}' % content.encode())
    request = points_pb2.WriteRequest(
        collection="things", ops=[points_pb2.WriteOp(put=put)], atomic=True
    )
    node.points.Write(request, timeout=20)


def text_bytes(node: Node, size: int) -> None:
    node.client.collection("texts").upsert([{"id": "t", "text": "x" * size}])


def embed_texts(node: Node, size: int) -> None:
    node.models.Embed(
        models_pb2.EmbedRequest(texts=["x"] * size, role=models_pb2.EMBED_ROLE_QUERY), timeout=20
    )


def k(node: Node, size: int) -> None:
    node.things.search([1] * DIM, k=size)
    if size > 2:
        node.things.search([1] * DIM, k=2, offset=size - 2)


def legs(node: Node, size: int) -> None:
    node.things.search(legs=[Keyword("one")] * size)


def ef(node: Node, size: int) -> None:
    node.things.search([1] * DIM, ef=size)


def _create(node: Node, **options: Any) -> None:
    name = next(_names)
    node.client.create_collection(name, **options)
    node.client.delete_collection(name)


def dim(node: Node, size: int) -> None:
    _create(node, dim=size)


def spaces(node: Node, size: int) -> None:
    _create(node, spaces={f"s{n}": Space(2) if n else SparseSpace() for n in range(size)})


def sparse_values(node: Node, size: int) -> None:
    node.things.upsert([{"id": "s", "vectors": {"terms": dict.fromkeys(range(size), 1.0)}}])
    node.things.search(sparse=dict.fromkeys(range(size), 1.0), space="terms")


def multi_vectors(node: Node, size: int) -> None:
    node.things.upsert([{"id": "m", "vectors": {"tokens": [[1.0, 2.0]] * size}}])
    node.things.search([[1.0, 2.0]] * size, space="tokens")


def text_fields(node: Node, size: int) -> None:
    _create(node, dim=2, text_fields=[TextField(f"f{n}") for n in range(size)])


def query_words(node: Node, size: int) -> None:
    node.things.search(keyword=" ".join(f"w{n}" for n in range(size)))


def collections(node: Node, size: int) -> None:
    made = [f"c{n}" for n in range(size - len(node.client.list_collections()))]
    try:
        for name in made:
            node.client.create_collection(name, dim=2)
    finally:
        for name in made:
            node.client.delete_collection(name, if_exists=True)


def aliases(node: Node, size: int) -> None:
    made = [f"a{n}" for n in range(size)]
    node.client.set_aliases(dict.fromkeys(made, "things"))
    node.client.set_aliases(dict.fromkeys(made, None))


def metadata_bytes(node: Node, size: int) -> None:
    _create(node, dim=2, metadata={"x": "y" * (size - len('{"x":""}'))})


def filter_nodes(node: Node, size: int) -> None:
    node.things.count(F("n").isin(list(range(size - 1))))


def filter_depth(node: Node, size: int) -> None:
    chosen = F("n") == 1
    for _ in range(size - 1):
        chosen = ~chosen
    node.things.count(chosen)


def streams(node: Node, size: int) -> None:
    request = points_pb2.WatchRequest(collection="things")
    opened = []
    try:
        for _ in range(size):
            opened.append(node.points.Watch(request, timeout=20))
            next(opened[-1])
    finally:
        for stream in opened:
            stream.cancel()


def aggregations(node: Node, size: int) -> None:
    node.things.aggregate(numbers=[f"n{n}" for n in range(size)])


def facet_values(node: Node, size: int) -> None:
    node.things.aggregate(facets={"title": size})


def queries(node: Node, size: int) -> None:
    node.things.search_batch([{"query": [1] * DIM}] * size)


def groups(node: Node, size: int) -> None:
    node.things.search([1] * DIM, k=size, group="title")
    if size > 2:
        node.things.search([1] * DIM, k=2, offset=size - 2, group="title")


def mask_paths(node: Node, size: int) -> None:
    node.things.get("a", with_payload=Mask([f"n{n}" for n in range(size - 1)], "title"))


CALLS: dict[str, Callable[[Node, int], None]] = {name: globals()[name] for name in LIMITS}


def test_every_limit_is_here() -> None:
    known = {key.partition(".")[2] for key in settings() if key.startswith("limits.")}
    assert known == LIMITS.keys() | ELSEWHERE.keys()


def test_a_node_tells_them(node: Node) -> None:
    told = node.client.limits()
    assert {name: told[name].value for name in LIMITS} == LIMITS
    assert {f"limits.{name}" for name in told} == {
        name for name in settings() if name.startswith("limits.")
    }
    for name, one in told.items():
        item = settings()[f"limits.{name}"]
        assert (one.meaning, one.least, one.most) == tuple(
            item.metadata[key] for key in ("doc", "low", "high")
        )
    words = ("limits", "--address", node.address)
    shown = json.loads(run_vecdb(*words, "--json").stdout)
    assert shown["batch_items"]["value"] == LIMITS["batch_items"]
    table = run_vecdb(*words).stdout
    assert "batch_items" in table
    assert f"{LIMITS['message_bytes']:,}" in table


@pytest.mark.parametrize("name", LIMITS)
def test_at_the_limit_and_past_it(node: Node, name: str) -> None:
    _call(node, name, LIMITS[name])
    with pytest.raises(VecdbError) as caught:
        _call(node, name, LIMITS[name] + 1)
    error = caught.value
    assert error.code in ("INVALID_ARGUMENT", "RESOURCE_EXHAUSTED")
    if name != "message_bytes":  # which gRPC refuses by itself
        assert f"limits.{name}" in str(error)
        assert str(LIMITS[name]) in str(error)


def _call(node: Node, name: str, size: int) -> None:
    try:
        CALLS[name](node, size)
    except grpc.RpcError as error:
        raise error_of(error, name) from None
