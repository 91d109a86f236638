"""How far a model in a smaller precision is from itself in float32, which decides whether it runs.

Asked when it is loaded: some texts, or images, are encoded in both.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vecdb.embed.catalog import ModelSpec
from vecdb.embed.encoder import Encoder, Item, Output, Pair, Role
from vecdb.errors import FailedPrecondition, VecdbError
from vecdb.types import SparseVector

COSINE_MOST = 1e-2
"""Of 1 - cosine, between the vectors of an item; of a re-ranker, of a score, as a share of the span
of all."""

_QUERY = "which database stores vectors"
_TEXTS = (
    "hi",
    "A vector database finds the rows that are nearest to a query.",
    "def closest(rows, query): return max(rows, key=lambda row: row @ query)",
    "Die Katze sitzt auf der Matte, und draußen regnet es seit drei Tagen.",
    "An invoice was sent twice, and the customer asks for a refund of the second payment. " * 6,
    "0.5 mg/kg twice daily; contraindicated with MAO inhibitors (see section 4.3)",
    "12345 67890 !? #tag https://example.org/path?x=1&y=2",
    "one two three four five six seven eight nine ten " * 20,
)
_SIDE = 64


def probes(takes: frozenset[str]) -> list[Item]:
    """Return items of every sort that a model takes."""
    items: list[Item] = []
    if "text" in takes:
        items += _TEXTS
    if "pair" in takes:
        items += [Pair(_QUERY, text) for text in _TEXTS]
    if "image" in takes:
        items += [_picture(number) for number in range(4)]
    return items


def outputs(encoder: Encoder, items: Sequence[Item]) -> list[Output]:
    """Return what a model makes of items that it takes, one by one."""
    found: list[Output] = []
    for item in items:
        (read,) = encoder.prepare([item], Role.DOCUMENT)
        if not len(read.input):
            continue
        (output,) = encoder.encode([read.input])
        found.append(output)
    return found


def check_precision(
    spec: ModelSpec, precision: str, exact: Sequence[Output], rounded: Sequence[Output]
) -> float:
    """Return the greatest distance between outputs in float32 and in a smaller precision.

    Raises FailedPrecondition, with the figures, where it is more than COSINE_MOST.
    """
    for output in (*exact, *rounded):
        if isinstance(output, VecdbError):
            raise output
    if spec.of_kind.gives == "score":
        scores, others = np.concatenate([exact, rounded]).astype(np.float64).reshape(2, -1)
        distances = np.abs(scores - others) / max(float(np.ptp(scores)), 1e-6)
    else:
        distances = np.array([_apart(a, b) for a, b in zip(exact, rounded, strict=True)])
    worst = float(distances.max())
    if not worst <= COSINE_MOST:
        raise FailedPrecondition(
            f"model {spec.name} in {precision} is {worst:.2g} from itself in float32 at the "
            f"worst of {len(exact)} items, {float(np.median(distances)):.2g} at the median; "
            f"at most {COSINE_MOST:g} is taken for the same",
            hint="set embed.precision to float32",
        )
    return worst


def _apart(a: Output, b: Output) -> float:
    """Return 1 - cosine of two vectors."""
    if isinstance(a, SparseVector) and isinstance(b, SparseVector):
        indices = np.union1d(a.indices, b.indices)
        first, second = (_dense(one, indices) for one in (a, b))
    else:
        first, second = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if not first.any() or not second.any():
        return float(first.any() != second.any())
    return 1.0 - float(first @ second / (np.linalg.norm(first) * np.linalg.norm(second)))


def _dense(vector: SparseVector, indices: np.ndarray) -> NDArray[np.float64]:
    found = np.zeros(len(indices))
    found[np.searchsorted(indices, vector.indices)] = vector.values
    return found


def _picture(number: int) -> bytes:
    """Return a PNG of coloured waves with some noise, another one for each number."""
    y, x = np.mgrid[:_SIDE, :_SIDE] / _SIDE
    waves = [np.sin((number + 2) * (channel + 1) * (x + y * number)) for channel in range(3)]
    noise = np.random.default_rng(number).normal(0, 0.2, (_SIDE, _SIDE, 3))
    pixels = np.clip((np.stack(waves, axis=2) + noise + 1.5) * 80, 0, 255).astype(np.uint8)
    # A line is its bytes behind a 0, for "not filtered".
    lines = np.concatenate([np.zeros((_SIDE, 1), np.uint8), pixels.reshape(_SIDE, -1)], axis=1)
    header = struct.pack(">IIBBBBB", _SIDE, _SIDE, 8, 2, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(lines.tobytes())), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(part)) + name + part + struct.pack(">I", zlib.crc32(name + part))
        for name, part in parts
    )
