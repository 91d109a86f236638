"""A small gRPC server in this process: the protocol's servicers over a dict, with faults on order.

It does what the client's contracts need (results per item, idempotency keys, pages), no more; the
end-to-end tests run against the real server.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import grpc
import pytest
from grpc_health.v1 import health, health_pb2_grpc

from clients.python.tests.blocking import BlockingClient
from vecdb_client import Client, Retries
from vecdb_client.pb import (
    collections_pb2,
    collections_pb2_grpc,
    common_pb2,
    models_pb2,
    models_pb2_grpc,
    points_pb2,
    points_pb2_grpc,
    search_pb2,
    search_pb2_grpc,
)

DIM = 3


@dataclass
class Fault:
    """What happens to the next call in place of its answer, before or after it is applied."""

    code: grpc.StatusCode
    text: str = "on order"
    after: bool = False
    details: bytes | None = None


@dataclass
class Server:
    """The servicers' shared state, and what the tests look at."""

    points: dict[str, common_pb2.Point] = field(default_factory=dict)
    collections: dict[str, collections_pb2.Collection] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=dict)
    faults: list[Fault | None] = field(default_factory=list)
    writes: list[points_pb2.WriteRequest] = field(default_factory=list)
    write_bytes: list[int] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    queries: list[search_pb2.QueryRequest] = field(default_factory=list)
    hit_legs: list[search_pb2.LegHit] = field(default_factory=list)
    embeds: list[int] = field(default_factory=list)
    applied: int = 0
    damaged: list[str] = field(default_factory=list)
    replies: dict[str, points_pb2.WriteResponse] = field(default_factory=dict)
    aggregates: list[points_pb2.AggregateRequest] = field(default_factory=list)
    lists: list[points_pb2.ListPointsRequest] = field(default_factory=list)
    exports: list[points_pb2.ExportRequest] = field(default_factory=list)
    ids_max: int = 10_000
    batch_items: int = 10_000
    during_write: Callable[[points_pb2.WriteRequest], None] | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)
    address: str = ""
    health: health.HealthServicer = field(default_factory=health.HealthServicer)

    def fault(self, context, name, after=False):
        with self.lock:
            if not after:
                self.calls.append(name)
                if self.faults and self.faults[0] is None:
                    self.faults.pop(0)
                    return
            if not self.faults or self.faults[0] is None or self.faults[0].after is not after:
                return
            fault = self.faults.pop(0)
        if fault.details is not None:
            context.set_trailing_metadata((("grpc-status-details-bin", fault.details),))
        context.abort(fault.code, fault.text)

    def limit(self, context, got, limit):
        if got > limit:
            info = status("LIMIT_EXCEEDED", 3)
            context.set_trailing_metadata((("grpc-status-details-bin", info),))
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"{got} is more than {limit}")


def status(reason, code, *, retry_s=None, field_name=None):
    from vecdb_client.pb import errors_pb2

    def detail(name, message):
        return errors_pb2.Detail(
            type_url=f"type.googleapis.com/google.rpc.{name}", value=message.SerializeToString()
        )

    info = errors_pb2.ErrorInfo(reason=reason, domain="vecdb", metadata={"expected": "3"})
    details = [detail("ErrorInfo", info)]
    if retry_s is not None:
        duration = errors_pb2.RetryInfo.Duration(seconds=int(retry_s), nanos=int(retry_s % 1 * 1e9))
        details.append(detail("RetryInfo", errors_pb2.RetryInfo(retry_delay=duration)))
    if field_name is not None:
        violation = errors_pb2.BadRequest.FieldViolation(field=field_name, description="wrong")
        details.append(detail("BadRequest", errors_pb2.BadRequest(field_violations=[violation])))
    return errors_pb2.Status(code=code, message="m", details=details).SerializeToString()


