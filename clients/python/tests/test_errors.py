"""Errors, retries and deadlines."""

from __future__ import annotations

import pickle
import threading
import time

import grpc
import pytest

from vecdb_client import (
    AlreadyExists,
    Cancelled,
    DataLoss,
    DeadlineExceeded,
    FailedPrecondition,
    Internal,
    InvalidArgument,
    NotFound,
    Overloaded,
    Retries,
    StorageFull,
    Unavailable,
    VecdbError,
    WriteFailed,
    errors,
)
from vecdb_client.pb import errors_pb2
from vecdb_client.status import _BY_CODE, _BY_REASON, build_error, details_of
from vecdb_client.types import ItemFailure, WriteReport

CODES = grpc.StatusCode


def test_every_status_has_an_error_and_every_error_a_status():
    assert set(_BY_CODE) == {code.name for code in CODES if code is not CODES.OK}

    def below(kind):
        return {kind, *(leaf for child in kind.__subclasses__() for leaf in below(child))}

    mapped = {*_BY_CODE.values(), *_BY_REASON.values(), VecdbError, WriteFailed}
    assert below(VecdbError) == mapped
    for kind in mapped:
        assert kind.__name__ in errors.__doc__
        assert kind in {getattr(__import__("vecdb_client"), kind.__name__)}


def test_details(books, server, make_fault, make_status):
    details = make_status("DIMENSION_MISMATCH", 3, field_name="legs[0].near.vector")
    server.faults = [make_fault(CODES.INVALID_ARGUMENT, "wrong length", details=details)]
    with pytest.raises(InvalidArgument, match="wrong length") as caught:
        books.search([1, 2, 3])
    error = caught.value
    assert (error.code, error.reason) == ("INVALID_ARGUMENT", "DIMENSION_MISMATCH")
    assert (error.call, error.metadata) == ("Search.Query", {"expected": "3"})
    assert error.violations[0].field == "legs[0].near.vector"
    assert str(error) == "wrong length [DIMENSION_MISMATCH, Search.Query]"
    assert error.retry_after_s is None


def test_details_hold_against_google_rpc():
    pytest.importorskip("google.rpc.status_pb2")
    from google.protobuf.any_pb2 import Any
    from google.protobuf.duration_pb2 import Duration
    from google.rpc import error_details_pb2 as rpc
    from google.rpc.status_pb2 import Status

    status = Status(code=8, message="full")
    for detail in (
        rpc.ErrorInfo(reason="OVERLOADED", domain="vecdb", metadata={"queue": "writes"}),
        rpc.RetryInfo(retry_delay=Duration(seconds=2, nanos=500_000_000)),
        rpc.BadRequest(
            field_violations=[rpc.BadRequest.FieldViolation(field="ops", description="many")]
        ),
        rpc.Help(),  # one that the client does not know
    ):
        packed = Any()
        packed.Pack(detail)
        status.details.append(packed)
    ours = details_of((("x", "y"), ("grpc-status-details-bin", status.SerializeToString())))
    error = build_error("RESOURCE_EXHAUSTED", "full", ours, "Points.Write")
    assert type(error) is Overloaded
    assert error.retry_after_s == 2.5
    assert error.metadata == {"queue": "writes"}
    assert [(one.field, one.description) for one in error.violations] == [("ops", "many")]
    assert ours.SerializeToString() == status.SerializeToString()
    codes = {code.value[0]: code.name for code in CODES}
    from google.rpc.code_pb2 import Code

    assert codes == {number: name for name, number in Code.items()}


def test_broken_details_do_not_hide_the_status():
    assert details_of((("grpc-status-details-bin", b"\xff\xff"),)) is None
    bad = errors_pb2.Detail(type_url="type.googleapis.com/google.rpc.ErrorInfo", value=b"\xff")
    error = build_error("NOT_FOUND", "", errors_pb2.Status(details=[bad]), "")
    assert isinstance(error, NotFound)
    assert error.reason == ""


def test_narrower_errors_by_reason(make_status):
    full = errors_pb2.Status.FromString(make_status("STORAGE_FULL", 8))
    assert type(build_error("RESOURCE_EXHAUSTED", "", full, "")) is StorageFull
    assert type(build_error("INTERNAL", "", full, "")) is Internal


def test_errors_survive_pickling():
    error = NotFound("gone", reason="X", metadata={"a": "b"}, call="Points.Get")
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), vars(again), str(again)) == (NotFound, vars(error), str(error))
    report = WriteReport(failures=[ItemFailure(0, "a", "NOT_FOUND", "R", "m")])
    assert pickle.loads(pickle.dumps(WriteFailed(report))).report == report


def test_reads_are_tried_again(books, server, make_fault):
    server.faults = [make_fault(CODES.UNAVAILABLE)] * 3
    assert books.count() == 0
    assert server.calls == ["Count"] * 4


