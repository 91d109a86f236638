"""The engines that are held side by side: ours, and peers from the package index.

Each builds an index into a folder on two threads and opens it again, to search on one. Inner
product over vectors of unit length, HNSW with m 16 and ef_construction 200 or what comes nearest.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from live import serve
from points import F32, Points
from vecdb import kernel
from vecdb.config import LimitsConfig, StorageConfig
from vecdb.database import Database
from vecdb.types import Query, Wanted

K = 10
M = 16
EF_CONSTRUCTION = 200
THREADS = 2
COLLECTION = "peers"
EVERYTHING = 1 << 26

Rows = Sequence[int] | NDArray[Any]
Search = Callable[[F32, int], Rows]
"""Rows near to a query, found with some effort: how many candidates are kept in sight."""


class Engine(Protocol):
    """An index in a folder."""

    module: str

    def build(self, folder: Path, points: Points) -> None:
        """Make the index of some points, durable or at least written, in an empty folder."""

    def open(self, folder: Path) -> Search:
        """Return the search of the index in a folder, as a new process would have it."""


class Ours:
    """A vecdb server that indexes in the background; searched in this process."""

    module = "vecdb"

    def build(self, folder: Path, points: Points) -> None:
        """Write through a server, and wait until all is one segment with a refined graph."""
        with serve(folder) as live, live.client(1_800) as client:
            collection = client.create_collection(COLLECTION, dim=points.vectors.shape[1])
            collection.upsert(ids=points.ids, vectors=points.vectors, payloads=points.payloads)
            collection.compact(timeout_s=1_800)
        np.save(folder / "numbers.npy", _numbers(folder, points))

    def open(self, folder: Path) -> Search:
        """Search with the kernel in the segment's own arrays, mapped, as a query of it does."""
        collection = open_ours(folder)
        with collection.snapshot() as snapshot:
            (part,) = [one.part for one in snapshot._candidates(None) if one.part.rows]
        number_of = np.load(folder / "numbers.npy")[part.slots]
        arrays = part._spaces[""]
        mapped = (*arrays.graph, arrays.codes, arrays.bounds, arrays.vectors)

        def search(query: F32, ef: int) -> Rows:
            rows: Rows = number_of[kernel.search(kernel.DOT, *mapped, query, K, ef, None)[0]]
            return rows

        return search


def _numbers(folder: Path, points: Points) -> NDArray[np.uint32]:
    """Return the number of each slot's point: batches in flight together may change places."""
    database = Database(folder / "data", StorageConfig(), LimitsConfig(), read_only=True)
    try:
        with database.collection(COLLECTION) as collection, collection.snapshot() as snapshot:
            slot_of = {name.decode(): slot for name, slot in snapshot._txn.ids(b"")}
    finally:
        database.close()
    numbers = np.empty(len(slot_of), np.uint32)
    numbers[[slot_of[name] for name in points.ids]] = np.arange(len(points))
    return numbers


@cache
def open_ours(folder: Path) -> Any:  # noqa: ANN401
    """Return the collection that Ours built, open until this process ends."""
    database = Database(folder / "data", StorageConfig(), LimitsConfig(), read_only=True)
    return database.collection(COLLECTION).__enter__()


def query_ours(collection: Any, query: F32, ef: int, chosen: Any) -> list[bytes]:  # noqa: ANN401
    """Return the hits of a whole query: filter, search, records."""
    with collection.snapshot() as snapshot:
        result = snapshot.query(Query(query, K, "", chosen, ef), Wanted(), EVERYTHING)
    hits: list[bytes] = result.hits
    return hits


class Hnswlib:
    """hnswlib, float32."""

    module = "hnswlib"

    def build(self, folder: Path, points: Points) -> None:
        """Build and save."""
        index = self._index(points.vectors.shape[1])
        index.init_index(len(points), M=M, ef_construction=EF_CONSTRUCTION, random_seed=1)
        index.set_num_threads(THREADS)
        index.add_items(points.vectors, np.arange(len(points)))
        index.save_index(str(folder / "index"))
        np.save(folder / "dim.npy", points.vectors.shape[1])

    def open(self, folder: Path) -> Search:
        """Load."""
        index = self._index(int(np.load(folder / "dim.npy")))
        index.load_index(str(folder / "index"))

        def search(query: F32, ef: int) -> Rows:
            index.set_ef(ef)
            rows: Rows = index.knn_query(query, K, num_threads=1)[0][0]
            return rows

        return search

    def _index(self, dim: int) -> Any:  # noqa: ANN401
        return importlib.import_module(self.module).Index("ip", dim)


