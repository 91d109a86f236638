"""The bytes of a stored answer to an idempotency key, as FORMAT.md lays them out."""

from __future__ import annotations

import json
import struct

import numpy as np

from vecdb.errors import Corrupt
from vecdb.outcomes import ItemResult, WriteOutcome
from vecdb.storage import codec

_REQUEST = struct.Struct("<Q32sI")


def encode_request(outcome: WriteOutcome, digest: bytes) -> bytes:
    """Return the value of requests/<key>: enough to answer the same request again."""
    results = outcome.results
    found = np.packbits([r.found for r in results], bitorder="little").tobytes()
    gone = np.packbits([r.version == 0 for r in results], bitorder="little").tobytes()
    rest = {
        "refused": [
            [at, r.reason, r.message, r.version] for at, r in enumerate(results) if r.reason
        ],
        "truncated": [[at, r.truncated] for at, r in enumerate(results) if r.truncated],
    }
    head = _REQUEST.pack(outcome.commit_seq, digest, len(results))
    return head + found + gone + codec.to_json(rest)


def decode_request(value: bytes) -> tuple[WriteOutcome, bytes]:
    """Return the outcome that was stored, and the digest of the operations that it answered."""
    try:
        seq, digest, count = _REQUEST.unpack_from(value)
        width = (count + 7) // 8
        flags = np.frombuffer(value, np.uint8, 2 * width, _REQUEST.size)
        found = np.unpackbits(flags[:width], count=count, bitorder="little")
        gone = np.unpackbits(flags[width:], count=count, bitorder="little")
        rest = json.loads(value[_REQUEST.size + 2 * width :])
        refused = {at: (why, text, version) for at, why, text, version in rest["refused"]}
        truncated = {at: tuple(spaces) for at, spaces in rest["truncated"]}
    except (struct.error, KeyError, ValueError, TypeError) as error:
        raise Corrupt(f"a request record cannot be read: {error}") from None
    results: list[ItemResult] = []
    for i in range(count):
        why, text, version = refused.get(i, ("", "", 0 if gone[i] else seq))
        results.append(ItemResult(version, bool(found[i]), why, text, truncated.get(i, ())))
    return WriteOutcome(seq, tuple(results), replayed=True), digest
