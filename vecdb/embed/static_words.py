"""Text models that are a vector per word: Word2Vec, GloVe and their kin. No inference library.

A text's vector is the mean of its words' vectors, weighted so that frequent words say little:

  sif   a / (a + p), where p is the share of all text that the word is (Arora et al. 2017, "A Simple
        but Tough-to-Beat Baseline for Sentence Embeddings", without its second step, which needs
        the collection). p comes from the word's rank in its file by Zipf's law, so the file must
        be in order of frequency, as those of GloVe and Word2Vec are.
  idf   the weight that a file gives; a word that is not in it is as rare as the rarest that is.

What is a word, the vocabulary says: one with hyphens, points or apostrophes inside is looked up
whole, then in its parts; what is written without spaces is cut into the longest words that there
are. Leaves the reading of files to word_files.py.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np

from vecdb.embed.catalog import ModelSpec
from vecdb.embed.encoder import HERE, I64, Batching, Execution, Prepared, Role
from vecdb.embed.word_files import WordVectors, read_vectors, read_weights
from vecdb.errors import Corrupt, NotFinite
from vecdb.types import F32

# The paper's a is 1e-3 to 1e-4. By GloVe 6B 50d, nDCG@10 on Cranfield was .115 with equal weights,
# .131 with 1e-3, .144 with 1e-4, .157 with 1e-5, and .158 to .159 with smaller ones; of MiniLM's
# ten nearest of 3,000 package summaries it found .076, .088, .096, .109 and .107 to .110.
# Whoever changes it, or what a word is, gives the pooling another name: stored vectors are bound to
# the fingerprint, which has that and not this code.
SIF_A = 1e-5
# Of a word in what is written without spaces. Longer ones are not looked for.
MATCH_CHARACTERS_MAX = 24
CHECKED_ROWS = 1 << 16

_UNSPACED = (
    "\u3005\u3007\u3021-\u3029\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # Han
    "\u3041-\u3096\u3099-\u309f\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff"  # Hiragana, Katakana
    "\u1100-\u11ff\u3130-\u318f\ua960-\ua97f\uac00-\ud7ff"  # Hangul: suffixes without spaces
    "\u0e01-\u0e4e\u0e81-\u0edf\u1000-\u109f\u1780-\u17d3"  # Thai, Lao, Myanmar, Khmer
)


class StaticWords:
    """An Encoder over a vocabulary and its vectors.

    A word's id is its row. Words whose vector is zero say nothing and are left out. Raises Corrupt
    when a file is not the one of the catalogue, or not what its role says.
    """

    def __init__(self, spec: ModelSpec, paths: Mapping[str, Path], execution: Execution) -> None:
        self._spec = spec
        self._prompts = {Role.QUERY: spec.query_prompt, Role.DOCUMENT: spec.document_prompt}
        found = read_vectors(spec.files, paths, spec.dim)
        if not found.words:
            raise Corrupt(f"model {spec.name} has no word", hint="look at its files")
        self._vectors = found.vectors
        self._rows = self._index(found)
        self._longest = min(
            MATCH_CHARACTERS_MAX,
            max((len(word) for word in self._rows if _begins_run(word)), default=0),
        )
        self._weights = (
            self._idf(read_weights(paths["idf"], spec.files["idf"]))
            if spec.pooling == "idf"
            else _sif(len(found.words))
        )

    @property
    def batching(self) -> Batching:
        """It computes here."""
        return HERE

    def prepare(self, items: Sequence[str], role: Role) -> list[Prepared]:
        """Return the rows of each text's known words, cut to max_tokens of them."""
        prompt = self._prompts[role]
        return [self._tokens(prompt + text) for text in items]

    def encode(self, batch: Sequence[I64], deadline: float | None = None) -> F32:
        """Return the vectors of texts that prepare() made, (n, dim) float32.

        Raises NotFinite where words cancel each other out.
        """
        vectors = np.empty((len(batch), self._spec.dim), dtype=np.float32)
        for row, ids in enumerate(batch):
            weights = self._weights[ids]
            vector = weights @ self._vectors[ids].astype(np.float64)
            scale = np.linalg.norm(vector) if self._spec.normalize else weights.sum()
            if scale == 0:
                raise NotFinite(f"model {self._spec.name}: the words of a text add up to nothing")
            vectors[row] = vector / scale
        return vectors

    def close(self) -> None:
        """Let go of the vectors."""
        del self._vectors

    def _tokens(self, text: str) -> Prepared:
        ids: list[int] = []
        for row in self._found(_form(text, self._spec.casefold)):
            if len(ids) == self._spec.max_tokens:
                return Prepared(np.array(ids, dtype=np.int64), True)
            ids.append(row)
        return Prepared(np.array(ids, dtype=np.int64), False)

    def _found(self, text: str) -> Iterator[int]:
        """Yield the rows of the known words of a text in its form."""
        rows = self._rows
        for match in _pattern().finditer(text):
            run, word = match.groups()
            if run is not None:
                yield from self._longest_matches(run)
            elif (row := rows.get(word)) is not None:
                yield row
            else:
                parts = _parts().split(word)
                yield from (rows[part] for part in parts if len(parts) > 1 and part in rows)

    def _longest_matches(self, run: str) -> Iterator[int]:
        """Yield the rows of the words of a run, each the longest there; others are stepped over."""
        at = 0
        while at < len(run):
            for end in range(min(at + self._longest, len(run)), at, -1):
                row = self._rows.get(run[at:end])
                if row is not None:
                    yield row
                    at = end
                    break
            else:
                at += 1

    def _index(self, found: WordVectors) -> dict[str, int]:
        """Return the row of each word in its form; of words that share one, the most frequent's."""
        words, vectors = found
        rows: dict[str, int] = {}
        if len(set(words)) != len(words):
            twice = next(a for a, b in pairwise(sorted(words)) if a == b)
            raise Corrupt(f"model {self._spec.name}: the word {twice!r} is there twice")
        for start in range(0, len(words), CHECKED_ROWS):
            block = vectors[start : start + CHECKED_ROWS]
            with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite
                finite = np.isfinite(block.astype(np.float32, copy=False)).all(axis=1)
            if not finite.all():
                word = words[start + int(np.argmin(finite))]
                raise Corrupt(f"model {self._spec.name}: the vector of {word!r} is not finite")
            for at in np.flatnonzero(block.any(axis=1)).tolist():
                word = words[start + at]
                form = _form(word, self._spec.casefold)
                # The very same string where it can be, and not one more of each.
                rows.setdefault(word if form == word else form, start + at)
        return rows

    def _idf(self, said: Mapping[str, float]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        """Return the weight of each row."""
        weights = np.full(len(self._vectors), max(said.values()))
        formed = {_form(word, self._spec.casefold): weight for word, weight in said.items()}
        for word, row in self._rows.items():
            if word in formed:
                weights[row] = formed[word]
        return weights


def _sif(n: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Return the weights of n words in order of frequency."""
    shares = 1 / np.arange(1, n + 1)
    shares /= shares.sum()
    return SIF_A / (SIF_A + shares)


def _form(text: str, casefold: bool) -> str:
    """Return the form in which words are compared: NFC, and case folded where the entry says so."""
    if text.isascii():
        return text.lower() if casefold else text
    return unicodedata.normalize("NFC", text.casefold() if casefold else text)


@cache
def _pattern() -> re.Pattern[str]:
    """Return what finds a run to be cut into words, or a word, with what may stand inside it."""
    # `\w` leaves out the marks that vowels of Indic scripts, among others, are written with.
    marks = "".join(
        mark
        for mark in map(chr, range(0x300, 0x1E95B))
        if unicodedata.category(mark) in ("Mn", "Mc") and not re.match(f"[{_UNSPACED}]", mark)
    )
    letter = rf"(?:[^\W{_UNSPACED}]|[{marks}])"
    return re.compile(rf"([{_UNSPACED}]+)|({letter}+(?:[-.,'\u2019&/]{letter}+)*)")


def _begins_run(word: str) -> bool:
    found = None if word.isascii() else _pattern().match(word)
    return found is not None and found[1] is not None


@cache
def _parts() -> re.Pattern[str]:
    """Return what parts a word that is not known whole. Word2Vec joins phrases by underscores."""
    return re.compile("[-.,'\u2019&/_]")
