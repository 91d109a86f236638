"""Points with odd payloads and few vectors, in segments and a tail, and how they are asked for."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from tests.examples import examples
from vecdb.collection.asked import AnyQuery, Asked
from vecdb.collection.collection import Collection
from vecdb.config import LimitsConfig, StorageConfig
from vecdb.database import Database
from vecdb.outcomes import QueryResult
from vecdb.rpc.pb.search_pb2 import Hit, QueryResponse
from vecdb.types import (
    Delete,
    Equals,
    Exists,
    Filter,
    Metric,
    Op,
    Put,
    Query,
    Range,
    Schema,
    Space,
    TextField,
    Wanted,
)
from vecdb.write.prepare import prepare

MIB = 1 << 20
POINTS = 80
METRICS = {
    "": Metric.COSINE,
    "far": Metric.EUCLID,
    "dot": Metric.DOT,
    "blocks": Metric.MANHATTAN,
}
DIM = 3
SCHEMA = Schema(
    tuple(Space(name, DIM, metric) for name, metric in METRICS.items()),
    text_fields=(TextField("title"),),
)
YEARS = [1990, 2001.5, [1950, 2010], "1990", None, True, 10**400, {"x": 1}]
TIMES = ["2024-02-29T12:00:00Z", "2024-03-01", ["2020-01-01", "2024-02-29"], "soon", 5]
PLACES = [
    {"lat": 52.5, "lon": 13.4},
    {"type": "Point", "coordinates": [2.35, 48.86]},
    [{"lat": 0, "lon": 0}, {"lat": 52, "lon": 13}],
    {"lat": 91, "lon": 0},
    "Berlin",
]


def points() -> list[Op]:
    """Return points of which some lack a vector or a field; slots are by number."""
    rng = np.random.default_rng(7)
    ops: list[Op] = []
    for n in range(POINTS):
        payload: dict[str, Any] = {"n": n, "title": "red ship" if n % 3 else "blue ship"}
        if n % 4:
            payload["year"] = YEARS[n % len(YEARS)]
            payload["at"] = {"time": TIMES[n % len(TIMES)], "place": PLACES[n % len(PLACES)]}
        vectors = {
            name: rng.normal(size=DIM).astype("<f4").tobytes()
            for at, name in enumerate(METRICS)
            if n % 5 != at
        }
        if n % 17 == 1:  # a twin, and a point without a direction
            vectors["far"] = vectors["dot"] = bytes(4 * DIM)
        ops.append(Put(f"p{n}", json.dumps(payload).encode(), vectors))
    return ops


STORED = {op.id: op for op in points() if isinstance(op, Put) and int(op.id[1:]) % 13}
PAYLOADS = {name: json.loads(op.payload) for name, op in STORED.items()}


@contextmanager
def ranked_points(folder: Path) -> Iterator[Database]:
    """Open a database whose collection c holds them, but for some that were deleted."""
    config = StorageConfig(map_bytes=MIB, tail_points=16, segment_points=1024)
    made = Database(folder, config, LimitsConfig())
    made._closing.set()
    made.create("c", SCHEMA)
    with made.collection("c") as collection:
        ops = points()
        for first in range(0, POINTS, 20):
            collection.write(prepare(ops[first : first + 20], SCHEMA, LimitsConfig())).result()
            while first < 60 and collection.maintain(None):
                pass
        gone: list[Op] = [Delete(op.id) for op in ops if op.id not in STORED]
        collection.write(prepare(gone, SCHEMA, LimitsConfig())).result()
        assert collection.stats().segments
        assert collection.stats().tail_points
    yield made
    made.close()


def ask(collection: Collection, query: AnyQuery | Asked) -> tuple[list[Hit], QueryResult]:
    with collection.snapshot() as snapshot:
        result = snapshot.query(query, Wanted(), MIB)
    return list(QueryResponse.FromString(result.hits).hits), result


def near(*values: float, k: int = 10, space: str = "", **more: Any) -> Query:
    return Query(np.array(values, np.float32), k, space, **more)


def vector_of(name: str, space: str) -> np.ndarray | None:
    cell = STORED[name].vectors.get(space)
    return None if cell is None else np.frombuffer(cell, "<f4").astype(np.float64)


def score(metric: Metric, one: np.ndarray, other: np.ndarray) -> float:
    if metric is Metric.EUCLID:
        return -float(np.linalg.norm(one - other))
    if metric is Metric.MANHATTAN:
        return -float(np.abs(one - other).sum())
    product = float(one @ other)
    if metric is Metric.COSINE:
        return product / float(np.linalg.norm(one) * np.linalg.norm(other))
    return product


quick = settings(
    max_examples=examples(100),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
SPACES = st.sampled_from(sorted(METRICS))
VECTORS = st.tuples(*[st.sampled_from([-1.0, 0.5, 1.0, 2.0])] * DIM)
CHOSEN: st.SearchStrategy[Filter | None] = st.sampled_from(
    [None, None, Range("n", gte=40), Exists("year"), Equals("n", -1)]
)
