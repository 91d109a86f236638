"""How surely a chunk has to do with a question, on one scale for all models.

A similarity says little by itself: some models give 0 to what has nothing to do with a question,
others .75. So each model is asked once for its own ends of the scale: probes.json has questions
with their answers, and what a question gives with its own answer is one end, with the answers to
others the other. A model that takes others' answers for its own, as an English one does with
Chinese, has no scale, and words alone count then.

Beside that counts which share of the question's words the chunk has, each weighed by how rare it is
in the collection: a rare name that stands in the chunk says more than any similarity. Both go
through one logistic function, fitted as benchmarks/README.md says.
"""

from __future__ import annotations

import json
import math
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from vecdb import kernel
from vecdb.analysis import analyze
from vecdb.collection.collection import Collection
from vecdb.rag.documents import SECTION, TEXT, encoded_text
from vecdb.segment.vectors import KERNEL_METRIC, comparable, scores_and_distances
from vecdb.storage.codec import RecordView
from vecdb.types import F32, Metric

DRAWN: Final = 256
DRAWN_BYTES: Final = 16 << 20
KEPT: Final = 256
"""Collections whose draw is kept, some ten kilobytes each."""
AGE_S: Final = 600.0
GROWTH: Final = 1.25
"""A collection that has grown or shrunk by this is drawn from anew."""
OWN_ANSWERS_MIN: Final = 0.7
"""The share of questions whose own answer a model must find before all others."""

# log-odds, fitted on 30 questions that a collection answers and 170 that it does not.
VECTORS: Final = (-6.5, 12.0)
"""At 0, and per 1 of the scale."""
WORDS_BESIDE: Final = 3.0
WORDS: Final = (-2.3, 10.9)

_PROBES: Final = Path(__file__).with_name("probes.json")


class Scale(NamedTuple):
    """Mean similarities of a model: of questions to others' answers, and to their own."""

    unrelated: float
    related: float


Probe = Callable[[Sequence[str], Sequence[str]], tuple[F32, F32]]
"""Questions and answers to their vectors (n, dim), in the roles of queries and of documents."""


def scale(language: str, metric: Metric, probe: Probe) -> Scale | None:
    """Return a model's scale for questions of a language, "en" or "zh"; None where it has none.

    Raises what `probe` raises.
    """
    pairs = json.loads(_PROBES.read_text(encoding="utf-8"))[language]
    questions, answers = probe([one for one, _ in pairs], [other for _, other in pairs])
    scores = np.stack([_scores(answers, question, metric) for question in questions])
    own = np.arange(len(pairs))
    if np.mean(scores.argmax(axis=1) == own) < OWN_ANSWERS_MIN:
        return None
    others = scores[~np.eye(len(pairs), dtype=bool)]
    return Scale(float(others.mean()), float(scores[own, own].mean()))


class Drawn(NamedTuple):
    """Chunks of a collection, drawn at random: in how many of them each word stands."""

    held: Counter[str]
    chunks: int


class Draws:
    """Draws of collections, kept for a while. Safe for any number of threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # guards the next
        self._kept: OrderedDict[tuple[str, str], tuple[float, int, Drawn]] = OrderedDict()

    def of(self, collection: Collection, language: str) -> Drawn:
        """Return chunks of a collection. language: by which their words are stemmed."""
        key, points, now = (collection.uuid, language), collection.points(), time.monotonic()
        with self._lock:
            drawn_at, before, drawn = self._kept.get(key, (-math.inf, 0, _NONE))
        similar = before <= GROWTH * points and points <= GROWTH * before
        if similar and now - drawn_at < AGE_S:
            return drawn
        drawn = _drawn(collection, language)
        with self._lock:
            self._kept[key] = now, points, drawn
            self._kept.move_to_end(key)
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        return drawn

    def forget(self, collection: Collection) -> None:
        """Keep nothing of a collection."""
        with self._lock:
            for key in [key for key in self._kept if key[0] == collection.uuid]:
                del self._kept[key]


class Judge:
    """Judges chunks beside one question.

    scale: of the model, None where similarities say nothing. language: of the words.
    """

    def __init__(self, drawn: Drawn, question: str, scale: Scale | None, language: str) -> None:
        self._language = language
        self._weights = _weights(drawn, question, language)
        self._scale = scale

    def relevance(self, similarity: float | None, texts: Iterable[str]) -> float:
        """Return 0 to 1. similarity: of chunk and question, None where it is not known.

        texts: of the chunk, its section included.
        """
        share = self.covered(texts)
        if similarity is None or self._scale is None:
            return _logistic(WORDS[0] + WORDS[1] * share) if self._weights else 0.0
        unrelated, related = self._scale
        place = (similarity - unrelated) / max(related - unrelated, 1e-6)
        return _logistic(VECTORS[0] + VECTORS[1] * place + WORDS_BESIDE * share)

    def covered(self, texts: Iterable[str]) -> float:
        """Return the share of the question's words that stand in texts, by weight: 0 to 1."""
        if not self._weights:
            return 0.0
        held: set[str] = set()
        for text in texts:
            held.update(analyze(text, self._language).words)
        found = sum(weight for word, weight in self._weights.items() if word in held)
        return found / sum(self._weights.values())


def sure(score: float) -> float:
    """Return the relevance that a cross-encoder's score means: they are trained as log-odds."""
    return _logistic(score)


def _logistic(odds: float) -> float:
    return 1.0 / (1.0 + math.exp(-max(-60.0, min(60.0, odds))))


def _weights(drawn: Drawn, question: str, language: str) -> dict[str, float]:
    """Return the words of a question, each with its rarity: how little its presence surprises."""
    words = set(analyze(question, language).words)
    return {word: math.log((drawn.chunks + 1) / (drawn.held[word] + 0.5)) for word in words}


def _scores(vectors: F32, vector: F32, metric: Metric) -> F32:
    """Return the scores that searches give: (n, dim) vectors beside one, in their order."""
    mine, theirs = comparable(vector[None], metric)[0], comparable(vectors, metric)
    rows, found = kernel.scan_f32(KERNEL_METRIC[metric], theirs, mine, len(theirs), None)
    scores = np.empty(len(theirs), np.float32)
    scores[rows] = scores_and_distances(metric, found.tolist())[0]
    return scores


def _drawn(collection: Collection, language: str) -> Drawn:
    """Return a draw; fewer chunks where much of what was drawn is gone or no chunk."""
    held: Counter[str] = Counter()
    chunks = 0
    for record in collection.sample(DRAWN, DRAWN_BYTES):
        text = _text_of(record)
        if text is not None:
            chunks += 1
            held.update(set(analyze(text, language).words))
    return Drawn(held, chunks)


def _text_of(record: RecordView) -> str | None:
    """Return what a chunk says, its section included; None of a point that is no chunk."""
    payload = json.loads(bytes(record.payload) or b"{}")
    text = payload.get(TEXT)
    return encoded_text(payload.get(SECTION, ""), text) if isinstance(text, str) else None


_NONE: Final = Drawn(Counter(), 0)
