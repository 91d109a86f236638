"""Image models that are a classifier in ONNX, tapped before its head.

Leaves decoding to pixels.py, the cut to graph_tap.py, the graph to runtime.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from vecdb.embed.catalog import ModelSpec, read_verified
from vecdb.embed.encoder import HERE, Batching, Execution, Prepared, Role
from vecdb.embed.graph_tap import Tapped, tapped
from vecdb.embed.pixels import Picture, PixelOptions, Pixels, read_images
from vecdb.embed.pooling import finished
from vecdb.embed.runtime import open_graph
from vecdb.errors import FailedPrecondition
from vecdb.types import F32


class OnnxImage:
    """An Encoder over what a convolutional network sees, averaged over the image."""

    def __init__(self, spec: ModelSpec, paths: Mapping[str, Path], execution: Execution) -> None:
        self._spec = spec
        self._pixels = Pixels(spec, execution.threads)
        path = paths["model"]
        self._output = spec.options.get("output", "")
        cut = tapped(read_verified(path, spec.files["model"]), self._output, path)
        self._batching = _batching(spec, cut, self._pixels.options)
        self._input = cut.input
        self._graph = open_graph(cut.graph, path, execution)
        self._vectors([self._pixels.blank()])

    @property
    def batching(self) -> Batching:
        """It computes here; one at a time where its graph takes no more."""
        return self._batching

    def prepare(self, items: Sequence[bytes], role: Role) -> list[Prepared]:
        """Return what the network sees of each image. Raises InvalidArgument, naming one."""
        return read_images(self._pixels, items)

    def encode(self, batch: Sequence[Picture], deadline: float | None = None) -> F32:
        """Return the vectors of images that prepare() made, (n, dim) float32. Raises NotFinite."""
        vectors = self._vectors(batch)
        return finished(vectors, self._spec.name, normalize=self._spec.normalize)

    def close(self) -> None:
        """Let go of the graph."""
        del self._graph

    def _vectors(self, batch: Sequence[Picture]) -> F32:
        """Return a vector per image: of a map of the image, (n, c, h, w), the mean over it."""
        numbers, dim = self._pixels.numbers(batch), self._spec.dim
        features: F32 = self._graph.run([self._output], {self._input: numbers})[0]
        if features.ndim == 4:
            last = features.shape[3] == dim and features.shape[1] != dim
            pooled: F32 = features.mean(axis=(1, 2) if last else (2, 3), dtype=np.float32)
        else:
            pooled = features.reshape(len(features), -1)
        if pooled.shape != (len(batch), dim):
            raise FailedPrecondition(
                f"model {self._spec.name}: {self._output} is {features.shape}, which makes "
                f"{pooled.shape[1]} numbers of an image, expected {dim}"
            )
        return pooled


def _batching(spec: ModelSpec, cut: Tapped, options: PixelOptions) -> Batching:
    """Return how many images the graph takes. Raises FailedPrecondition for another shape."""
    sides = (3, options.crop, options.crop)
    expected = sides if options.layout == "nchw" else (*sides[1:], 3)
    if cut.shape is None:
        return HERE
    found = cut.shape[1:]
    if len(found) != 3 or any(
        size not in (None, want) for size, want in zip(found, expected, strict=True)
    ):
        raise FailedPrecondition(
            f"model {spec.name}: the graph takes {cut.shape}, options.pixels makes "
            f"{(None, *expected)}",
            field="options.pixels",
        )
    if cut.shape[0] not in (None, 1):
        raise FailedPrecondition(
            f"model {spec.name}: the graph takes {cut.shape[0]} images at a time, never fewer",
            hint="export it for one image, or for any number",
        )
    return HERE if cut.shape[0] is None else Batching(items=1)
