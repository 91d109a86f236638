"""How a channel to a server is set up, with threads and with an event loop alike."""

from __future__ import annotations

from typing import Any, Final, TypeAlias

from google.protobuf.message import Message

from vecdb_client.version import VERSION

Trailers: TypeAlias = tuple[tuple[str, str | bytes], ...]

OPTIONS: Final[tuple[tuple[str, Any], ...]] = (
    # Requests are split before they are sent, and replies are bounded by the server.
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    # Notice within 40 s a peer that vanished without a word, while calls are under way.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    # A restarted server is found again soon, not after gRPC's own second to two minutes.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    # Or all connections to one address would be the same.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.primary_user_agent", f"vecdb-python/{VERSION}"),
)


def serialized(message: Message) -> bytes:
    """Return a request's bytes."""
    return message.SerializeToString()
