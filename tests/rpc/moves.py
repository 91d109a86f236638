"""Models of word vectors to move spaces between, and what the points of a move are to be."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.embed.words import entry, text_of
from vecdb_client import Client, Collection

MINI, WORDS, FEW = "all-minilm-l6-v2", "words", "few"
KNOWN = tuple("the red blue cat dog house tree river stone bread tea cup rain sun road".split())
RARE = "rare"
"""A word that WORDS knows, and FEW does not."""


def write_catalog(folder: Path) -> Path:
    """Write the operator's own catalogue: word vectors of 8 and of 4 dimensions."""
    rng = np.random.default_rng(11)
    texts = []
    for name, words, dim in ((WORDS, (*KNOWN, RARE), 8), (FEW, KNOWN, 4)):
        vectors = rng.normal(size=(len(words), dim)).astype(np.float32)
        text = entry(folder, {"glove": text_of(words, vectors)}, name=name)
        texts.append(text.replace("dim = 4", f"dim = {dim}"))
    own = folder / "own.toml"
    own.write_text("".join(texts))
    return own


def sentence(rng: np.random.Generator) -> str:
    return " ".join(rng.choice(KNOWN, 5))


def fill(made: Collection, count: int, seed: int = 1) -> dict[str, str]:
    """Put points with a text each; return the texts by id."""
    rng = np.random.default_rng(seed)
    texts = {f"p{n}": sentence(rng) for n in range(count)}
    made.upsert([{"id": name, "text": text} for name, text in texts.items()])
    return texts


def check(db: Client, made: Collection, model: str, texts: dict[str, str]) -> None:
    """Each point has the vector that a model makes of its text, and there is no other point.

    Of many, the last are looked at, and some of the others.
    """
    assert made.count() == len(texts)
    names = list(texts)
    found = made.get(names[:-100:10] + names[-100:], with_vectors=True, with_texts=True)
    assert not found.missing
    expected = db.embed([texts[point.id] for point in found.points], model=model)
    for point, embedding in zip(found.points, expected, strict=True):
        assert list(point.vectors) == [""]
        assert dict(point.texts) == {"": texts[point.id]}
        np.testing.assert_allclose(point.vector, embedding.vector, atol=2e-5)


def nearest(db: Client, model: str, texts: dict[str, str], query: str) -> float:
    """Return the score of the best point for a query, by the model itself."""
    vectors = [one.vector for one in db.embed(texts.values(), model=model)]
    (asked,) = db.embed(query, model=model, role="query")
    return float((np.array(vectors) @ np.array(asked.vector)).max())
