"""Collections to back up, and looking at what was kept of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from tests.live import LiveServer
from vecdb.backup.files import FolderFiles
from vecdb.backup.repository import Repository
from vecdb_client import Client, Collection

DIM = 8
POINTS = 300
VECTORS = np.random.default_rng(7).normal(size=(POINTS, DIM)).astype(np.float32)
SMALL = {"storage__tail_points": 64, "storage__graph_points": 64}
"""Settings with which so few points have a segment with a graph."""


def fill(client: Client, name: str = "books", points: int = POINTS) -> Collection:
    """Make a collection with a segment, a tail, and points that were deleted."""
    made = client.create_collection(name, dim=DIM, metric="dot", metadata={"of": name})
    made.upsert(
        {"id": f"p{n}", "vector": row, "payload": {"n": n}}
        for n, row in enumerate(VECTORS[:points])
    )
    if points >= POINTS:
        made.compact()
        made.delete(["p0", "p1"])
        made.upsert([{"id": "late", "vector": VECTORS[0], "payload": {"n": -1}}])
    return made


def contents(points: Collection) -> dict[str, tuple[int, Any, list[float]]]:
    """Return all that a reader sees of points: version, payload, vector."""
    return {
        one.id: (one.version, one.payload, list(one.vector or ()))
        for one in points.list(with_vectors=True)
    }


def nearest(points: Collection, n: int) -> list[tuple[str, float]]:
    """Return what a search for one of the vectors finds."""
    return [(hit.id, hit.score) for hit in points.search(VECTORS[n], k=5)]


def listed(folder: Path) -> list[str]:
    """Return the backups of a folder."""
    return Repository(FolderFiles(folder)).ids()


def objects(folder: Path) -> dict[str, int]:
    """Return the objects of a folder, with their sizes."""
    return Repository(FolderFiles(folder)).held()


def manifest(folder: Path) -> dict[str, Any]:
    """Return the newest backup's manifest, as JSON."""
    found: dict[str, Any] = json.loads(Repository(FolderFiles(folder)).encoded())
    return found


def staged(server: LiveServer) -> list[Path]:
    """Return what stands in a server's staging folder."""
    folder = server.data / "staging"
    return sorted(folder.iterdir()) if folder.exists() else []
