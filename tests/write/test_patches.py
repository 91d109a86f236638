"""if_version and patch, applied to a store: who wins, what stays, what is refused by name."""

from __future__ import annotations

import numpy as np
import pytest

from tests.stores import LIMITS, SCHEMA, contents, run, store_at
from vecdb.config import LimitsConfig
from vecdb.errors import BadPayload, Corrupt, LimitExceeded, PointNotFound, VersionMismatch
from vecdb.outcomes import WriteOutcome
from vecdb.storage.codec import RecordView
from vecdb.storage.command import WriteCommand
from vecdb.storage.store import Store
from vecdb.types import Delete, Op, Patch, PayloadEdits, Put, SparseVector
from vecdb.write.prepare import prepare

ONES = np.ones(3, "<f4").tobytes()
TWOS = np.full(3, 2, "<f4").tobytes()
PAIR = np.arange(2, dtype="<f4").tobytes()


@pytest.fixture
def store(tmp_path):
    made = store_at(tmp_path / "store")
    yield made
    made.close()


def write(store: Store, *ops: Op, **options) -> WriteOutcome:
    limits = options.pop("limits", LIMITS)
    return run(store, prepare(ops, SCHEMA, limits, **options))


def point(store: Store, name: str) -> RecordView | None:
    with store.read() as txn:
        slot = txn.slots_of([name.encode()]).get(name.encode())
        return None if slot is None else txn.record(slot)


def setting(content: bytes, **options) -> PayloadEdits:
    return PayloadEdits(content, **options)


def test_of_two_writers_that_read_the_same_version_one_wins(store: Store) -> None:
    version = write(store, Put("a", b"{}", {})).commit_seq
    first = write(store, Put("a", b'{"by":1}', {}, if_version=version))
    second = write(store, Put("a", b'{"by":2}', {}, if_version=version), Put("b", b"", {}))
    assert first.results[0].version == 2
    lost, stored = second.results
    assert (lost.reason, lost.version, lost.found) == ("VERSION_MISMATCH", 2, True)
    assert "has version 2, expected 1" in lost.message
    assert (stored.reason, stored.version) == ("", 3)  # the loser sinks nobody
    held = point(store, "a")
    assert held is not None
    assert (held.payload, held.version) == (b'{"by":1}', 2)


def test_operations_of_a_request_see_each_other(store: Store) -> None:
    """The version that the request itself makes is its commit_seq, 1 here."""
    outcome = write(
        store,
        Put("a", b'{"n":1}', {}, if_version=0),
        Put("a", b'{"n":2}', {}, if_version=0),
        Patch("a", setting(b'{"m":1}'), if_version=1),
        Patch("a", setting(b"{}", unset=("n",))),
        Delete("a", if_version=7),
        Delete("b", if_version=3),
        Delete("c", if_version=0),
        Delete("a", if_version=1),
        Patch("a", setting(b'{"late":1}')),
        Put("a", b'{"n":9}', {}, if_version=0),
        Patch("a", setting(b'{"m":2}')),
    )
    mismatch = "VERSION_MISMATCH"
    assert [(r.reason, r.version, r.found) for r in outcome.results] == [
        ("", 1, False),
        (mismatch, 1, True),
        ("", 1, True),
        ("", 1, True),
        (mismatch, 1, True),
        (mismatch, 0, False),
        ("", 0, False),
        ("", 0, True),
        ("POINT_NOT_FOUND", 0, False),
        ("", 1, False),
        ("", 1, True),
    ]
    assert "there is no point 'b', expected version 3" in outcome.results[5].message
    assert "is there with version 1, expected none" in outcome.results[1].message
    held = point(store, "a")
    assert held is not None
    assert held.payload == b'{"n":9,"m":2}'
    with store.read() as txn:
        assert (txn.state.points, txn.state.next_slot) == (1, 1)


