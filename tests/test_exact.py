"""Real embeddings: what the server finds are the exact neighbours, by score."""

from __future__ import annotations

import json
import zlib
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import MakeServer
from tests.live import wait_until
from vecdb_client import F

pytestmark = pytest.mark.takes_turns

QUERIES = 200
K = 10


def unit(path: Path) -> np.ndarray:
    """Return the rows of a float16 file as float32 of unit length."""
    rows = np.load(path).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def payloads(path: Path, n: int) -> list[dict]:
    content = zlib.decompress(path.read_bytes(), wbits=31).decode()
    return [json.loads(line) for line in islice(content.splitlines(), n)]


def test_100_000_points_equal_their_exact_neighbours(
    make_server: MakeServer, shared_data: Path
) -> None:
    folder = shared_data / "pypi-minilm-100k"
    base, queries = unit(folder / "base.npy"), unit(folder / "queries.npy")[:QUERIES]
    neighbors = np.load(folder / "neighbors.npy")[:QUERIES, :K]
    texts = payloads(folder / "texts.jsonl.gz", len(base))
    server = make_server()
    with server.client(timeout_s=120) as client:
        collection = client.create_collection("pypi", dim=base.shape[1])
        report = collection.upsert(
            ids=[str(i) for i in range(len(base))], vectors=base, payloads=texts
        )
        assert report.written == len(base)
        assert collection.count() == len(base)

        def check() -> None:
            for query, near in zip(queries, neighbors, strict=True):
                expected = np.sort(base[near].astype(np.float64) @ query)[::-1]
                result = collection.search(query, k=K, exact=True)
                assert result.complete
                found = [float(base[int(hit.id)].astype(np.float64) @ query) for hit in result]
                # Texts repeat, so that ids of equal score may differ: scores may not.
                np.testing.assert_allclose(found, expected, atol=2e-6)
                np.testing.assert_allclose([hit.score for hit in result], expected, atol=2e-6)
                assert all(hit.payload == texts[int(hit.id)] for hit in result)

        check()  # while segments are built and merged
        wait_until(lambda: collection.stats().tail_points < 2048)
        check()
        months = [text["month"] for text in texts]
        chosen = np.array([month == "2026-02" for month in months])
        for query in queries[:20]:
            scores = np.sort(base[chosen].astype(np.float64) @ query)[::-1][:K]
            result = collection.search(query, k=K, filter=F("month") == "2026-02")
            assert result.matched == chosen.sum()
            np.testing.assert_allclose([hit.score for hit in result], scores, atol=2e-6)
