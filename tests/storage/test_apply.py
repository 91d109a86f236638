"""Commands: complete, deterministic, and the same bytes wherever they are applied."""

from __future__ import annotations

import hashlib
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from tests.examples import examples
from tests.stores import LIMITS, SCHEMA, contents, run, store_at
from vecdb.errors import AlreadyExists, Corrupt, FailedPrecondition, InvalidArgument, NotFound
from vecdb.outcomes import WriteOutcome
from vecdb.storage import codec
from vecdb.storage.catalog import Catalog
from vecdb.storage.catalog_command import (
    CloneCollection,
    CreateCollection,
    DropCollection,
    SetAliases,
    Truncate,
    UpdateCollection,
    decode_catalog_command,
)
from vecdb.storage.command import Puts, WriteCommand
from vecdb.storage.numbered import NumberedSchema
from vecdb.storage.sparse import decode_sparse
from vecdb.storage.store import UNKNOWN_SEQ, Store
from vecdb.storage.writer import Writer
from vecdb.types import (
    Delete,
    Op,
    Patch,
    PayloadEdits,
    Put,
    SparseVector,
)
from vecdb.write.apply import apply
from vecdb.write.prepare import prepare

IDS = st.sampled_from(["a", "b", "c", "ü", "🙂"])
CELLS = st.fixed_dictionaries(
    {},
    optional={
        "": st.sampled_from([b"\0\0\x80\x3f" * 3, b"\0\0\0\x40" * 3]),
        "b": st.sampled_from([b"\0" * 8, b"\0\0\x80\x3f" * 2]),
    },
)
SPARSE = st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=3, unique=True).map(
    lambda indices: SparseVector(np.array(indices, np.uint32), np.ones(len(indices), np.float32))
)
SPARSE_CELLS = st.fixed_dictionaries({}, optional={"s": SPARSE, "t": SPARSE})
EXPIRIES = st.sampled_from([None, None, 0, 1, 10, 20, 30])
VERSIONS = st.sampled_from([None, None, None, 0, 1, 2, 3])
EDITS = st.builds(
    PayloadEdits,
    set=st.sampled_from([b"", b'{"x": 2}', b'{"y.z": [true]}', b'{"x.deep": 1}']),
    unset=st.sampled_from([(), ("x",), ("y.z", "none")]),
    append=st.sampled_from([b"", b'{"y.z": [1, "a"]}', b'{"x": [1]}']),
    remove=st.sampled_from([b"", b'{"y.z": [1.0]}']),
)
PATCHES = st.builds(
    Patch,
    IDS,
    EDITS,
    CELLS,
    sparse=SPARSE_CELLS,
    unset_vectors=st.sampled_from([(), ("b",), ("s", "b")]),
    if_version=VERSIONS,
    expires_at_ms=EXPIRIES,
)
PUTS = st.builds(
    Put,
    IDS,
    st.sampled_from([b"", b'{"x": 1}']),
    CELLS,
    sparse=SPARSE_CELLS,
    if_version=VERSIONS,
    expires_at_ms=EXPIRIES,
)
OPS = st.lists(
    st.one_of(
        PUTS,
        PUTS,
        PATCHES,
        st.builds(Delete, IDS, VERSIONS),
        st.builds(Put, st.just(""), st.just(b""), CELLS),  # refused: no id
    ),
    min_size=1,
    max_size=12,
)