class QdrantEdge:
    """Qdrant's engine in this process: float32, or int8 codes in memory and a re-rank."""

    module = "qdrant_edge"

    def __init__(self, *, int8: bool) -> None:
        self._int8 = int8

    def build(self, folder: Path, points: Points) -> None:
        """Write, then have its optimizer merge all into one indexed segment."""
        q = importlib.import_module(self.module)
        quantization = None
        if self._int8:
            quantization = q.ScalarQuantizationConfig(
                type=q.ScalarType.Int8, quantile=0.99, always_ram=True
            )
        config = q.EdgeConfig(
            vectors=q.EdgeVectorParams(size=points.vectors.shape[1], distance=q.Distance.Dot),
            hnsw_config=q.HnswIndexConfig(
                m=M,
                ef_construct=EF_CONSTRUCTION,
                full_scan_threshold=10,
                max_indexing_threads=THREADS,
            ),
            quantization_config=quantization,
            optimizers=q.EdgeOptimizersConfig(default_segment_number=1, indexing_threshold=10),
        )
        path = folder / "shard"
        path.mkdir()
        shard = q.EdgeShard.create(str(path), config)
        for start in range(0, len(points), 1_000):
            batch = [
                q.Point(start + at, vector)
                for at, vector in enumerate(points.vectors[start : start + 1_000].tolist())
            ]
            shard.update(q.UpdateOperation.upsert_points(batch))
        shard.optimize()
        shard.flush()
        shard.close()

    def open(self, folder: Path) -> Search:
        """Load."""
        q = importlib.import_module(self.module)
        shard = q.EdgeShard.load(str(folder / "shard"))
        quantization = q.QuantizationSearchParams(rescore=True) if self._int8 else None

        def search(query: F32, ef: int) -> Rows:
            request = q.QueryRequest(
                K,
                query=q.Query.Nearest(query.tolist()),
                params=q.SearchParams(hnsw_ef=ef, quantization=quantization),
            )
            return [point.id for point in shard.query(request)]

        return search


class ScalableVs:
    """Intel's Scalable Vector Search: Vamana of degree 32 over codes of 8 bits (LVQ8)."""

    module = "svs"

    def build(self, folder: Path, points: Points) -> None:
        """Build over the codes and save."""
        svs = importlib.import_module(self.module)
        svs.write_vecs(points.vectors, str(folder / "vectors.fvecs"))
        loader = svs.VectorDataLoader(str(folder / "vectors.fvecs"), svs.DataType.float32)
        parameters = svs.VamanaBuildParameters(
            alpha=0.95, graph_max_degree=2 * M, window_size=EF_CONSTRUCTION
        )
        index = svs.Vamana.build(
            parameters, svs.LVQLoader(loader, primary=8), svs.DistanceType.MIP, num_threads=THREADS
        )
        index.save(*(str(folder / name) for name in ("config", "graph", "codes")))

    def open(self, folder: Path) -> Search:
        """Load."""
        svs = importlib.import_module(self.module)
        index = svs.Vamana(
            str(folder / "config"),
            svs.GraphLoader(str(folder / "graph")),
            svs.LVQLoader(str(folder / "codes")),
            svs.DistanceType.MIP,
            num_threads=1,
        )

        def search(query: F32, ef: int) -> Rows:
            index.search_window_size = ef
            rows: Rows = index.search(query, K)[0][0]
            return rows

        return search


class Usearch:
    """usearch, values of 16 bits."""

    module = "usearch.index"

    def build(self, folder: Path, points: Points) -> None:
        """Build and save."""
        usearch = importlib.import_module(self.module)
        index = usearch.Index(
            ndim=points.vectors.shape[1],
            metric="ip",
            dtype="bf16",
            connectivity=M,
            expansion_add=EF_CONSTRUCTION,
        )
        index.add(np.arange(len(points)), points.vectors, threads=THREADS)
        index.save(str(folder / "index"))

    def open(self, folder: Path) -> Search:
        """Load."""
        index = importlib.import_module(self.module).Index.restore(str(folder / "index"))

        def search(query: F32, ef: int) -> Rows:
            index.expansion_search = ef
            rows: Rows = index.search(query, K, threads=1).keys
            return rows

        return search


class Faiss:
    """faiss, HNSW over codes of 8 bits."""

    module = "faiss"

    def build(self, folder: Path, points: Points) -> None:
        """Train, build and save."""
        faiss = importlib.import_module(self.module)
        faiss.omp_set_num_threads(THREADS)
        index = faiss.IndexHNSWSQ(
            points.vectors.shape[1],
            faiss.ScalarQuantizer.QT_8bit,
            M,
            faiss.METRIC_INNER_PRODUCT,
        )
        index.hnsw.efConstruction = EF_CONSTRUCTION
        index.train(points.vectors)
        index.add(points.vectors)
        faiss.write_index(index, str(folder / "index"))

    def open(self, folder: Path) -> Search:
        """Load."""
        faiss = importlib.import_module(self.module)
        faiss.omp_set_num_threads(1)
        index = faiss.read_index(str(folder / "index"))

        def search(query: F32, ef: int) -> Rows:
            index.hnsw.efSearch = ef
            rows: Rows = index.search(query[None], K)[1][0]
            return rows

        return search


ENGINES: dict[str, Engine] = {
    "vecdb": Ours(),
    "hnswlib": Hnswlib(),
    "qdrant_edge_int8": QdrantEdge(int8=True),
    "qdrant_edge": QdrantEdge(int8=False),
    "svs_lvq8": ScalableVs(),
    "usearch": Usearch(),
    "faiss_sq8": Faiss(),
}


def is_installed(engine: Engine) -> bool:
    """Return whether an engine's package can be imported."""
    try:
        importlib.import_module(engine.module)
    except ImportError:
        return False
    return True
