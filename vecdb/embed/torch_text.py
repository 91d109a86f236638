"""Text models that are decoders: their weights, a configuration and a tokenizer file; needs torch.

Leaves tokens to decoder_tokens.py, the model to decoder.py, scheduling to batcher.py.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from mmap import mmap
from pathlib import Path

import numpy as np
import torch

from vecdb.embed.catalog import ModelSpec, map_verified, read_verified
from vecdb.embed.decoder import Decoder
from vecdb.embed.decoder_tokens import DecoderTokens, Prompted
from vecdb.embed.encoder import HERE, I64, Batching, Execution, Prepared, Role
from vecdb.embed.pooling import finished, padded
from vecdb.embed.safetensors_file import Tensors
from vecdb.errors import Overloaded
from vecdb.types import F32

log = logging.getLogger(__name__)


class TorchText:
    """An Encoder over a decoder.

    In float32 a vector is the same whatever is beside it; bfloat16 rounds after each step, so that
    it differs by some thousandths with the length that its batch is padded to.
    """

    def __init__(self, spec: ModelSpec, paths: Mapping[str, Path], execution: Execution) -> None:
        self._spec = spec
        config = read_verified(paths["config"], spec.files["config"])
        tensors = Tensors(_mapped(spec, paths))
        began = time.monotonic()
        self._decoder = Decoder(spec, config, paths["config"], tensors, execution)
        log.info("model %s: built in %.1f s", spec.name, time.monotonic() - began)
        self._tokens = DecoderTokens(spec, paths["tokenizer"], self._decoder.vocabulary)

    @property
    def batching(self) -> Batching:
        """It computes here."""
        return HERE

    def prepare(self, items: Sequence[str], role: Role) -> list[Prepared]:
        """Return what the model reads of each text: ids, or Prompted where the prompt is apart."""
        return self._tokens.prepare(items, role)

    def encode(self, batch: Sequence[I64 | Prompted], deadline: float | None = None) -> F32:
        """Return the vectors of what prepare() made, (n, dim) float32.

        Raises NotFinite, and Overloaded where the device's memory does not suffice for the batch.
        """
        ids, mask = padded([one.ids if isinstance(one, Prompted) else one for one in batch])
        prompts = [one.prompt if isinstance(one, Prompted) else 0 for one in batch]
        try:
            with torch.inference_mode():
                states = self._decoder.states(ids, mask)
                vectors = _pooled(states, mask, np.array(prompts), self._spec.pooling)
                found: F32 = vectors.float().cpu().numpy()
        except torch.OutOfMemoryError:
            torch.cuda.empty_cache()
            raise Overloaded(
                f"model {self._spec.name}: a batch of {ids.size} tokens does not fit into the "
                f"memory of {self._decoder.device}",
                hint="lower embed.batch_tokens",
                retry_after_s=1.0,
            ) from None
        return finished(found, self._spec.name, normalize=self._spec.normalize)

    def close(self) -> None:
        """Let go of the weights."""
        del self._decoder


def _pooled(states: torch.Tensor, mask: I64, prompts: I64, pooling: str) -> torch.Tensor:
    """Return the vectors of texts, (n, dim), of those of their tokens, (n, t, dim)."""
    lengths = mask.sum(axis=1)
    if pooling == "last":
        return states[torch.arange(len(states)), torch.from_numpy(lengths - 1)]
    own = (mask > 0) & (np.arange(mask.shape[1]) >= prompts[:, None])
    weights = own / own.sum(axis=1, keepdims=True)
    share = torch.from_numpy(weights.astype(np.float32)).to(states.device)
    return torch.einsum("ntd,nt->nd", states.float(), share)


def _mapped(spec: ModelSpec, paths: Mapping[str, Path]) -> dict[Path, mmap]:
    """Return the files of the weights, verified, by path."""
    parts = sorted(role for role in paths if role.startswith("weights"))
    found: dict[Path, mmap] = {}
    for number, role in enumerate(parts, 1):
        began = time.monotonic()
        path = paths[role]
        content = map_verified(path, spec.files[role])
        found[path] = content
        log.info(
            "model %s: weights %d of %d verified, %.2f GB in %.1f s",
            spec.name,
            number,
            len(parts),
            len(content) / 1e9,
            time.monotonic() - began,
        )
    return found
