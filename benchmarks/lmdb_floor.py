"""The floor under a durable write: LMDB alone, one process, the server's own records and options.

Answers what the disk and LMDB would allow if nothing but the storing were done. Encoding the
records is not timed, and what else the server writes in a commit (counters, the change, the
request) is left out.
"""

from __future__ import annotations

import time
from pathlib import Path
from types import TracebackType
from typing import Self

import lmdb

from points import Points
from vecdb.storage import codec
from vecdb_client.payloads import payload_bytes

MAP_BYTES = 16 << 30

Record = tuple[bytes, bytes]


class Floor:
    """An LMDB environment with the two databases that points go to, opened as the server does.

    Sync on, writemap off, one transaction a batch: `putmulti` of the points (append, their keys
    ascend) and of the ids (in any order), then a commit, which is one fsync.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self._env = lmdb.open(
            str(folder), map_size=MAP_BYTES, max_dbs=2, readahead=False, max_spare_txns=64
        )
        self._points = self._env.open_db(b"points")
        self._ids = self._env.open_db(b"ids")
        self._next_slot = 0
        self._seq = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._env.close()

    def batches(self, points: Points, size: int) -> list[tuple[list[Record], list[Record]]]:
        """Return points as sealed records of both databases, `size` of them to a batch."""
        made: list[tuple[list[Record], list[Record]]] = []
        for start in range(0, len(points), size):
            self._seq += 1
            records: list[Record] = []
            ids: list[Record] = []
            for row in range(start, min(start + size, len(points))):
                name = points.ids[row].encode()
                payload = payload_bytes(points.payloads[row])
                vector = memoryview(points.vectors[row].astype("<f4", copy=False).tobytes())
                slot, cells = self._next_slot, [(0, vector, b"")]
                records.append(codec.encode_point(slot, name, payload, self._seq, cells))
                ids.append((name, codec.seal(b"ids", name, codec.u64(slot))))
                self._next_slot += 1
            made.append((records, ids))
        return made

    def put(self, batch: tuple[list[Record], list[Record]]) -> float:
        """Return the seconds that one durable transaction took."""
        records, ids = batch
        started = time.perf_counter()
        with self._env.begin(write=True) as txn:
            with txn.cursor(db=self._points) as cursor:
                cursor.putmulti(records, append=True)
            with txn.cursor(db=self._ids) as cursor:
                cursor.putmulti(ids)
        return time.perf_counter() - started


def record_bytes(batches: list[tuple[list[Record], list[Record]]]) -> int:
    """Return the bytes of all point records, keys included."""
    return sum(len(key) + len(value) for records, _ in batches for key, value in records)


def stored_bytes(store: Path) -> tuple[int, int]:
    """Return how many point records a server's store holds, and their bytes, keys included.

    The server may be running: it is read in a transaction of our own.
    """
    env = lmdb.open(str(store), readonly=True, max_dbs=6, map_size=MAP_BYTES, readahead=False)
    try:
        database = env.open_db(b"points", create=False)
        with env.begin(buffers=True) as txn, txn.cursor(db=database) as cursor:
            sizes = [len(key) + len(value) for key, value in cursor]
    finally:
        env.close()
    return len(sizes), sum(sizes)
