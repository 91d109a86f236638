"""Errors on the wire: each has a status, its details are google.rpc's, and bugs leak nothing."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from google.protobuf import any_pb2, duration_pb2
from google.protobuf.descriptor import Descriptor
from google.rpc import code_pb2, error_details_pb2, status_pb2
from hypothesis import given
from hypothesis import strategies as st

from tests.rpc.nodes import open_guard
from vecdb import errors
from vecdb.errors import InvalidArgument, NotFound, Overloaded, VecdbError
from vecdb.metrics import Metrics
from vecdb.rpc import status
from vecdb.rpc.intercept import REQUEST_ID, CallInterceptor
from vecdb.rpc.pb import errors_pb2
from vecdb_client.status import error_of


def every(kind: type[VecdbError]) -> Iterator[type[VecdbError]]:
    for child in kind.__subclasses__():
        yield child
        yield from every(child)


KINDS = sorted(set(every(VecdbError)), key=lambda kind: kind.__name__)
EVERY = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)


@EVERY
def test_every_error_has_a_status(kind: type[VecdbError]) -> None:
    code = status.code_of(kind)
    assert code not in (grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.OK)
    assert status.code_number(kind.reason) == code.value[0]
    assert code_pb2.Code.Name(code.value[0]) == code.name


@EVERY
def test_every_error_is_drawn_and_has_a_reason_of_its_own(kind: type[VecdbError]) -> None:
    assert f"─ {kind.__name__} " in f"{errors.__doc__} ".replace("\n", " ")
    assert [other for other in KINDS if other.reason == kind.reason] == [kind]
    assert kind.reason.isupper()
    assert kind.__doc__


def test_a_reason_of_nothing_is_no_error() -> None:
    assert status.code_number("") == 0
    assert status.code_number("NEVER_HEARD_OF") == grpc.StatusCode.INTERNAL.value[0]


# --- google.rpc


def as_any(message) -> any_pb2.Any:
    packed = any_pb2.Any()
    packed.Pack(message)
    return packed


def expected(error: VecdbError) -> bytes:
    """Return what Google's own messages make of an error."""
    details = [
        error_details_pb2.ErrorInfo(reason=error.reason, domain="vecdb", metadata=error.details)
    ]
    if error.field:
        violation = error_details_pb2.BadRequest.FieldViolation(
            field=error.field, description=error.message
        )
        details.append(error_details_pb2.BadRequest(field_violations=[violation]))
    if error.retry_after_s is not None:
        delay = duration_pb2.Duration()
        delay.FromNanoseconds(int(error.retry_after_s * 1_000_000_000))
        details.append(error_details_pb2.RetryInfo(retry_delay=delay))
    message = status_pb2.Status(
        code=status.code_of(type(error)).value[0],
        message=str(error),
        details=[as_any(detail) for detail in details],
    )
    return message.SerializeToString()


@EVERY
def test_details_are_googles_byte_for_byte(kind: type[VecdbError]) -> None:
    for error in (
        kind("plain"),
        kind("with a hint", hint="do this"),
        kind("ключ 🦆", field="ops[3].put.id", got="é"),
        kind("later", retry_after_s=0.0),
        kind("later", field="k", hint="wait", retry_after_s=1.5, expected=768),
    ):
        assert status.encode_details(error) == expected(error)


@given(
    st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=50),
        st.text(st.characters(exclude_categories=["Cs"]), max_size=50),
        max_size=status.DETAILS_MAX,
    )
)
def test_details_of_any_number(details: dict[str, str]) -> None:
    error = NotFound("nothing")
    error.details = details
    found = status_pb2.Status.FromString(status.encode_details(error))
    info = error_details_pb2.ErrorInfo()
    assert found.details[0].Unpack(info)
    assert dict(info.metadata) == details


@given(st.floats(0, 1e6))
def test_any_pause_is_a_valid_duration(seconds: float) -> None:
    error = Overloaded("full", retry_after_s=seconds)
    found = status_pb2.Status.FromString(status.encode_details(error))
    info = error_details_pb2.RetryInfo()
    assert found.details[1].Unpack(info)
    assert 0 <= info.retry_delay.nanos < 1_000_000_000
    assert abs(info.retry_delay.ToNanoseconds() / 1e9 - seconds) < 1e-6


ALIKE = [
    (errors_pb2.Status, status_pb2.Status),
    (errors_pb2.Detail, any_pb2.Any),
    (errors_pb2.ErrorInfo, error_details_pb2.ErrorInfo),
    (errors_pb2.BadRequest, error_details_pb2.BadRequest),
    (errors_pb2.RetryInfo, error_details_pb2.RetryInfo),
    (errors_pb2.RetryInfo.Duration, duration_pb2.Duration),
]


