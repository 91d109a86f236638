"""Prints which instructions the kernel chose, and what a small node finds: the same anywhere.

    python tests/kernel/baseline.py

Stores points, has hnswlib make a graph of them, and searches it, all in this process.
"""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
from pathlib import Path

import numpy as np

from vecdb import kernel
from vecdb.config import LimitsConfig, StorageConfig
from vecdb.database import Database
from vecdb.types import Metric, Put, Query, Schema, Space, Wanted
from vecdb.write.prepare import prepare

POINTS, DIM, QUERIES, K = 400, 40, 5, 10
STORAGE = StorageConfig(tail_points=64, graph_points=128, build_threads=1)
SCHEMA = Schema((Space("", DIM, Metric.COSINE),))


def main() -> None:
    """Print one line of JSON."""
    vectors = np.random.default_rng(3).normal(size=(POINTS, DIM)).astype("<f4")
    found = hashlib.sha256()
    with tempfile.TemporaryDirectory() as folder:
        database = Database(Path(folder) / "data", STORAGE, LimitsConfig())
        database.create("all", SCHEMA)
        with database.collection("all") as collection:
            puts = [Put(f"p{n}", b"{}", {"": vectors[n].tobytes()}) for n in range(POINTS)]
            collection.write(prepare(puts, SCHEMA, LimitsConfig())).result()
            while collection.maintain(None):
                pass
            graphs = sum(bool(segment.graph) for segment in collection.stats().segments)
            with collection.snapshot() as snapshot:
                for query in vectors[:QUERIES]:
                    # Walked with an ef that finds all: how a graph was made may vary.
                    near = Query(query + np.float32(0.01), K, ef=POINTS)
                    found.update(snapshot.query(near, Wanted(), 1 << 20).hits)
        database.close()
    said = {"loops": kernel.instruction_set(), "graphs": graphs, "found": found.hexdigest()}
    sys.stdout.write(json.dumps(said) + "\n")


if __name__ == "__main__":
    main()
