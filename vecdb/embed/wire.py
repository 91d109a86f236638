"""What both ends of the worker's socket agree on, beside the messages of encoder.proto."""

from __future__ import annotations

# The line on the worker's standard output that says: models loaded, socket answering.
READY = b"ready\n"
# Trailing metadata of an error that makes sense to try again.
RETRY_AFTER = "retry-after-ms"
# Items of one Encode call, and about how many bytes of them. The client splits what is more: the
# model is as fast with calls of this size, and queries get in between.
CALL_ITEMS = 256
CALL_BYTES = 4 << 20


def message_bytes(text_bytes: int) -> int:
    """Return the cap of a message where no text is longer than text_bytes.

    A call of texts always fits, and so do the vectors of CALL_ITEMS texts at the largest dimension
    that limits.dim allows, 65,536.
    """
    return max(CALL_BYTES + text_bytes, CALL_ITEMS * 65_536 * 4) + (1 << 16)