@pytest.mark.parametrize(
    ("loser", "error", "words"),
    [
        (Put("a", b"", {}, if_version=0), VersionMismatch, "operation 1: point 'a' is there"),
        (Patch("b", setting(b"{}"), if_version=4), VersionMismatch, "there is no point 'b'"),
        (Patch("b", setting(b"{}")), PointNotFound, "there is no point 'b'"),
    ],
)
def test_an_atomic_write_that_loses_changes_nothing(store: Store, loser: Op, error, words) -> None:
    write(store, Put("a", b"", {}))
    before = contents(store)
    with pytest.raises(error, match=words) as caught:
        write(store, Put("c", b"", {}), loser, Delete("a"), atomic=True)
    assert caught.value.field.startswith("ops[1].")
    assert contents(store) == before
    won = write(store, Put("c", b"", {}), Delete("a", if_version=1), atomic=True)
    assert [result.reason for result in won.results] == ["", ""]


def test_losers_are_replayed_as_they_were(store: Store) -> None:
    write(store, Put("a", b"", {}), Put("s", b'{"x":"text"}', {}))
    ops: list[Op] = [
        Put("a", b"", {}, if_version=9),
        Patch("nobody", setting(b"{}")),
        Patch("s", setting(b'{"x.y":1}')),
        Put("b", b"", {}, if_version=0),
    ]
    command = prepare(ops, SCHEMA, LIMITS, idempotency_key="k", request_digest=b"d" * 32)
    first = run(store, command)
    write(store, Delete("a"))
    again = run(store, WriteCommand.decode(command.encode()))
    assert (again.replayed, again.commit_seq) == (True, first.commit_seq)
    assert again.results == first.results
    assert [r.version for r in first.results] == [1, 0, 1, 2]
    assert [r.reason for r in first.results] == [
        "VERSION_MISMATCH",
        "POINT_NOT_FOUND",
        "PATH_CLASH",
        "",
    ]


def test_a_patch_leaves_what_it_does_not_name(store: Store) -> None:
    sparse = SparseVector(np.array([5, 2], np.uint32), np.array([1, 2], np.float32))
    put = Put("a", b'{"x": 1, "y": "z"}', {"": ONES, "b": PAIR}, {"b": "words"}, {"s": sparse})
    write(store, put, Put("none", b"", {}))
    before = point(store, "a")
    assert before is not None
    write(store, Patch("a", setting(b'{"x":2}')), Patch("none", setting(b'{"new.path":[1]}')))
    after = point(store, "a")
    assert after is not None
    assert (after.payload, after.version) == (b'{"x":2,"y":"z"}', 2)
    assert after.vector_bytes() == before.vector_bytes()
    assert after.texts() == before.texts() == {1: "words"}
    fresh = point(store, "none")
    assert fresh is not None
    assert fresh.payload == b'{"new":{"path":[1]}}'


def test_vectors_are_replaced_added_and_removed(store: Store) -> None:
    write(store, Put("a", b'{"x": 1}', {"": ONES, "b": PAIR}, {"b": "words"}))
    sparse = SparseVector(np.array([5, 2], np.uint32), np.array([1, 2], np.float32))
    patch = Patch("a", setting(b""), {"": TWOS}, {"": "new"}, {"t": sparse}, ("b", "s"))
    assert write(store, patch).results[0].reason == ""
    held = point(store, "a")
    assert held is not None
    cell = np.array([2, 5], "<u4").tobytes() + np.array([2, 1], "<f4").tobytes()
    assert held.vector_bytes() == {0: TWOS, 3: cell}
    assert held.texts() == {0: "new"}
    assert held.payload == b'{"x": 1}'