class Points(points_pb2_grpc.PointsServicer):
    def __init__(self, server):
        self.server = server

    def Write(self, request, context):
        server = self.server
        server.fault(context, "Write")
        server.limit(context, len(request.ops), server.batch_items)
        if server.during_write:
            server.during_write(request)
        with server.lock:
            reply = server.replies.get(request.idempotency_key)
            if reply is None:
                server.writes.append(request)
                server.write_bytes.append(request.ByteSize())
                results = [self.apply(op) for op in request.ops]
                reply = points_pb2.WriteResponse(commit_seq=len(server.writes), results=results)
                server.replies[request.idempotency_key] = reply
            else:
                reply.replayed = True
        server.fault(context, "Write", after=True)
        return reply

    def apply(self, op):
        server = self.server
        server.applied += 1
        id = getattr(op, op.WhichOneof("op")).id
        there = server.points[id].version if id in server.points else 0
        if op.HasField("if_version") and op.if_version != there:
            return points_pb2.WriteResult(
                code=10, reason="VERSION_MISMATCH", message=f"version {there}", version=there
            )
        if op.WhichOneof("op") == "patch":
            if not there:
                return points_pb2.WriteResult(code=5, reason="POINT_NOT_FOUND", message="none")
            server.points[id].version = len(server.writes)
            return points_pb2.WriteResult(found=True, version=len(server.writes))
        if op.WhichOneof("op") == "delete":
            found = server.points.pop(op.delete.id, None) is not None
            return points_pb2.WriteResult(found=found)
        put = op.put
        result = points_pb2.WriteResult(version=len(server.writes))
        for space, vector in put.vectors.items():
            if vector.WhichOneof("kind") == "text":
                if len(vector.text) > 1_000_000 or "cut me" in vector.text:
                    result.truncated.append(space)
            elif not vector.HasField("sparse") and len(vector.f32) != 4 * DIM:
                got = len(vector.f32) // 4
                return points_pb2.WriteResult(
                    code=3, reason="DIMENSION_MISMATCH", message=f"expected {DIM}, got {got}"
                )
        if put.payload:
            json.loads(put.payload)
        result.found = put.id in server.points
        put.version = len(server.writes)
        server.points[put.id] = put
        return result

    def Get(self, request, context):
        server = self.server
        server.fault(context, "Get")
        server.limit(context, len(request.ids), server.ids_max)
        found = [id for id in request.ids if id in server.points]
        return points_pb2.GetPointsResponse(
            points=[server.points[id] for id in found if id not in server.damaged],
            missing=[id for id in request.ids if id not in server.points],
            damaged=[id for id in found if id in server.damaged],
            commit_seq=len(server.writes),
        )

    def Count(self, request, context):
        self.server.fault(context, "Count")
        return points_pb2.CountResponse(count=len(self.server.points))

    def Aggregate(self, request, context):
        server = self.server
        server.fault(context, "Aggregate")
        server.aggregates.append(request)
        reply = points_pb2.AggregateResponse(
            points=len(server.points), warnings=["w"], commit_seq=len(server.writes)
        )
        for asked in request.aggregations:
            result = reply.results.add()
            if asked.HasField("facets"):
                for value in ({"string": "a"}, {"int64": 7}, {"double": 0.5}, {"bool": True}):
                    result.facets.values.add(value=common_pb2.Value(**value), points=2)
                result.facets.other_values = 5
            elif asked.HasField("numbers") and asked.numbers.path != "none":
                value = common_pb2.Value(int64=3)
                result.numbers.CopyFrom(
                    points_pb2.NumberResult(
                        points=2, count=2, sum=common_pb2.Value(double=4.5), avg=2.25, min=value,
                        max=value,
                    )
                )  # fmt: skip
            elif asked.HasField("numbers"):
                result.numbers.sum.int64 = 0
            else:
                result.times.SetInParent()
        return reply

    def List(self, request, context):
        server = self.server
        server.fault(context, "List")
        server.lists.append(request)
        size = request.page_size or 100
        server.limit(context, size, server.ids_max)
        ids = sorted(id for id in server.points if id > request.page_token)
        page, more = ids[:size], ids[size:]
        return points_pb2.ListPointsResponse(
            points=[server.points[id] for id in page if id not in server.damaged],
            damaged=[id for id in page if id in server.damaged],
            next_page_token=page[-1] if more else "",
        )

    def Export(self, request, context):
        """Send pages of 100; a fault, or None for none, comes before each."""
        server = self.server
        server.exports.append(request)
        ids = sorted(id for id in server.points if id > request.page_token)
        for at in range(0, max(len(ids), 1), 100):
            server.fault(context, "Export")
            page, more = ids[at : at + 100], ids[at + 100 :]
            yield points_pb2.ExportResponse(
                points=[server.points[id] for id in page if id not in server.damaged],
                damaged=[id for id in page if id in server.damaged],
                next_page_token=page[-1] if more else "",
                commit_seq=len(server.writes),
            )
        server.fault(context, "Export", after=True)