@given(writes=st.lists(st.tuples(OPS, st.integers(0, 35)), min_size=1, max_size=6))
@settings(max_examples=examples(40), deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_two_nodes_that_apply_the_same_log_hold_the_same_bytes(
    tmp_path_factory: pytest.TempPathFactory, writes: list[tuple[list[Op], int]]
) -> None:
    folder = tmp_path_factory.mktemp("nodes")
    first, second = store_at(folder / "first"), store_at(folder / "second")
    for ops, now_ms in writes:
        command = prepare(ops, SCHEMA, LIMITS, now_ms=now_ms)
        encoded = command.encode()
        replica = WriteCommand.decode(encoded)
        assert replica.encode() == encoded
        assert run(first, command) == run(second, replica)
    assert contents(first) == contents(second)
    first.close()
    second.close()


@given(writes=st.lists(OPS, min_size=1, max_size=8))
@settings(max_examples=examples(40), deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_results_say_what_happened(
    tmp_path_factory: pytest.TempPathFactory, writes: list[list[Op]]
) -> None:
    store = store_at(tmp_path_factory.mktemp("results") / "store")
    points: dict[str, int] = {}
    for ops in writes:
        outcome = run(store, prepare(ops, SCHEMA, LIMITS))
        for op, result in zip(ops, outcome.results, strict=True):
            if result.reason in ("INVALID_ARGUMENT", "PATH_CLASH"):
                assert op.id == "" or isinstance(op, Patch)
                continue
            actual = points.get(op.id, 0)
            assert result.found == (actual > 0)
            if op.if_version not in (None, actual):
                assert (result.reason, result.version) == ("VERSION_MISMATCH", actual)
            elif isinstance(op, Patch) and not actual:
                assert (result.reason, result.version) == ("POINT_NOT_FOUND", 0)
            elif isinstance(op, Delete):
                assert (result.reason, result.version) == ("", 0)
                points.pop(op.id, None)
            else:
                assert (result.reason, result.version) == ("", outcome.commit_seq)
                points[op.id] = outcome.commit_seq
        with store.read() as txn:
            assert txn.state.points == len(points)
            records = [record for record in txn.records(0, 1 << 62) if record[1].expires_at_ms]
            index = {(record.expires_at_ms, slot) for slot, record in records}
            assert set(txn.expiries.due(1 << 62)) == index
            held = txn.slots_of([name.encode() for name in points])
            assert len(held) == len(points)
            for name, slot in held.items():
                record = txn.record(slot)
                assert record is not None
                assert record.id == name.decode()
                assert record.version == points[record.id]
    store.close()


def test_sparse_vectors_are_stored_in_one_form(tmp_path: Path) -> None:
    store = store_at(tmp_path / "store")
    for at, indices in enumerate(([7, 3, 9], [9, 7, 3])):
        held = dict(zip((3, 7, 9), (0.5, -2, 0), strict=True))
        vector = SparseVector(
            np.array(indices, np.uint32), np.array([held[i] for i in indices], np.float32)
        )
        run(store, prepare([Put(f"p{at}", b"", {}, sparse={"t": vector})], SCHEMA, LIMITS))
    with store.read() as txn:
        for slot in (0, 1):
            record = txn.record(slot)
            assert record is not None
            cell = record.vector_bytes()[3]  # spaces are numbered, the dense ones first
            assert cell == np.array([3, 7], "<u4").tobytes() + np.array([0.5, -2], "<f4").tobytes()
            indices_read, values = decode_sparse(cell)
            assert (indices_read.tolist(), values.tolist()) == ([3, 7], [0.5, -2])
    with pytest.raises(Corrupt, match="12 bytes are no sparse vector"):
        decode_sparse(bytes(12))
    store.close()


def test_changes_and_requests_are_kept_for_the_horizon(tmp_path: Path) -> None:
    store = store_at(tmp_path / "store")
    for number in range(10):
        ops: list[Op] = [Put(f"p{number}", b"", {})]
        run(store, prepare(ops, SCHEMA, LIMITS, idempotency_key=f"k{number}"), keep=4)
    with store.read() as txn:
        assert txn.changes(10) == []
        assert [change.seq for change in txn.changes(6) or ()] == [7, 8, 9, 10]
        assert txn.changes(5) is None
        assert txn.request(b"k9") is not None
        assert txn.request(b"k5") is None
    store.close()


def test_idempotency_key_replays_and_refuses_other_operations(tmp_path: Path) -> None:
    store = store_at(tmp_path / "store")
    ops: list[Op] = [Put("a", b"", {}), Put("", b"", {}), Delete("a")]
    command = prepare(ops, SCHEMA, LIMITS, idempotency_key="k", request_digest=b"d" * 32)
    first = run(store, command)
    again = run(store, command)
    assert again.replayed
    assert again.results == first.results
    assert again.commit_seq == first.commit_seq == 1
    other = prepare(ops, SCHEMA, LIMITS, idempotency_key="k", request_digest=b"e" * 32)
    with pytest.raises(InvalidArgument, match="other operations"):
        run(store, other)
    store.close()


def test_of_an_id_that_comes_twice_in_a_batch_the_last_stands(tmp_path: Path) -> None:
    store = store_at(tmp_path / "store")
    ops: list[Op] = [Put("a", b'{"n": 1}', {}), Put("b", b"", {}), Put("a", b'{"n": 2}', {})]
    outcome = run(store, prepare(ops, SCHEMA, LIMITS))
    assert [result.found for result in outcome.results] == [False, False, True]
    with store.read() as txn:
        assert txn.state.points == 2
        record = txn.record(txn.slots_of([b"a"])[b"a"])
        assert record is not None
        assert record.payload == b'{"n": 2}'
    store.close()


def test_runs_keep_the_order_of_the_operations() -> None:
    ops: list[Op] = [Put("a", b"", {}), Delete("a"), Put("a", b"", {}), Put("b", b"", {})]
    command = prepare(ops, SCHEMA, LIMITS)
    assert [type(run).__name__ for run in command.runs] == ["Puts", "Deletes", "Puts"]
    assert [run.positions for run in command.runs] == [(0,), (1,), (2, 3)]


def test_columns_of_points_without_a_vector() -> None:
    ops: list[Op] = [
        Put("a", b"", {"": np.ones(3, "<f4").tobytes()}),
        Put("b", b"", {}),
        Put("c", b"", {"": np.ones(3, "<f4").tobytes(), "b": np.ones(2, "<f4").tobytes()}),
    ]
    (puts,) = prepare(ops, SCHEMA, LIMITS).runs
    assert isinstance(puts, Puts)
    assert [(column.space, column.rows) for column in puts.columns] == [(0, (0, 2)), (1, (2,))]


@pytest.mark.parametrize("garbage", [b"\xff\xff", b"", b"\x0a\x02\x0a\x05"])
def test_a_damaged_command_is_corrupt(garbage: bytes) -> None:
    with pytest.raises(Corrupt):
        WriteCommand.decode(garbage)


def test_a_flipped_bit_in_a_record_is_noticed(tmp_path: Path) -> None:
    store = store_at(tmp_path / "store")
    run(store, prepare([Put("a", b'{"n": 1}', {})], SCHEMA, LIMITS))
    databases = store.environment.databases
    with store.environment.env.begin(write=True) as txn:
        ((key, value),) = list(txn.cursor(db=databases[b"points"]))
        damaged = bytearray(value)
        damaged[20] ^= 1
        txn.put(key, bytes(damaged), db=databases[b"points"])
    with store.read() as read, pytest.raises(Corrupt, match="points/0"):
        read.record(0)
    # A whole record under another's key is damage too.
    with store.environment.env.begin(write=True) as txn:
        txn.put(b"\0" * 7 + b"\x05", value, db=databases[b"points"])
    with store.read() as read, pytest.raises(Corrupt, match="points/5"):
        read.record(5)
    store.close()


def damage(store: Store, database: bytes, key: bytes) -> None:
    with store.environment.env.begin(write=True) as txn:
        value = bytearray(txn.get(key, db=store.environment.databases[database]))
        value[0] ^= 1
        txn.put(key, bytes(value), db=store.environment.databases[database])


def test_a_write_that_fails_half_way_leaves_nothing(tmp_path: Path) -> None:
    store = store_at(tmp_path / "store")
    run(store, prepare([Put("x", b"", {}), Put("y", b'{"old": 1}', {})], SCHEMA, LIMITS))
    damage(store, b"ids", b"x")
    before = contents(store)
    writer = Writer(queue_jobs_max=10)
    bad = prepare([Put("y", b"", {}), Put("new", b"", {}), Delete("x")], SCHEMA, LIMITS)
    good = prepare([Put("z", b"", {})], SCHEMA, LIMITS)

    def job(command: WriteCommand) -> Future[WriteOutcome]:
        digest = hashlib.sha256(command.encode()).digest()
        return writer.submit(store, lambda txn: apply(txn, command, digest, 16))

    with pytest.raises(Corrupt, match="ids/"):
        job(bad).result(30)
    assert contents(store) == before
    jobs = [job(good), job(bad), job(good)]  # perhaps in one group: the good ones are applied
    assert jobs[0].result(30).commit_seq == 2
    assert jobs[2].result(30).commit_seq == 3
    with pytest.raises(Corrupt):
        jobs[1].result(30)
    writer.close()
    store.close()


def test_damaged_changes_and_tombstones_lose_nothing(tmp_path: Path) -> None:
    store = store_at(tmp_path / "store")
    run(store, prepare([Put("x", b"", {}), Put("y", b"", {})], SCHEMA, LIMITS))
    run(store, prepare([Delete("x")], SCHEMA, LIMITS))
    damage(store, b"changes", b"\0" * 7 + b"\x02")
    damage(store, b"tombstones", bytes(8))
    with store.read() as txn:
        assert txn.changes(1) is None  # whoever asks loads afresh
        assert txn.tombstones(0, 9) == [(0, UNKNOWN_SEQ)]
    for number in range(20):  # past the horizon: the damaged record is dropped
        run(store, prepare([Put(f"p{number}", b"", {})], SCHEMA, LIMITS), keep=4)
    with store.read() as txn:
        assert txn.changes(18) is not None
    store.close()


def test_two_catalogs_that_apply_the_same_log_hold_the_same_bytes(tmp_path: Path) -> None:
    schema = codec.to_json(NumberedSchema.of(SCHEMA).to_plain())
    tuned = schema.replace(b'"target_recall":0.95', b'"target_recall":0.99')
    assert tuned != schema
    log = [
        CreateCollection("a", "01" * 16, 1, schema),
        CreateCollection("b", "02" * 16, 2, schema, ttl_ms=5),
        DropCollection("a", "01" * 16),
        CreateCollection("a", "03" * 16, 3, schema, b'{"of": 1.0}'),
        SetAliases((("x", "a"), ("y", "x"), ("z", "b"), ("z", None), ("x", "b"))),
        UpdateCollection("a", "03" * 16, tuned, b"", 60_000),
        Truncate("a", "03" * 16, 7),
        Truncate("a", "03" * 16, 9),
        CloneCollection("c", "05" * 16, 5, "a", "03" * 16, 9),
    ]
    held = []
    for folder in ("first", "second"):
        catalog = Catalog(tmp_path / folder, read_only=False)
        for command in log:
            replica = decode_catalog_command(command.encode())
            assert replica == command
            catalog.apply(replica)
        for wrong, error in (
            (log[1], AlreadyExists),
            (DropCollection("a", "01" * 16), NotFound),
            (DropCollection("c", "01" * 16), NotFound),
            (DropCollection("a", "03" * 16), FailedPrecondition),
            (UpdateCollection("a", "01" * 16, schema, b"{}"), NotFound),
            (Truncate("a", "01" * 16, 11), NotFound),
            (CreateCollection("x", "04" * 16, 4, schema), AlreadyExists),
            (CloneCollection("x", "04" * 16, 4, "a", "03" * 16, 9), AlreadyExists),
            (CloneCollection("d", "04" * 16, 4, "a", "01" * 16, 9), NotFound),
            (SetAliases((("new", "b"), ("a", "b"))), AlreadyExists),
            (SetAliases((("new", "b"), ("other", "nobody"))), NotFound),
            (SetAliases((("new", "b"), ("other", None))), NotFound),
        ):
            with pytest.raises(error):
                catalog.apply(wrong)
        assert {one.name: one.uuid[:2] for one in catalog.entries()} == dict(a="03", b="02", c="05")
        assert catalog.dropped() == ["01" * 16, "03" * 16, "03" * 16 + "-7"]
        assert catalog.aliases() == {"x": "b", "y": "a"}
        last = catalog.get("y")
        assert last == catalog.get("a")
        assert last is not None
        assert (last.folder, last.metadata) == ("03" * 16 + "-9", b"")
        assert [one.ttl_ms for one in catalog.entries()] == [60_000, 5, 60_000]
        clone = catalog.get("c")
        assert clone is not None
        assert clone == replace(last, name="c", uuid="05" * 16, created_at_ms=5, truncated_seq=0)
        assert [space.target_recall for space in last.schema.schema.spaces] == [0.99, 0.99]
        environment = catalog._environment
        with environment.env.begin() as txn:
            held.append({n: list(txn.cursor(db=db)) for n, db in environment.databases.items()})
        catalog.close()
    assert held[0] == held[1]
    with pytest.raises(Corrupt):
        decode_catalog_command(prepare([Delete("a")], SCHEMA, LIMITS).encode())
