"""The scenarios of clients/conformance, which its README describes, against a real server."""

from __future__ import annotations

import base64
import itertools
import json
import math
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import json_format
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message_factory import GetMessageClass

from tests.live import REPOSITORY, LiveServer
from vecdb.rpc.pb import (
    admin_pb2,
    collections_pb2,
    documents_pb2,
    errors_pb2,
    models_pb2,
    points_pb2,
    search_pb2,
)

SCENARIOS = sorted((REPOSITORY / "clients" / "conformance" / "scenarios").glob("*.json"))
FILES = (admin_pb2, collections_pb2, documents_pb2, models_pb2, points_pb2, search_pb2)
METHODS: dict[str, MethodDescriptor] = {
    f"{service.name}/{method.name}": method
    for file in FILES
    for service in file.DESCRIPTOR.services_by_name.values()
    for method in service.methods
}
DETAILS = "grpc-status-details-bin"
NEAR = 1e-5
WORDS = {"about", "call", "request", "requests", "reply", "replies", "endless", "error"}

_runs = itertools.count()


@pytest.fixture(scope="module", params=[1, 2], ids=["one process", "two workers"])
def channel(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[grpc.Channel]:
    settings = {"embed.enabled": "false", "server.workers": request.param}
    server = LiveServer(tmp_path_factory.mktemp("conformance") / "data", settings).start()
    with grpc.insecure_channel(server.address) as made:
        yield made
    assert server.stop() == 0


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_scenario(channel: grpc.Channel, path: Path) -> None:
    run = Run(channel, f"{path.stem}-{next(_runs)}")
    for number, step in enumerate(json.loads(path.read_text())["steps"], 1):
        run.do(step, f"step {number}, {step.get('about', step['call'])}")


def test_every_call_has_a_scenario() -> None:
    called = {step["call"] for path in SCENARIOS for step in json.loads(path.read_text())["steps"]}
    assert called == METHODS.keys()


class Run:
    """One run of a scenario: its collection, and what its steps have saved."""

    def __init__(self, channel: grpc.Channel, collection: str) -> None:
        self._channel = channel
        self._collection = collection
        self._saved: dict[str, Any] = {}

    def do(self, step: dict[str, Any], where: str) -> None:
        """Do a step; fail with where it is and what was expected."""
        unknown = step.keys() - WORDS
        assert not unknown, f"{where}: {unknown}"
        try:
            first = len(step["replies"]) if step.get("endless") else None
            sent = step["requests"] if "requests" in step else [step["request"]]
            replies = self._call(step["call"], self._filled(sent), first)
        except grpc.RpcError as error:
            if "error" not in step:
                raise AssertionError(f"{where}: {error}") from None
            self._check_error(step["error"], error, where)
            return
        assert "error" not in step, f"{where}: expected {step['error']}, got {replies}"
        if "replies" in step:
            self._check(step["replies"], replies, where)
        else:
            self._check(step.get("reply", {}), replies[0], where)

    def _call(self, name: str, requests: list[Any], first: int | None) -> list[Any]:
        method = METHODS[name]
        kind = GetMessageClass(method.input_type)
        messages = [json_format.ParseDict(request, kind()) for request in requests]
        asked = "stream" if method.client_streaming else "unary"
        answered = "stream" if method.server_streaming else "unary"
        call = getattr(self._channel, f"{asked}_{answered}")(
            f"/{method.containing_service.full_name}/{method.name}",
            request_serializer=lambda request: request.SerializeToString(),
            response_deserializer=GetMessageClass(method.output_type).FromString,
        )
        answer = call(iter(messages) if method.client_streaming else messages[0], timeout=60)
        replies = [
            json_format.MessageToDict(
                each, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
            )
            for each in (itertools.islice(answer, first) if method.server_streaming else [answer])
        ]
        if first is not None:
            answer.cancel()
        return replies

    def _filled(self, value: Any) -> Any:
        """Return a part of a request with what stands for values put in."""
        if isinstance(value, str):
            return value.replace("$c", self._collection)
        if isinstance(value, list):
            return [self._filled(each) for each in value]
        if not isinstance(value, dict):
            return value
        if "$json" in value:
            return base64.b64encode(json.dumps(value["$json"]).encode()).decode()
        if "$f32" in value:
            numbers = value["$f32"]
            return base64.b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode()
        if "$saved" in value:
            return self._saved[value["$saved"]]
        return {name: self._filled(each) for name, each in value.items()}

    def _check_error(self, expected: dict[str, Any], error: Any, where: str) -> None:
        assert error.code().name == expected["code"], f"{where}: {error}"
        for part in expected.get("says", ()):
            assert self._filled(part) in error.details(), f"{where}: {error}"
        trailer = dict(error.trailing_metadata())
        status = errors_pb2.Status.FromString(trailer.get(DETAILS, b""))
        details = {detail.type_url.rpartition(".")[2]: detail.value for detail in status.details}
        info = errors_pb2.ErrorInfo.FromString(details.get("ErrorInfo", b""))
        bad = errors_pb2.BadRequest.FromString(details.get("BadRequest", b""))
        assert info.reason == expected.get("reason", info.reason), f"{where}: {error}"
        if "field" in expected:
            assert bad.field_violations[0].field == expected["field"], f"{where}: {bad}"

    def _check(self, expected: Any, got: Any, where: str) -> None:
        if isinstance(expected, list):
            assert isinstance(got, list), f"{where}: {got!r} is no list"
            assert len(got) == len(expected), f"{where}: expected {expected}, got {got}"
            for at, (one, other) in enumerate(zip(expected, got, strict=True)):
                self._check(one, other, f"{where}[{at}]")
        elif isinstance(expected, dict) and any(key.startswith("$") for key in expected):
            self._check_special(expected, got, where)
        elif isinstance(expected, dict):
            assert isinstance(got, dict), f"{where}: {got!r} is no message"
            for name, each in expected.items():
                self._check(each, got.get(name, _nothing(each)), f"{where}.{name}")
        else:
            plain = self._filled(expected)
            if isinstance(plain, int) and isinstance(got, str):  # of 64 bits
                got = int(got)
            assert got == plain, f"{where}: expected {plain!r}, got {got!r}"

    def _check_special(self, expected: dict[str, Any], got: Any, where: str) -> None:
        ((kind, value),) = expected.items()
        if kind == "$json":
            assert json.loads(base64.b64decode(got)) == value, where
        elif kind == "$f32":
            numbers = struct.unpack(f"<{len(value)}f", base64.b64decode(got))
            assert numbers == pytest.approx(value, rel=NEAR, abs=NEAR), where
        elif kind == "$near":
            assert math.isclose(float(got), value, rel_tol=NEAR, abs_tol=NEAR), f"{where}: {got}"
        elif kind == "$save":
            assert got, f"{where}: nothing to save"
            self._saved[value] = got
        elif kind == "$saved":
            assert got == self._saved[value], f"{where}: {got}, saved {self._saved[value]}"
        elif kind == "$after":
            assert int(got) > int(self._saved[value]), f"{where}: {got}"
        else:
            assert kind == "$set", f"{where}: unknown {kind}"
            self._check_set(value, list(got), where)

    def _check_set(self, expected: list[Any], got: list[Any], where: str) -> None:
        assert len(got) == len(expected), f"{where}: expected {expected}, got {got}"
        for one in expected:
            for at, other in enumerate(got):
                try:
                    self._check(one, other, where)
                except (AssertionError, ValueError, TypeError):
                    continue
                del got[at]
                break
            else:
                raise AssertionError(f"{where}: no {one} among {got}")


def _nothing(expected: Any) -> Any:
    """Return what a field that is not there counts as, beside what is expected of it."""
    if isinstance(expected, (bool, int, float, str, list)):
        return type(expected)()
    return {}