class Collections(collections_pb2_grpc.CollectionsServicer):
    def __init__(self, server):
        self.server = server

    def Create(self, request, context):
        self.server.fault(context, "Create")
        name = request.collection.name
        created = name not in self.server.collections
        if not created and not request.if_not_exists:
            context.abort(grpc.StatusCode.ALREADY_EXISTS, f"{name} exists")
        self.server.collections[name] = request.collection
        self.server.fault(context, "Create", after=True)
        return collections_pb2.CreateCollectionResponse(
            collection=request.collection, created=created
        )

    def Get(self, request, context):
        name = self.server.aliases.get(request.name, request.name)
        if name not in self.server.collections:
            context.abort(grpc.StatusCode.NOT_FOUND, f"no collection {name}")
        return collections_pb2.GetCollectionResponse(collection=self.server.collections[name])

    def List(self, request, context):
        return collections_pb2.ListCollectionsResponse(
            collections=list(self.server.collections.values())
        )

    def Delete(self, request, context):
        self.server.fault(context, "Delete")
        deleted = self.server.collections.pop(request.name, None) is not None
        if not deleted and not request.if_exists:
            context.abort(grpc.StatusCode.NOT_FOUND, f"no collection {request.name}")
        return collections_pb2.DeleteCollectionResponse(deleted=deleted)

    def Update(self, request, context):
        self.server.fault(context, "Update")
        there = self.server.collections[self.server.aliases.get(request.name, request.name)]
        there.metadata = request.metadata
        return collections_pb2.UpdateCollectionResponse(collection=there)

    def Truncate(self, request, context):
        self.server.fault(context, "Truncate")
        return collections_pb2.TruncateCollectionResponse(points=9, commit_seq=5)

    def SetAliases(self, request, context):
        self.server.fault(context, "SetAliases")
        for action in request.actions:
            self.server.aliases.pop(action.delete.alias, None)
            if action.HasField("set"):
                self.server.aliases[action.set.alias] = action.set.collection
        return collections_pb2.SetAliasesResponse()

    def ListAliases(self, request, context):
        found = self.server.aliases.items()
        aliases = [collections_pb2.Alias(alias=alias, collection=name) for alias, name in found]
        return collections_pb2.ListAliasesResponse(aliases=aliases)

    def Stats(self, request, context):
        segment = collections_pb2.SegmentStats(number=1, first_slot=0, end_slot=9, rows=9)
        return collections_pb2.CollectionStatsResponse(points=9, applied_seq=4, segments=[segment])


class Search(search_pb2_grpc.SearchServicer):
    def __init__(self, server):
        self.server = server

    def Query(self, request, context):
        server = self.server
        server.fault(context, "Query")
        server.queries.append(request)
        hits = [
            search_pb2.Hit(
                id=point.id,
                score=1.0,
                distance=0.0,
                payload=b"" if request.without_payload else point.payload,
                version=1,
                vectors=point.vectors if request.with_vectors else None,
                legs=server.hit_legs,
            )
            for point in list(server.points.values())[: request.k]
        ]
        return search_pb2.QueryResponse(
            hits=hits,
            plan="exact",
            matched=len(server.points),
            next_page_token="next" if request.HasField("page_token") else "",
            commit_seq=1,
            complete=True,
            warnings=["w"],
            timings=search_pb2.Timings(total_us=7),
        )


class Models(models_pb2_grpc.ModelsServicer):
    def __init__(self, server):
        self.server = server

    def List(self, request, context):
        model = models_pb2.Model(name="mini", dim=3, metric=collections_pb2.METRIC_COSINE)
        return models_pb2.ListModelsResponse(models=[model])

    def Embed(self, request, context):
        self.server.fault(context, "Embed")
        self.server.embeds.append(len(request.texts))
        vector = common_pb2.Vector(f32=bytes(4 * DIM))
        return models_pb2.EmbedResponse(
            model="mini",
            fingerprint="f",
            embeddings=[
                models_pb2.Embedding(vector=vector, tokens=len(text)) for text in request.texts
            ],
        )


@pytest.fixture
def start() -> Iterator[Callable[..., Server]]:
    """Start a server; message_bytes is the most that it receives."""
    started = []

    def start(message_bytes: int = 64 << 20) -> Server:
        server = Server()
        rpc = grpc.server(
            ThreadPoolExecutor(8),
            options=[("grpc.max_receive_message_length", message_bytes), ("grpc.so_reuseport", 0)],
        )
        points_pb2_grpc.add_PointsServicer_to_server(Points(server), rpc)
        collections_pb2_grpc.add_CollectionsServicer_to_server(Collections(server), rpc)
        search_pb2_grpc.add_SearchServicer_to_server(Search(server), rpc)
        models_pb2_grpc.add_ModelsServicer_to_server(Models(server), rpc)
        health_pb2_grpc.add_HealthServicer_to_server(server.health, rpc)
        server.address = f"127.0.0.1:{rpc.add_insecure_port('127.0.0.1:0')}"
        rpc.start()
        started.append(rpc)
        return server

    yield start
    for rpc in started:
        rpc.stop(0).wait()


@pytest.fixture
def server(start) -> Server:
    return start()


@pytest.fixture
def make_fault():
    return Fault


@pytest.fixture
def make_status():
    return status


@pytest.fixture(params=["sync", "async"])
def connect(request) -> Iterator[Callable[..., Client]]:
    """Make a client: one that waits by threads, then one on an event loop, by the same calls."""
    if request.param == "sync":
        yield Client
        return
    made = []

    def connect(*arguments, **named):
        made.append(BlockingClient(*arguments, **named))
        return made[-1]

    yield connect
    for client in made:
        client.end()


@pytest.fixture
def db(server, connect) -> Iterator[Client]:
    with connect(server.address, timeout_s=10, retries=Retries(backoff_s=0.01)) as client:
        yield client


@pytest.fixture
def books(db):
    return db.collection("books")
