"""What a machine sends: so that no call, leg or option of the protocol is left without a rule."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

from google.protobuf.message import Message

from vecdb_client.pb import collections_pb2, common_pb2, points_pb2, ranking_pb2, search_pb2
from vecdb_client.protocol import Method
from vecdb_client.transport import Transport

SERVICES = [
    points_pb2.DESCRIPTOR.services_by_name["Points"],
    search_pb2.DESCRIPTOR.services_by_name["Search"],
    collections_pb2.DESCRIPTOR.services_by_name["Collections"],
]
CHOICES: list[type[Message]] = [
    points_pb2.WriteOp,
    points_pb2.Aggregation,
    search_pb2.Leg,
    search_pb2.Fusion,
    search_pb2.Rerank,
    ranking_pb2.Adjustment,
    collections_pb2.AliasAction,
]
"""Messages whose oneof says what is done. Filters are drawn, not named: see their own test."""

METHODS = {f"{service.name}.{one.name}" for service in SERVICES for one in service.methods}
KINDS = {
    f"{message.DESCRIPTOR.name}.{one.name}"
    for message in CHOICES
    for oneof in message.DESCRIPTOR.oneofs
    if not oneof.name.startswith("_")
    for one in oneof.fields
} - {
    "Rerank.cross_encoder"
}  # by a model, of which a machine has none: tests/rpc/test_rerank_models
CONDITIONS = {one.name for one in common_pb2.Filter.DESCRIPTOR.oneofs_by_name["kind"].fields}

EXERCISED: dict[str, list[str]] = {}
"""Methods and kinds, and the rules that send them."""


def exercises(*names: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Say what each run of a rule sends; checked after each."""

    def decorated(rule: Callable[..., None]) -> Callable[..., None]:
        for name in names:
            EXERCISED.setdefault(name, []).append(rule.__name__)

        @functools.wraps(rule)
        def run(self: Any, *args: Any, **kwargs: Any) -> None:
            self.sent.clear()
            rule(self, *args, **kwargs)
            assert self.sent >= set(names), f"{rule.__name__} has not sent all that it names"

        return run

    return decorated


class Recorded:
    """A client's transport that notes the methods, and the fields that are set, of all requests."""

    def __init__(self, transport: Transport, notes: set[str]) -> None:
        self._transport = transport
        self._notes = notes

    def __getattr__(self, name: str) -> object:
        return getattr(self._transport, name)

    def call(self, method: Method, request: Message | bytes, **options: Any) -> Any:
        self._note(method, request)
        return self._transport.call(method, request, **options)

    def stream(self, method: Method, request: Message) -> Iterator[Message]:
        self._note(method, request)
        return self._transport.stream(method, request)

    def resumed(self, method: Method, request: Callable[[], Message | None]) -> Iterator[Message]:
        def noted() -> Message | None:
            asked = request()
            if asked is not None:
                self._note(method, asked)
            return asked

        return self._transport.resumed(method, noted)

    def duplex(self, method: Method, requests: Iterator[Message]) -> Iterator[Message]:
        def noted() -> Iterator[Message]:
            for request in requests:
                self._note(method, request)
                yield request

        return self._transport.duplex(method, noted())

    def _note(self, method: Method, request: Message | bytes) -> None:
        message = method.request.FromString(request) if isinstance(request, bytes) else request
        self._notes.update({method.name, *fields_of(message)})


def fields_of(message: Message) -> Iterator[str]:
    """Yield the fields that are set, those of messages inside too, such as ``Leg.near``."""
    for field, value in message.ListFields():
        yield f"{message.DESCRIPTOR.name}.{field.name}"
        if field.message_type is None:
            continue
        if field.message_type.GetOptions().map_entry:
            several = [one for one in value.values() if isinstance(one, Message)]
        else:
            several = value if field.is_repeated else [value]
        for one in several:
            yield from fields_of(one)
