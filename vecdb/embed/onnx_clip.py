"""CLIP: two ONNX towers, for texts and for images, into one space.

Laid out as Hugging Face's exporter does: a text model whose `text_embeds` and a vision model whose
`image_embeds` are projected already. Leaves tokens to text_tokens.py, decoding to pixels.py.

Radford et al. 2021, arXiv:2103.00020.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from vecdb.embed.catalog import ModelSpec, read_verified
from vecdb.embed.encoder import HERE, I64, Batching, Execution, Prepared, Role
from vecdb.embed.pixels import Picture, Pixels, read_images
from vecdb.embed.pooling import finished, padded
from vecdb.embed.runtime import Graph, open_graph
from vecdb.embed.text_tokens import TextTokens
from vecdb.errors import FailedPrecondition
from vecdb.types import F32

TEXT_OUTPUT, IMAGE_OUTPUT = "text_embeds", "image_embeds"
_TEXT_INPUTS = frozenset({"input_ids", "attention_mask"})
_IMAGE_INPUTS = frozenset({"pixel_values"})


class OnnxClip:
    """An Encoder that takes texts and images alike."""

    def __init__(self, spec: ModelSpec, paths: Mapping[str, Path], execution: Execution) -> None:
        self._spec = spec
        self._pixels = Pixels(spec, execution.threads)
        self._tokens = TextTokens(spec, paths["tokenizer"])
        self._pad = self._checked_pad()
        self._towers = {
            role: _tower(spec, role, paths[role], execution)
            for role in ("text_model", "vision_model")
        }
        self._of_images([self._pixels.blank()])

    @property
    def batching(self) -> Batching:
        """It computes here."""
        return HERE

    def prepare(self, items: Sequence[str | bytes], role: Role) -> list[Prepared]:
        """Return the tokens of each text, and what the model sees of each image."""
        texts = {at: item for at, item in enumerate(items) if isinstance(item, str)}
        images = [at for at in range(len(items)) if at not in texts]
        read = dict(zip(images, read_images(self._pixels, items, images), strict=True))
        read.update(zip(texts, self._tokens.prepare(list(texts.values()), role), strict=True))
        return [read[at] for at in range(len(items))]

    def encode(self, batch: Sequence[I64 | Picture], deadline: float | None = None) -> F32:
        """Return the vectors of what prepare() made, (n, dim) float32. Raises NotFinite."""
        vectors = np.empty((len(batch), self._spec.dim), dtype=np.float32)
        pictures = {at: one for at, one in enumerate(batch) if isinstance(one, Picture)}
        texts = {at: one for at, one in enumerate(batch) if not isinstance(one, Picture)}
        if pictures:
            vectors[list(pictures)] = self._of_images(list(pictures.values()))
        if texts:
            # What stands behind the end token is not looked at, and so what it is has no effect.
            ids, mask = padded(list(texts.values()), self._pad)
            feed = {"input_ids": ids, "attention_mask": mask}
            vectors[list(texts)] = self._run("text_model", feed)
        return finished(vectors, self._spec.name, normalize=self._spec.normalize)

    def close(self) -> None:
        """Let go of the graphs."""
        self._towers.clear()

    def _of_images(self, pictures: Sequence[Picture]) -> F32:
        return self._run("vision_model", {"pixel_values": self._pixels.numbers(pictures)})

    def _run(self, role: str, feed: Mapping[str, F32 | I64]) -> F32:
        tower, output = self._towers[role], _OUTPUTS[role]
        vectors: F32
        (vectors,) = tower.run(
            [output], {name: array for name, array in feed.items() if name in tower.inputs}
        )
        if vectors.ndim != 2 or vectors.shape[1] != self._spec.dim:
            raise FailedPrecondition(
                f"model {self._spec.name}: {output} is {vectors.shape}, expected "
                f"(n, {self._spec.dim})"
            )
        return vectors

    def _checked_pad(self) -> int:
        """Return the id to fill with; by default the end token, as the model's own code does.

        Raises FailedPrecondition where a text does not end as the model was trained to see it: its
        vector is the one of the end token.
        """
        short, long = self._tokens.prepare(["a", "a " * self._spec.max_tokens], Role.DOCUMENT)
        end = int(short.input[-1])
        expected = self._spec.options.get("end_id", end)
        if not (end == int(long.input[-1]) == expected) or len(short.input) < 2:
            raise FailedPrecondition(
                f"model {self._spec.name}: texts end with token {end}, and with "
                f"{int(long.input[-1])} where they are cut; expected {expected}",
                hint="the tokenizer file must add the end token by itself",
            )
        return int(self._spec.options.get("pad_id", end))


_OUTPUTS = {"text_model": TEXT_OUTPUT, "vision_model": IMAGE_OUTPUT}
_INPUTS = {"text_model": _TEXT_INPUTS, "vision_model": _IMAGE_INPUTS}


def _tower(spec: ModelSpec, role: str, path: Path, execution: Execution) -> Graph:
    graph = open_graph(read_verified(path, spec.files[role]), path, execution)
    output, inputs = _OUTPUTS[role], _INPUTS[role]
    if graph.inputs - inputs or output not in graph.outputs:
        raise FailedPrecondition(
            f"model {spec.name}: {role} takes {', '.join(sorted(graph.inputs))} and gives "
            f"{', '.join(sorted(graph.outputs))}; expected {', '.join(sorted(inputs))} and {output}"
        )
    return graph