def test_attempts_are_bounded(server, make_fault, connect):
    server.faults = [make_fault(CODES.UNAVAILABLE)] * 10
    retries = Retries(attempts_max=3, backoff_s=0.001, backoff_max_s=0.001)
    with connect(server.address, retries=retries) as db, pytest.raises(Unavailable):
        db.collection("c").count()
    assert len(server.calls) == 3


def test_other_errors_are_not_tried_again(books, server, make_fault):
    for code, kind in [
        (CODES.DATA_LOSS, DataLoss),
        (CODES.INTERNAL, Internal),
        (CODES.RESOURCE_EXHAUSTED, VecdbError),  # no word of when
    ]:
        server.calls.clear()
        server.faults = [make_fault(code)]
        with pytest.raises(kind):
            books.count()
        assert len(server.calls) == 1


def test_overloaded_waits_as_told(books, server, make_fault, make_status):
    details = make_status("OVERLOADED", 8, retry_s=0.2)
    server.faults = [make_fault(CODES.RESOURCE_EXHAUSTED, details=details)]
    began = time.monotonic()
    assert books.count() == 0
    assert time.monotonic() - began >= 0.2


def test_no_wait_beyond_the_deadline(books, server, make_fault, make_status):
    details = make_status("OVERLOADED", 8, retry_s=60)
    server.faults = [make_fault(CODES.RESOURCE_EXHAUSTED, details=details)]
    began = time.monotonic()
    with pytest.raises(Overloaded) as caught:
        books.count(timeout_s=5)
    assert caught.value.retry_after_s == 60
    assert time.monotonic() - began < 2


def test_deadline(books, server):
    release = threading.Event()
    server.during_write = lambda request: release.wait(5)
    began = time.monotonic()
    with pytest.raises(DeadlineExceeded):
        books.upsert([{"id": "a"}], timeout_s=0.1)
    assert time.monotonic() - began < 2
    release.set()
    while "a" not in server.points and time.monotonic() - began < 30:
        time.sleep(0.01)  # the server goes on with it in a thread of its own
    assert books.count(timeout_s=float("inf")) == 1
    with pytest.raises(InvalidArgument, match="timeout_s"):
        books.count(timeout_s=0)


def test_pauses():
    retries = Retries(attempts_max=4, backoff_s=1.0, backoff_max_s=3.0)
    down = Unavailable("x")

    def pauses(error, chance):
        return [retries.pause_s(error, n, 100, lambda: chance) for n in (1, 2, 3, 4)]

    assert pauses(down, 1.0) == [1, 2, 3, None]
    assert pauses(down, 0.0) == [0.5, 1, 1.5, None]
    assert pauses(Overloaded("x", retry_after_s=5.0), 0.0) == [5.5, 6, 6.5, None]
    assert pauses(Overloaded("x"), 0.0) == [None] * 4
    assert retries.pause_s(down, 1, 0.9, lambda: 1.0) is None
    for wrong in ({"attempts_max": 0}, {"backoff_s": 0}, {"backoff_max_s": 0.01}):
        with pytest.raises(ValueError, match="Retries"):
            Retries(**wrong)


def test_create_is_repeated_only_where_that_is_safe(db, server, make_fault):
    server.faults = [make_fault(CODES.UNAVAILABLE, after=True)]
    with pytest.raises(Unavailable):
        db.create_collection("a", dim=3)
    server.faults = [make_fault(CODES.UNAVAILABLE, after=True)]
    assert db.create_collection("b", dim=3, if_not_exists=True).name == "b"
    with pytest.raises(AlreadyExists):
        db.create_collection("b", dim=3)
    server.faults = [make_fault(CODES.UNAVAILABLE)]
    with pytest.raises(Unavailable):
        db.delete_collection("b")
    server.faults = [make_fault(CODES.UNAVAILABLE)]
    assert db.delete_collection("b", if_exists=True)
    assert not db.delete_collection("b", if_exists=True)
    with pytest.raises(NotFound):
        db.delete_collection("b")


def test_closed_client(server, connect):
    db = connect(server.address)
    books = db.collection("books")
    assert books.count() == 0
    db.close()
    db.close()
    with pytest.raises(FailedPrecondition, match="closed"):
        books.count()


def test_closing_ends_calls_under_way(server, connect):
    entered, release = threading.Event(), threading.Event()

    def hold(request):
        entered.set()
        release.wait(10)

    server.during_write = hold
    db = connect(server.address)
    caught = []

    def load():
        try:
            db.collection("c").upsert([{"id": "a"}])
        except VecdbError as error:
            caught.append(error)

    thread = threading.Thread(target=load)
    thread.start()
    assert entered.wait(5)
    db.close()
    thread.join(5)
    release.set()
    assert [type(error) for error in caught] == [Cancelled]
