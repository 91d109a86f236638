"""Entries of static-words over tiny files that a test writes."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from vecdb.embed import catalog
from vecdb.embed.encoder import Execution
from vecdb.embed.static_words import StaticWords

WORDS = ("the", "cat", "state-of-the-art", "Paris", "straße", "数据", "数据库", "库存", "हिन्दी")
VECTORS = np.random.default_rng(7).normal(size=(len(WORDS), 4)).astype(np.float32)

ENTRY = """
[models.{name}]
aliases = ["{name}-alias"]
kind = "static-words"
dim = 4
metric = "cosine"
max_tokens = {max_tokens}
pooling = "{pooling}"
normalize = true
casefold = {casefold}
license = "CC0-1.0"
query_prompt = "{query_prompt}"
"""


def text_of(words=WORDS, vectors=VECTORS) -> bytes:
    """Return the lines of a GloVe text; numbers as numpy prints them read back bit for bit."""
    return "".join(
        f"{word} {' '.join(map(str, vector.tolist()))}\n"
        for word, vector in zip(words, vectors, strict=True)
    ).encode()


def binary_of(words=WORDS, vectors=VECTORS, newline=b"\n") -> bytes:
    return b"%d %d\n" % vectors.shape + b"".join(
        word.encode() + b" " + vector.astype("<f4").tobytes() + newline
        for word, vector in zip(words, vectors, strict=True)
    )


def write_npy(path: Path, vectors=VECTORS) -> Path:
    np.save(path, vectors)
    return path


def entry(
    folder: Path,
    files: dict[str, bytes | Path],
    *,
    name: str = "tiny",
    pooling: str = "sif",
    casefold: bool = True,
    max_tokens: int = 64,
    query_prompt: str = "",
) -> str:
    """Return an entry of a catalogue in folder over files: contents, or paths in it."""
    text = ENTRY.format(
        name=name,
        pooling=pooling,
        casefold=str(casefold).lower(),
        max_tokens=max_tokens,
        query_prompt=query_prompt,
    )
    for role, content in files.items():
        path = content if isinstance(content, Path) else folder / f"{name}-{role}.dat"
        if not isinstance(content, Path):
            path.write_bytes(content)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        text += f'files.{role} = {{ path = "{path.name}", sha256 = "{digest}" }}\n'
    return text


def spec_of(folder: Path, files: dict[str, bytes | Path], **options: object) -> catalog.ModelSpec:
    own = folder / "own.toml"
    own.write_text(entry(folder, files, **options))  # type: ignore[arg-type]
    return catalog.load_catalog(str(own))["tiny"]


def model_of(folder: Path, files: dict[str, bytes | Path], **options: object) -> StaticWords:
    spec = spec_of(folder, files, **options)
    return StaticWords(spec, catalog.resolve_files(spec), Execution(1))
