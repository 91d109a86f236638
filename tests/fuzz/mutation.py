"""Messages whose bytes were changed: what no client's library would send."""

from __future__ import annotations

import random

NESTED = b"\x0a"
HOSTILE = (
    b"",
    b"\xff",
    b"\x08" + b"\xff" * 9 + b"\x01",  # the largest varint
    b"\x08" + b"\xff" * 12,  # one without an end
    b"\x0a\xff\xff\xff\xff\x0f",  # a length that nothing follows
    b"\x0a\x02\xc3\x28",  # text that is not UTF-8
    b"\x0b" * 2_000,  # groups without an end
    b"\xfa\xff\xff\xff\x0f\x00",
)


def changed(rng: random.Random, body: bytes, others: list[bytes]) -> bytes:
    """Return a body with a few of its bytes changed, moved, or mixed with another's."""
    if rng.random() < 0.03:
        return rng.choice(HOSTILE)
    if rng.random() < 0.02:
        return nested(rng.choice((50, 99, 101, 500, 5_000)))
    made = bytearray(body)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        at = rng.randrange(len(made) + 1)
        drawn = rng.randrange(7)
        if drawn == 0 and at < len(made):
            made[at] ^= 1 << rng.randrange(8)
        elif drawn == 1:
            del made[at:]
        elif drawn == 2:
            made[at:at] = rng.randbytes(rng.choice((1, 2, 8, 64)))
        elif drawn == 3:
            del made[at : at + rng.randint(1, 8)]
        elif drawn == 4 and at < len(made):
            made[at] = rng.choice((0, 1, 0x7F, 0x80, 0xFF))
        elif drawn == 5 and others:
            other = rng.choice(others)
            made[at:] = other[rng.randrange(len(other) + 1) :]
        else:
            end = min(len(made), at + rng.choice((4, 32, 256)))
            made[at:at] = made[at:end] * rng.choice((1, 3))
    return bytes(made)


def nested(depth: int) -> bytes:
    """Return a CountRequest whose filter is a `not` of a `not`, so many times."""
    body = b""
    for _ in range(depth):
        body = b"\x1a" + varint(len(body)) + body
    return b"\x0a\x06fuzz-0\x12" + varint(len(body)) + body


def varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)
