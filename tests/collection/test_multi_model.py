"""Random writes of several vectors a point, held against a dict and numpy."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.examples import examples
from tests.rpc.test_multi import maxsim
from vecdb.config import LimitsConfig, StorageConfig
from vecdb.database import Database
from vecdb.multi import MultiQuery, MultiSpace, MultiVector
from vecdb.rpc.pb.search_pb2 import QueryResponse
from vecdb.types import Delete, Metric, Op, Patch, PayloadEdits, Put, Schema, Wanted
from vecdb.write.prepare import prepare

LIMITS, MIB = LimitsConfig(), 1 << 20
DIMS = {"cosine": 3, "dot": 2}
SCHEMA = Schema(
    multi_spaces=(
        MultiSpace("cosine", DIMS["cosine"], Metric.COSINE),
        MultiSpace("dot", DIMS["dot"], Metric.DOT),
    )
)
Model = dict[str, dict[str, np.ndarray]]

ids = st.sampled_from("abcdef")
# Whole numbers, none of them 0: scores are exact, and ties are ties on both sides.
vectors = st.fixed_dictionaries(
    {},
    optional={
        name: st.lists(st.sampled_from([-2.0, -1.0, 1.0, 3.0]), min_size=dim, max_size=dim).flatmap(
            lambda row: st.integers(1, 4).map(lambda n, row=row: np.array([row] * n) * [[n]])
        )
        for name, dim in DIMS.items()
    },
)
ops = st.lists(
    st.one_of(
        st.tuples(st.just("put"), ids, vectors),
        st.tuples(st.just("patch"), ids, vectors),
        st.tuples(st.just("unset"), ids, st.sampled_from(sorted(DIMS)).map(lambda n: {n: None})),
        st.tuples(st.just("delete"), ids, st.just({})),
    ),
    min_size=1,
    max_size=12,
)
numbers = count()


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    folder: Path = tmp_path_factory.mktemp("model")
    made = Database(folder / "data", StorageConfig(map_bytes=MIB, tail_points=16), LIMITS)
    yield made
    made.close()


def operation(kind: str, name: str, given: dict[str, np.ndarray]) -> Op:
    if kind == "delete":
        return Delete(name)
    if kind == "unset":
        return Patch(name, PayloadEdits(), unset_vectors=tuple(given))
    multi = {s: MultiVector(v.astype("<f4").tobytes(), DIMS[s]) for s, v in given.items()}
    if kind == "put":
        return Put(name, b"", {}, multi=multi)
    return Patch(name, PayloadEdits(set=b'{"n": 1}'), multi=multi)


def apply(model: Model, kind: str, name: str, given: dict[str, np.ndarray]) -> None:
    if kind == "put":
        model[name] = dict(given)
    elif kind == "delete":
        model.pop(name, None)
    elif name in model:
        for space, value in given.items():
            if value is None:
                model[name].pop(space, None)
            else:
                model[name][space] = value


@settings(max_examples=examples(30), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(ops)
def test_what_is_found_is_what_numpy_finds(database: Database, written) -> None:
    name = f"c{next(numbers)}"
    database.create(name, SCHEMA)
    model: Model = {}
    with database.collection(name) as collection:
        for kind, id, given in written:
            command = prepare([operation(kind, id, given)], SCHEMA, LIMITS)
            collection.write(command).result()
            apply(model, kind, id, given)
        while collection.maintain(None):
            pass
        for space, dim in DIMS.items():
            query = np.arange(1, 2 * dim + 1, dtype=np.float32).reshape(2, dim) - 2
            query[:, 0] = 1
            wanted = {
                id: maxsim(query, held[space], space) for id, held in model.items() if space in held
            }
            for exact in (False, True):
                with collection.snapshot() as snapshot:
                    asked = MultiQuery(query, 10, space, exact=exact)
                    result = snapshot.query(asked, Wanted(vectors=True), MIB)
                hits = QueryResponse.FromString(result.hits).hits
                assert {hit.id: hit.score for hit in hits} == pytest.approx(
                    wanted, rel=1e-5, abs=1e-6
                )
                assert [h.score for h in hits] == sorted([h.score for h in hits], reverse=True)
                for hit in hits:
                    held = np.frombuffer(hit.vectors[space].multi.f32, "<f4").reshape(-1, dim)
                    np.testing.assert_array_equal(held, model[hit.id][space])
    database.drop(name)
