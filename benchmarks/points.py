"""The points that benchmarks write and search: real ones where the data set is there, else made up.

Real: pypi-minilm-100k, embeddings of package summaries with their texts. Made up: unit vectors
around random centres, with texts of random words; figures over them say nothing about quality.
Both are the same in every run.
"""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from machine import REPOSITORY

DATA_SET = "pypi-minilm-100k"
FOLDER = REPOSITORY.parent / "shared" / "data" / DATA_SET
DIM = 384
CENTRES = 64
WORDS = (
    "a server that stores vectors and answers questions about text files in python with fast "
    "simple tools for data models web api client library wrapper async command line parser image"
).split()

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Points:
    """n points and some queries. vectors (n, dim), queries (q, dim): float32, unit length."""

    name: str
    ids: list[str]
    vectors: F32
    payloads: list[dict[str, Any]]
    texts: list[str]
    queries: F32
    query_texts: list[str]

    def __len__(self) -> int:
        return len(self.ids)

    def first(self, n: int) -> Points:
        """Return the first n points, with all queries."""
        return self.cut(0, n)

    def cut(self, start: int, end: int) -> Points:
        """Return the points from start to end, with all queries."""
        at = slice(start, end)
        return replace(
            self,
            ids=self.ids[at],
            vectors=self.vectors[at],
            payloads=self.payloads[at],
            texts=self.texts[at],
        )


def load(n: int, queries: int, *, smoke: bool) -> Points:
    """Return n points. `percent` of each payload is 0 to 99, evenly: filters select by it."""
    if not smoke and (FOLDER / "base.npy").is_file():
        return _real(n, queries)
    return made_up(n, queries)


def reference_neighbors(points: Points) -> NDArray[np.int32] | None:
    """Return the data set's own exact top 100 of each query, or None unless these are all of it."""
    path = FOLDER / "neighbors.npy"
    if points.name != DATA_SET or not path.is_file():
        return None
    rows = np.load(FOLDER / "base.npy", mmap_mode="r").shape[0]
    return np.load(path) if len(points) == rows else None


def true_scores(points: Points, queries: int) -> F64:
    """Return the exact cosine of each of the first queries and each point, (queries, n) float64."""
    found = np.empty((queries, len(points)))
    wanted = points.queries[:queries].astype(np.float64).T
    for start in range(0, len(points), 8_192):
        block = points.vectors[start : start + 8_192].astype(np.float64)
        found[:, start : start + len(block)] = (block @ wanted).T
    return found


def unit(vectors: NDArray[Any]) -> F32:
    """Return the vectors as float32 of unit length."""
    wide = vectors.astype(np.float32)
    wide /= np.linalg.norm(wide, axis=1, keepdims=True)
    return wide


def _real(n: int, queries: int) -> Points:
    base = np.load(FOLDER / "base.npy", mmap_mode="r")
    asked = np.load(FOLDER / "queries.npy", mmap_mode="r")
    total = len(base)
    with gzip.open(FOLDER / "texts.jsonl.gz", "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in islice(file, total + queries)]
    kept = rows[: min(n, total)]
    percents = _percents(len(kept))
    return Points(
        name=DATA_SET,
        ids=[row["name"] for row in kept],
        vectors=unit(base[: len(kept)]),
        payloads=[{**row, "percent": p} for row, p in zip(kept, percents, strict=True)],
        texts=[row["summary"] for row in kept],
        queries=unit(asked[:queries]),
        query_texts=[row["summary"] for row in rows[total:]],
    )


def made_up(n: int, queries: int, dim: int = DIM) -> Points:
    """Return unit vectors around random centres, with payloads and texts of random words."""
    random = np.random.default_rng(7)
    centres = random.standard_normal((CENTRES, dim), np.float32)
    vectors = random.standard_normal((n + queries, dim), np.float32)
    vectors *= 0.6
    vectors += centres[random.integers(0, CENTRES, n + queries)]
    vectors = unit(vectors)
    texts = [" ".join(random.choice(WORDS, 12)) for _ in range(n + queries)]
    months = [f"20{year:02}-{month:02}" for year in range(10, 26) for month in range(1, 13)]
    payloads: list[dict[str, Any]] = [
        {"name": f"package-{i:07}", "month": months[i % len(months)], "rank": None, "percent": p}
        | {"summary": texts[i]}
        for i, p in enumerate(_percents(n))
    ]
    return Points(
        name="made-up clusters",
        ids=[payload["name"] for payload in payloads],
        vectors=vectors[:n],
        payloads=payloads,
        texts=texts[:n],
        queries=vectors[n:],
        query_texts=texts[n:],
    )


def _percents(n: int) -> list[int]:
    return np.random.default_rng(100).integers(0, 100, n).tolist()