def test_limits_hold_for_what_a_patch_leaves(store: Store) -> None:
    limits = LimitsConfig(payload_bytes=20)
    write(store, Put("a", b'{"x":"0123456789"}', {}))
    over, at = write(
        store,
        Patch("a", setting(b'{"x":"0123456789abc"}')),
        Patch("a", setting(b'{"x":"0123456789ab"}')),
        limits=limits,
    ).results
    assert (over.reason, over.version, over.found) == ("LIMIT_EXCEEDED", 1, True)
    assert "the payload has 21 bytes, the limit is 20" in over.message
    assert at.reason == ""
    with pytest.raises(LimitExceeded, match="operation 0"):
        write(store, Patch("a", setting(b'{"y":12345}')), limits=limits, atomic=True)


def test_the_points_that_patches_read_are_bounded(store: Store) -> None:
    limits = LimitsConfig(message_bytes=1 << 16)
    payload = b'{"x":"%s"}' % (b"x" * 30_000)
    write(store, *(Put(name, payload, {}) for name in "abc"))
    patches = [Patch(name, setting(b'{"y":1}')) for name in "abcd"]
    results = write(store, *patches, Put("e", payload, {}), limits=limits).results
    assert [result.reason for result in results] == [
        "",
        "",
        "LIMIT_EXCEEDED",
        "POINT_NOT_FOUND",
        "",
    ]
    assert "limits.message_bytes" in results[2].message


def test_damage_fails_the_write_instead_of_deciding_it(store: Store) -> None:
    write(store, Put("a", b'{"x":1}', {}))
    with store.environment.env.begin(write=True) as txn:
        db = store.environment.databases[b"points"]
        value = bytearray(txn.get(bytes(8), db=db))
        value[20] ^= 1
        txn.put(bytes(8), bytes(value), db=db)
    before = contents(store)
    ops: tuple[Op, ...] = (Patch("a", setting(b"{}")), Put("a", b"", {}, if_version=1))
    for op in ops:
        with pytest.raises(Corrupt, match="points/0"):
            write(store, Put("b", b"", {}), op)
    assert contents(store) == before
    assert write(store, Put("a", b"", {})).results[0].found  # which heals it


@pytest.mark.parametrize(
    ("patch", "words"),
    [
        (Patch("a", setting(b"")), "changes nothing"),
        (Patch("a", setting(b"{}"), if_version=0), "if_version 0"),
        (Patch("a", setting(b""), unset_vectors=("nope",)), "unknown space 'nope'"),
        (Patch("a", setting(b""), {"": ONES}, unset_vectors=("",)), "in unset_vectors"),
        (Patch("a", setting(b""), {"b": ONES}), "expects 2 dimensions"),
        (Patch("a", setting(b""), {"": b"\0" * 12}), "zero vector"),
        (Patch("", setting(b"{}")), "the id has 0 bytes"),
    ],
)
def test_patches_that_are_refused_before_the_log(patch: Patch, words: str) -> None:
    command = prepare([patch, Delete("x")], SCHEMA, LIMITS)
    assert [one.position for one in command.refused] == [0]
    assert words in command.refused[0].message
    assert command.operations == 2


def test_a_command_of_patches_reads_as_it_was_written() -> None:
    ops: list[Op] = [
        Put("a", b"{}", {"": ONES}, if_version=0),
        Put("b", b"", {}),
        Patch("a", PayloadEdits(b'{"x":1}', ("y", "z"), b'{"t":[1]}', b'{"t":[2]}'), {"b": PAIR}),
        Patch("b", setting(b"{}"), unset_vectors=("", "s"), if_version=2**64 - 1),
        Delete("c", if_version=5),
    ]
    command = prepare(ops, SCHEMA, LIMITS, atomic=True)
    again = WriteCommand.decode(command.encode())
    assert again.runs[1:] == command.runs[1:]
    assert again.atomic
    assert again.runs[0].expected == ((0, 0),)
    assert again.encode() == command.encode()


def test_atomic_refuses_bad_edits_by_position() -> None:
    with pytest.raises(BadPayload, match="operation 1: set is not JSON") as caught:
        prepare([Delete("a"), Patch("a", setting(b"{"))], SCHEMA, LIMITS, atomic=True)
    assert caught.value.field == "ops[1].patch.set"
