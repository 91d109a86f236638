"""The data of a node as metrics: sums, and the largest collections one by one.

How many have series of their own is bounded: names come from clients, who may make thousands. The
rest is summed up under one label that no collection can have as its name.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from prometheus_client.core import GaugeMetricFamily, Metric

from vecdb.metrics import one_family
from vecdb.node_status import CollectionStatus

OTHERS = "(others)"
"""The label of what is summed up: no name, since those have no parentheses."""

SUMS = {
    "vecdb_collections": "Collections in the catalog.",
    "vecdb_collections_open": "Collections kept open.",
    "vecdb_collections_quarantined": "Collections that cannot be opened.",
    "vecdb_points": "Points of the open collections.",
    "vecdb_tail_points": "Points of the open collections that are in no segment yet.",
    "vecdb_segments": "Segments of the open collections.",
    "vecdb_segment_bytes": "Bytes of the open collections' segments.",
    "vecdb_segments_quarantined": "Segments whose files are not used.",
    "vecdb_builds": "Segments being built.",
    "vecdb_built_segments_total": "Segments built.",
    "vecdb_built_rows_total": "Rows of the segments that were built.",
    "vecdb_build_seconds_total": "Seconds that builds took.",
    "vecdb_build_failures_total": "Builds and checks that failed, to be tried again.",
    "vecdb_store_bytes": "Bytes in use of the open collections' stores.",
    "vecdb_store_map_bytes": "Address space of the open collections' stores.",
    "vecdb_writes_waiting": "Writes that wait for the writer.",
    "vecdb_commits_total": "Transactions committed.",
    "vecdb_commit_seconds_total": "Seconds that those took, the disk's part included.",
}

WORST = {
    "vecdb_store_map_used_ratio": "Share of its map in use, of the store where it is largest.",
    "vecdb_store_readers_ratio": "Share of its slots for readers taken, likewise.",
    "vecdb_store_reader_lag_txns": "Transactions by which the oldest read under way is behind: "
    "what they freed cannot be used again.",
}

DISK = {
    "vecdb_disk_free_bytes": "Bytes free for the data on its file system.",
    "vecdb_disk_bytes": "Bytes of that file system.",
}

BY_COLLECTION = {
    "vecdb_collection_points": "Points, by collection: the largest, the others as one.",
    "vecdb_collection_tail_points": "Points in no segment yet, by collection.",
    "vecdb_collection_segments": "Segments, by collection.",
    "vecdb_collection_segments_quarantined": "Segments not used, by collection.",
    "vecdb_collection_store_bytes": "Bytes of the store in use, by collection.",
    "vecdb_collection_segment_bytes": "Bytes of segments, by collection.",
}

Read = Callable[[], tuple[Sequence[CollectionStatus], Mapping[str, float]]]


class DataMetric:
    """A collector. Threads may share it."""

    def __init__(self, read: Read, directory: Path, collections: int) -> None:
        """Take what reads the sizes now, with sums by name; and how many are told one by one."""
        self._read = read
        self._directory = directory
        self._collections = collections

    def describe(self) -> Iterable[Metric]:
        """Return the names, so that registering does not read."""
        texts = SUMS | WORST | DISK
        return [*map(one_family, texts, texts.values()), *_by_collection().values()]

    def collect(self) -> Iterable[Metric]:
        """Return the values now."""
        sizes, sums = self._read()
        opened = [one for one in sizes if one.state != "quarantined"]
        disk = os.statvfs(self._directory)
        values = {
            **sums,
            "vecdb_store_map_used_ratio": _largest(
                one.store_bytes / one.map_bytes for one in opened
            ),
            "vecdb_store_readers_ratio": _largest(one.readers / one.readers_max for one in opened),
            "vecdb_store_reader_lag_txns": _largest(one.reader_lag_txns for one in opened),
            "vecdb_disk_free_bytes": disk.f_bavail * disk.f_frsize,
            "vecdb_disk_bytes": disk.f_blocks * disk.f_frsize,
        }
        for name, text in (SUMS | WORST | DISK).items():
            yield one_family(name, text, values[name])
        yield from self._each(opened)

    def _each(self, opened: list[CollectionStatus]) -> Iterable[Metric]:
        families = _by_collection()
        ranked = sorted(opened, key=lambda one: (-one.points, one.name))
        told, others = ranked[: self._collections], ranked[self._collections :]
        for name, family in families.items():
            key = name.removeprefix("vecdb_collection_")
            for one in told:
                family.add_metric([one.name], getattr(one, key))
            if others:
                family.add_metric([OTHERS], sum(getattr(one, key) for one in others))
        return families.values()


def _by_collection() -> dict[str, GaugeMetricFamily]:
    return {
        name: GaugeMetricFamily(name, text, labels=["collection"])
        for name, text in BY_COLLECTION.items()
    }


def _largest(values: Iterable[float]) -> float:
    return max(values, default=0.0)