def wire_form(message: Descriptor) -> set[tuple[object, ...]]:
    return {(field.number, field.name, field.type, field.is_repeated) for field in message.fields}


@pytest.mark.parametrize(("ours", "googles"), ALIKE)
def test_our_messages_have_the_form_of_googles(ours, googles) -> None:
    # Google's may know more: of ours, each must be there, number, name and type.
    assert wire_form(ours.DESCRIPTOR) <= wire_form(googles.DESCRIPTOR)


# --- the interceptor, in a server of its own

SECRET = "/srv/private/key of alice"

RAISED: dict[str, Exception] = {
    "runtime": RuntimeError(SECRET),
    "key": KeyError(SECRET),
    "os": OSError(13, SECRET),
    "recursion": RecursionError(SECRET),
    "memory": MemoryError(SECRET),
    "base": VecdbError(SECRET, hint=SECRET, path=SECRET),
    "surrogate": RuntimeError(SECRET + "\udce9"),
}
ABNORMAL = {
    "very-long": NotFound("no collection " + "x" * 50_000, collection="x" * 50_000),
    "surrogate": NotFound("no file caf\udce9", path="caf\udce9"),
    "surrogate-field": InvalidArgument("odd", field="caf\udce9"),
}


class Behaviours(grpc.GenericRpcHandler):
    """Raises the error that the method is named after."""

    def __init__(self, raised: dict[str, Exception]) -> None:
        self._raised = raised

    def service(self, handler_call_details):
        name = handler_call_details.method.rpartition("/")[2]
        if name not in self._raised:
            return None

        def behave(request: bytes, context: grpc.ServicerContext) -> bytes:
            raise self._raised[name]

        return grpc.unary_unary_rpc_method_handler(behave)


@pytest.fixture(scope="module")
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture(scope="module")
def channel(metrics: Metrics) -> Iterator[grpc.Channel]:
    raised = {
        **{f"bug-{name}": error for name, error in RAISED.items()},
        **{f"odd-{name}": error for name, error in ABNORMAL.items()},
        **{kind.__name__: kind("a message", field="a.field", n=7) for kind in KINDS},
    }
    server = grpc.server(
        ThreadPoolExecutor(2), interceptors=[CallInterceptor(metrics, open_guard(), 2, 1)]
    )
    server.add_generic_rpc_handlers([Behaviours(raised)])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with grpc.insecure_channel(f"127.0.0.1:{port}") as made:
        yield made
    server.stop(None).wait()


def failure(channel: grpc.Channel, name: str) -> grpc.RpcError:
    with pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary(f"/test.Test/{name}")(b"", timeout=30)
    return caught.value


def handled(metrics: Metrics, name: str, code: str) -> float | None:
    labels = {"grpc_service": "test.Test", "grpc_method": name, "grpc_code": code}
    return metrics.registry.get_sample_value(
        "grpc_server_handled_total", {"grpc_type": "unary", **labels}
    )


@pytest.mark.parametrize("name", RAISED)
def test_a_bug_is_internal_and_tells_its_id_alone(channel, metrics, caplog, name: str) -> None:
    with caplog.at_level(logging.ERROR):
        error = failure(channel, f"bug-{name}")
    assert error.code() is grpc.StatusCode.INTERNAL
    trailers = {key: value for key, value in error.trailing_metadata()}
    request_id = trailers.pop(REQUEST_ID)
    assert request_id in error.details()
    for told in (error.details(), *(str(value) for value in trailers.values())):
        assert "private" not in told
        assert "Traceback" not in told
    assert request_id in caplog.text
    assert "private" in caplog.text  # the operator is told all of it
    assert handled(metrics, f"bug-{name}", "INTERNAL") == 1


@EVERY
def test_an_error_of_ours_arrives_whole(channel, metrics, kind: type[VecdbError]) -> None:
    found = failure(channel, kind.__name__)
    error = error_of(found, "")
    assert found.code() is status.code_of(kind)
    assert (error.reason, error.message) == (kind.reason, "a message")
    assert error.metadata == {"n": "7"}
    assert [one.field for one in error.violations] == ["a.field"]
    assert handled(metrics, kind.__name__, found.code().name) == 1


@pytest.mark.parametrize("name", ABNORMAL)
def test_an_abnormal_message_keeps_its_status(channel, name: str) -> None:
    error = failure(channel, f"odd-{name}")
    assert error.code() is status.code_of(type(ABNORMAL[name]))
    assert error_of(error, "").reason == ABNORMAL[name].reason
