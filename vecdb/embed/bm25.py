"""Texts to the words in them, weighed as BM25 weighs them: a sparse model that needs no weights.

A stored text has a value for each of its words, the part of BM25 that depends on the text alone;
a query has 1 for each. What is left, how rare a word is, a sparse space with `idf` brings in as it
is searched. So scores are BM25's, but for the average length of a text, which is an option here:
statistics of a collection would make a vector depend on when it was made.

Robertson & Zaragoza 2009. Words are those of analysis.py, as for text fields; an index is a word's
hash, 32 bits of it: of 100,000 words some two share theirs with another.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from vecdb.analysis import LANGUAGES, analyze
from vecdb.embed.catalog import ModelSpec
from vecdb.embed.encoder import HERE, Batching, Execution, Prepared, Role
from vecdb.embed.sparse_values import VALUES_MAX
from vecdb.errors import FailedPrecondition
from vecdb.types import U32, SparseVector

# What stored vectors were made with, where an entry says nothing: these stay as they are.
K1, B = 1.2, 0.75
AVERAGE_WORDS = 150.0
"""Of a passage. On Cranfield, whose texts have 170, settings of 100, 170, 256 and 512 give an
nDCG@10 of .387, .381, .374 and .356; a text field, which knows the average, .382."""
K1_MAX = 100.0
HASHES_CACHED = 1 << 16


class Terms:
    """The words of a text and their weights; as long as the text has words."""

    def __init__(self, vector: SparseVector, words: int) -> None:
        self.vector = vector
        self._words = words

    def __len__(self) -> int:
        """Return how many words were read."""
        return self._words


class Bm25:
    """An Encoder that counts words. Raises FailedPrecondition for options that cannot be."""

    def __init__(self, spec: ModelSpec, paths: Mapping[str, Path], execution: Execution) -> None:
        options = spec.options
        self._most = spec.max_tokens
        self._prompts = {Role.QUERY: spec.query_prompt, Role.DOCUMENT: spec.document_prompt}
        self._language = str(options.get("language", ""))
        self._k1 = float(options.get("k1", K1))
        self._b = float(options.get("b", B))
        self._average = float(options.get("average_words", AVERAGE_WORDS))
        if self._language and self._language not in LANGUAGES:
            raise FailedPrecondition(
                f"model {spec.name}: no language {self._language!r}; there are "
                f"{', '.join(sorted(LANGUAGES))}, and '' for none"
            )
        if not (0 <= self._k1 <= K1_MAX and 0 <= self._b <= 1 and 1 <= self._average < np.inf):
            raise FailedPrecondition(
                f"model {spec.name}: k1 is 0 to {K1_MAX:g}, b 0 to 1, average_words 1 or more; got "
                f"{self._k1:g}, {self._b:g} and {self._average:g}"
            )

    @property
    def batching(self) -> Batching:
        """It computes here."""
        return HERE

    def prepare(self, items: Sequence[str], role: Role) -> list[Prepared]:
        """Return the words of each text, cut where there would be too many, and their weights."""
        return [self._read(self._prompts[role] + text, role) for text in items]

    def encode(self, batch: Sequence[Terms], deadline: float | None = None) -> list[SparseVector]:
        """Return the sparse vectors of texts that prepare() made."""
        return [terms.vector for terms in batch]

    def close(self) -> None:
        """There is nothing to give back."""

    def _read(self, text: str, role: Role) -> Prepared:
        words = analyze(text, self._language).words
        indices = np.fromiter(map(_index, words), np.uint32, len(words))
        kept = _within(indices, self._most)
        distinct, counts = np.unique(indices[:kept], return_counts=True)
        if role is Role.QUERY:
            values = np.ones(len(distinct), np.float32)
        else:
            length = 1 - self._b + self._b * kept / self._average
            values = (counts * (self._k1 + 1) / (counts + self._k1 * length)).astype(np.float32)
        return Prepared(Terms(SparseVector(distinct, values), kept), kept < len(words))


def _within(indices: U32, most: int) -> int:
    """Return how many leading words are read: `most`, and VALUES_MAX different ones."""
    if len(indices) <= VALUES_MAX:
        return min(len(indices), most)
    firsts = np.sort(np.unique(indices, return_index=True)[1])
    too_many = firsts[VALUES_MAX : VALUES_MAX + 1]
    return min([len(indices), most, *map(int, too_many)])


@lru_cache(HASHES_CACHED)
def _index(word: str) -> int:
    return int.from_bytes(hashlib.blake2b(word.encode(), digest_size=4).digest(), "little")
