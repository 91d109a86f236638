"""The standard health service, grpc.health.v1, in the two bytes that its messages are.

By hand, because its package would be one more dependency than a string and an enum are worth.
"""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

from vecdb_client.errors import InvalidArgument

CHECK: Final = "/grpc.health.v1.Health/Check"

Health: TypeAlias = Literal["UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"]
_STATES: Final[tuple[Health, ...]] = ("UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN")
_FIELD_1_BYTES: Final = b"\x0a"
_FIELD_1_VARINT: Final = 0x08


def check_request(service: str) -> bytes:
    """Return a HealthCheckRequest: `string service = 1`."""
    name = service.encode()
    if len(name) > 127:  # beyond which the length takes two bytes
        raise InvalidArgument("a service name is at most 127 bytes")
    return _FIELD_1_BYTES + bytes([len(name)]) + name if name else b""


def check_reply(reply: bytes) -> Health:
    """Return the state in a HealthCheckResponse: `enum status = 1`; UNKNOWN for what is not one."""
    if len(reply) == 2 and reply[0] == _FIELD_1_VARINT and reply[1] < len(_STATES):
        return _STATES[reply[1]]
    return "UNKNOWN"
