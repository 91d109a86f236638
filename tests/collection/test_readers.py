"""Other processes: what is committed here is seen there, at the next read."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from vecdb.config import LimitsConfig, StorageConfig
from vecdb.database import Database
from vecdb.errors import FailedPrecondition, NotFound, ReadOnly
from vecdb.types import Delete, Metric, Op, Put, Schema, Space
from vecdb.write.prepare import prepare

DIM = 8
LIMITS = LimitsConfig()
STORAGE = StorageConfig(tail_points=64, segment_points=1024, changes_retained=64)
SCHEMA = Schema((Space("", DIM, Metric.EUCLID),))

READER = """
import sys
from pathlib import Path
import numpy as np
from vecdb.config import LimitsConfig, StorageConfig
from vecdb.database import Database
from vecdb.rpc.pb.search_pb2 import QueryResponse
from vecdb.types import Query, Wanted

database = Database(Path(sys.argv[1]), StorageConfig(), LimitsConfig(), read_only=True)
for line in sys.stdin:
    words = line.split()
    with database.collection("c") as collection, collection.snapshot() as snapshot:
        if words[0] == "count":
            print(snapshot.seq, snapshot.count(None), flush=True)
        else:
            query = np.full(8, float(words[1]), np.float32)
            result = snapshot.query(Query(query, 3), Wanted(), 1 << 20)
            hits = QueryResponse.FromString(result.hits).hits
            print(snapshot.seq, *(hit.id for hit in hits), flush=True)
"""


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    made = Database(tmp_path / "data", STORAGE, LIMITS)
    yield made
    made.close()


def write(database: Database, ops: list[Op]) -> int:
    with database.collection("c") as collection:
        return collection.write(prepare(ops, SCHEMA, LIMITS)).result().commit_seq


def put(number: int) -> Put:
    return Put(f"p{number}", b"", {"": np.full(DIM, number, "<f4").tobytes()})


class Reader:
    def __init__(self, path: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", READER, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, question: str) -> list[str]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(question + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().split()

    def end(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        assert self.process.wait(30) == 0
        self.process.stdout.close()


def test_second_process_sees_a_committed_write_at_its_next_read(
    database: Database, tmp_path: Path
) -> None:
    database.create("c", SCHEMA)
    seq = write(database, [put(n) for n in range(20)])
    reader = Reader(tmp_path / "data")
    assert reader.ask("count") == [str(seq), "20"]
    for number in range(20, 120):  # each single write, through flushes and merges
        seq = write(database, [put(number), Delete(f"p{number - 20}")])
        assert reader.ask(f"near {number}")[:2] == [str(seq), f"p{number}"]
    assert reader.ask("count") == [str(seq), "20"]
    # More writes than changes are kept: the reader loads afresh.
    for number in range(200, 200 + 2 * STORAGE.changes_retained):
        seq = write(database, [put(number)])
    assert reader.ask("near 300")[:2] == [str(seq), "p300"]
    reader.end()


def test_map_growth_is_seen_by_the_second_process(tmp_path: Path) -> None:
    storage = StorageConfig(map_bytes=1 << 20, tail_points=64)
    database = Database(tmp_path / "data", storage, LIMITS)
    database.create("c", SCHEMA)
    write(database, [put(0)])
    reader = Reader(tmp_path / "data")
    assert reader.ask("count")[1] == "1"
    payload = b'{"x": "' + b"y" * 4000 + b'"}'
    for start in range(1, 2000, 100):
        ops: list[Op] = [
            Put(f"p{n}", payload, {"": np.full(DIM, n, "<f4").tobytes()})
            for n in range(start, start + 100)
        ]
        write(database, ops)
    assert reader.ask("count")[1] == "2001"
    with database.collection("c") as collection:
        assert collection.stats().map_bytes > 1 << 20
    reader.end()
    database.close()


def test_one_writer_and_read_only_readers(database: Database, tmp_path: Path) -> None:
    with pytest.raises(FailedPrecondition, match="another process writes"):
        Database(tmp_path / "data", STORAGE, LIMITS)
    database.create("c", SCHEMA)
    script = f"""
from pathlib import Path
from vecdb.config import LimitsConfig, StorageConfig
from vecdb.database import Database
from vecdb.errors import ReadOnly
from vecdb.types import Metric, Schema, Space
database = Database(Path({str(tmp_path / "data")!r}), StorageConfig(), LimitsConfig(),
                    read_only=True)
try:
    database.create("d", Schema((Space("", 3, Metric.DOT),)))
except ReadOnly:
    print("refused")
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "refused"
    with pytest.raises(NotFound):
        Database(tmp_path / "nothing", STORAGE, LIMITS, read_only=True)
    assert issubclass(ReadOnly, FailedPrecondition)
