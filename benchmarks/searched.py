"""A server that is searched: its points, and the requests that h2load sends it."""

from __future__ import annotations

import numpy as np

from live import Live
from points import DIM, Points
from report import Report
from vecdb_client import Filter
from vecdb_client.searches import search_request

K = 10
BODIES = 4
"""Requests that h2load sends, each as often."""
STREAMS = 16
"""Requests in flight: enough that neither server waits for the load."""


def tell(report: Report, points: Points, rounds: int) -> None:
    """Say what is searched, and how."""
    report.fact("data_set", points.name)
    report.fact("n", len(points))
    report.fact("dim", DIM)
    report.fact("k", K)
    report.fact("rounds", rounds)
    report.fact("clients", f"h2load, {STREAMS} requests in flight, {BODIES} bodies in turn")
    report.fact("index", "one segment, HNSW with the server's defaults")


def fill(live: Live, points: Points) -> None:
    """Store the points in the collection "c", and wait until they are one segment with a graph."""
    with live.client(600) as client:
        collection = client.create_collection("c", dim=DIM)
        collection.upsert(ids=points.ids, vectors=points.vectors, payloads=points.payloads)
        collection.compact(timeout_s=600)


def request(query: np.ndarray, ef: int, chosen: Filter | None = None) -> bytes:
    """Return a search of that collection, as it is sent. chosen: of those that pass alone."""
    message = search_request("c", query, k=K, ef=ef, filter=chosen)
    encoded: bytes = message.SerializeToString()
    return encoded
