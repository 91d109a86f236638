"""Payloads: the caller's dict, text or bytes to a JSON object in UTF-8, and back."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from datetime import date, datetime
from enum import Enum
from typing import TYPE_CHECKING, Any, TypeAlias

from vecdb_client.errors import InvalidArgument
from vecdb_client.typed_payloads import fields_of

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Payload: TypeAlias = "Mapping[str, Any] | str | bytes | DataclassInstance"
"""A JSON object, or a dataclass whose fields are one. Text and bytes are JSON already: they are
stored, and come back, as they are."""


def _other(value: object) -> object:
    """Return what json does not know as something that it does. Raises TypeError for the rest."""
    plain = getattr(value, "tolist", None)  # numpy's numbers and arrays
    if plain is not None:
        return plain()
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise TypeError(f"the time {value} has no time zone: give it one")
        return value.isoformat()
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Enum):
        return value.value
    given = fields_of(value)
    if given is not None:
        return given
    raise TypeError(f"a {type(value).__name__} is not JSON")


_encode = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_other
).encode
_decode = json.JSONDecoder().decode


def payload_bytes(payload: Payload | None) -> bytes:
    """Return the payload as JSON in UTF-8; b"" for None. Times become RFC 3339, enums their values.

    Raises InvalidArgument (BAD_PAYLOAD) that names the field for NaN, infinity and what JSON has no
    form for. Text and bytes pass through: the server checks them.
    """
    if payload is None:
        return b""
    if isinstance(payload, (bytes, bytearray, memoryview)):
        return bytes(payload)
    try:
        if isinstance(payload, str):
            return payload.encode()
        if not isinstance(payload, dict):
            given = payload if isinstance(payload, Mapping) else fields_of(payload)
            if given is None:
                raise TypeError(f"a {type(payload).__name__} is no JSON object")
            payload = dict(given)
        return _encode(payload).encode()
    except (TypeError, ValueError, RecursionError) as error:
        why = next(_odd_numbers(payload, "", 0), None) or str(error)
        raise InvalidArgument(f"bad payload: {why}", reason="BAD_PAYLOAD") from None


def payload_of(data: bytes) -> dict[str, Any]:
    """Return the JSON object in the bytes; {} for b""."""
    if not data:
        return {}
    parsed: dict[str, Any] = _decode(str(data, "utf-8"))
    return parsed


def _odd_numbers(value: object, path: str, depth: int) -> Iterator[str]:
    """Yield a sentence for every number in a payload that JSON cannot hold."""
    if depth > 64:
        return
    if isinstance(value, float) and not math.isfinite(value):
        yield f"{path} is {value}, which JSON cannot hold; leave the field out or store null"
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _odd_numbers(inner, f"{path}.{key}" if path else str(key), depth + 1)
    elif isinstance(value, (list, tuple)):
        for i, inner in enumerate(value):
            yield from _odd_numbers(inner, f"{path}[{i}]", depth + 1)
    elif hasattr(value, "tolist"):
        yield from _odd_numbers(value.tolist(), path, depth + 1)
    elif (given := fields_of(value)) is not None:
        yield from _odd_numbers(given, path, depth + 1)
