"""Writes a golden data directory of the present format: `python tests/golden/make.py OUT.tar.xz`.

Made once per format version and kept for ever: test_golden.py opens each of them. What it holds is
described by `points` and `ENDED` below, which must not change either.
"""

from __future__ import annotations

import sys
import tarfile
import tempfile
from pathlib import Path

import numpy as np

from vecdb.config import LimitsConfig, StorageConfig
from vecdb.database import Database
from vecdb.multi import MultiSpace, MultiVector
from vecdb.types import (
    Delete,
    Metric,
    ModelBinding,
    Op,
    Put,
    Schema,
    Space,
    SparseSpace,
    SparseVector,
    TextField,
)
from vecdb.write.prepare import prepare

LIMITS = LimitsConfig()
STORAGE = StorageConfig(map_bytes=1 << 20, tail_points=16)
SCHEMA = Schema(
    (
        Space("", 4, Metric.COSINE),
        Space("second", 2, Metric.EUCLID, ModelBinding("some-model", "ab" * 32)),
    ),
    (SparseSpace("words"),),
    (TextField("nested.a", "english", b=0.5), TextField("tag")),
    multi_spaces=(MultiSpace("tokens", 3, Metric.COSINE),),
)
EMPTIED = Schema((Space("", 4, Metric.COSINE),))
ENDED = ("p3", "p40")
EXPIRES_AT_MS = 3_000_000_000_000
METADATA = '{ "made": 1.0, "über": "Text" }'.encode()


def vector(number: int, dim: int) -> bytes:
    """Return the vector of a point, the same on every machine."""
    return np.array([(number * 7 + i * 3) % 11 - 4.5 for i in range(dim)], "<f4").tobytes()


def points(generation: int) -> list[Put]:
    """Return the points: 50 in segments and tail, ids of several scripts, a text, a gap."""
    made = [
        Put(
            f"p{n}",
            b'{"n":%d,"tag":"t%d","generation":%d}' % (n, n % 3, generation),
            {"": vector(n + generation, 4)},
        )
        for n in range(generation, 48, generation + 1)
    ]
    made.append(Put("ключ-🙂", b"", {"second": vector(9, 2)}, {"second": "деревья и леса"}))
    sparse = SparseVector(np.array([7, 3], np.uint32), np.array([0.5, -2], np.float32))
    made.append(Put("sparse", b'{"nested":{"a":["trees and woods","\xe6\xa3\xae"]}}', {}))
    made[-1].sparse["words"] = sparse
    made.append(Put("several", b"", {}))
    made[-1].multi["tokens"] = MultiVector(vector(1, 3) + vector(2, 3), 3)
    made.append(Put("empty", b'{"nested":{"a":[1,2.5,"x",true,null]}}', {}))
    made[-1].expires_at_ms = EXPIRES_AT_MS
    return made


def write_into(data: Path) -> None:
    """Fill a new data directory: three collections, one of them empty, one that was truncated."""
    database = Database(data, STORAGE, LIMITS)
    database.create("golden", SCHEMA, metadata=METADATA)
    database.create("empty", Schema((Space("", 3, Metric.DOT),)))
    database.create("emptied", EMPTIED, ttl_ms=EXPIRES_AT_MS)
    database.set_aliases([("live", "golden")])
    batches: list[list[Op]] = [
        list(points(0)),
        list(points(1)),
        [Delete(name) for name in ENDED],
    ]
    with database.collection("golden") as collection:
        for number, ops in enumerate(batches):
            command = prepare(
                ops, SCHEMA, LIMITS, idempotency_key=f"key-{number}", request_digest=b"d" * 32
            )
            collection.write(command).result()
            while collection.maintain(None):
                pass
    for name in ("before", "after"):
        ops = [Put(name, b"", {"": vector(1, 4)})]
        with database.collection("emptied") as collection:
            command = prepare(ops, EMPTIED, LIMITS, idempotency_key=name, request_digest=b"d" * 32)
            collection.write(command).result()
        if name == "before":
            database.truncate("emptied")
    database.close()


def main() -> None:
    """Make the archive."""
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        write_into(data)
        with tarfile.open(sys.argv[1], "w:xz") as archive:
            archive.add(data, "data", filter=_anonymous)


def _anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    member.mtime = 0
    return None if member.name.endswith(("LOCK", "lock.mdb")) else member


if __name__ == "__main__":
    main()
