"""Images of ten classes: Fashion-MNIST where it is installed, else made-up ones.

Xiao, Rasul and Vollgraf 2017, arXiv:1708.07747; Debian: `apt-get install dataset-fashion-mnist`.
"""

from __future__ import annotations

import gzip
import io
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

FOLDER = Path("/usr/share/datasets/fashion-mnist")
CLASSES = 10
SIDE = 28


class Pictures(NamedTuple):
    """PNG files, their pixels (n, SIDE, SIDE) uint8, and the class of each (n,)."""

    name: str
    files: list[bytes]
    pixels: NDArray[np.uint8]
    classes: NDArray[np.int64]


def pictures(count: int) -> Pictures:
    """Return that many images."""
    if FOLDER.is_dir():
        name = "fashion-mnist, test half"
        pixels = _array("t10k-images-idx3-ubyte.gz", 16).reshape(-1, SIDE, SIDE)[:count]
        classes = _array("t10k-labels-idx1-ubyte.gz", 8)[:count].astype(np.int64)
    else:
        name = "made-up waves of ten kinds"
        classes = np.arange(count) % CLASSES
        pixels = _waves(classes)
    return Pictures(name, [_png(one) for one in pixels], pixels, classes)


def _array(name: str, header_bytes: int) -> NDArray[np.uint8]:
    return np.frombuffer(gzip.decompress((FOLDER / name).read_bytes()), np.uint8, -1, header_bytes)


def _waves(classes: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Return waves whose length and direction say the class; each begins elsewhere, with noise."""
    draw = np.random.default_rng(0)
    y, x = np.mgrid[0:SIDE, 0:SIDE]
    made = np.empty((len(classes), SIDE, SIDE))
    for row, kind in enumerate(classes):
        angle, length = (kind % 5) * np.pi / 5, 1.0 if kind < 5 else 2.5
        wave = np.sin((x * np.cos(angle) + y * np.sin(angle)) / length + draw.uniform(0, 6.3))
        made[row] = 128 + 80 * wave + draw.normal(0, 12, wave.shape)
    return made.clip(0, 255).astype(np.uint8)


def _png(pixels: NDArray[np.uint8]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()
