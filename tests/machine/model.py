"""What a collection must hold and find, in a dict and numpy: the machine's other side."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from tests.model import TEXT_FIELDS, Clash, Payload, holds, matches_text, patched
from tests.read_model import values_at
from vecdb.analysis import analyze
from vecdb.types import Filter, Match, MatchesText
from vecdb_client import Delete, Patch, Point

Vector: TypeAlias = np.ndarray | dict[int, float]
"""Dense (dim,), several (n, dim), or sparse."""
Vectors: TypeAlias = dict[str, Vector]
Ranking: TypeAlias = list[tuple[float, str]]
"""Scores and ids, best first."""
DISTANCES = {"euclid": 2, "manhattan": 1}
"""Metrics that are norms of a difference, and which."""


@dataclass
class Stored:
    vectors: Vectors
    payload: Payload
    version: int
    expires: bool


@dataclass
class ModelCollection:
    """Points by id; every answer by looking at all of them.

    metrics: of the dense and multi-dense spaces. ttl: whether points are put that expire, some day.
    idf: whether queries in sparse spaces are weighted.
    """

    metrics: dict[str, str]
    points: dict[str, Stored] = field(default_factory=dict)
    ttl: bool = False
    idf: bool = False

    # --- writes

    def put(
        self,
        name: str,
        vectors: dict[str, Any],
        payload: Payload | None,
        version: int,
        expires: bool | None = None,
    ) -> None:
        stored = json.loads(json.dumps(payload or {}))
        kept = {space: as_held(vector) for space, vector in vectors.items()}
        expires = self.ttl if expires is None else expires
        self.points[name] = Stored(kept, stored, version, expires)

    def version(self, name: str) -> int:
        """Return the version that if_version speaks of; 0 where there is no point."""
        return self.points[name].version if name in self.points else 0

    def apply(self, operation: Point | Patch | Delete, seq: int) -> tuple[str, int] | None:
        """Do an operation of the write that got this seq, or return the reason and the version."""
        name, there = operation.id, self.version(operation.id)
        if operation.if_version not in (None, there):
            return "VERSION_MISMATCH", there
        if isinstance(operation, Delete):
            self.delete(name)
        elif isinstance(operation, Point):
            self.put(name, dict(operation.vectors or {}), operation.payload, seq)
        elif not there:
            return "POINT_NOT_FOUND", 0
        else:
            held, one = self.points[name], operation
            try:
                payload = patched(held.payload, one.set, one.unset, one.append, one.remove)
            except Clash:
                return "PATH_CLASH", there
            vectors = dict(held.vectors)
            for space, vector in (one.vectors or {}).items():
                if vector is None:
                    vectors.pop(space, None)
                else:
                    vectors[space] = as_held(vector)
            self.points[name] = Stored(vectors, payload, seq, held.expires)
        return None

    def delete(self, name: str) -> bool:
        return self.points.pop(name, None) is not None

    def drop_space(self, space: str) -> None:
        for stored in self.points.values():
            stored.vectors.pop(space, None)

    # --- reads

    def matching(self, *filters: Filter | None) -> dict[str, Stored]:
        """Return the points that all filters let through."""
        return {
            name: stored
            for name, stored in self.points.items()
            if all(
                one is None or holds(one, stored.payload, name, frozenset(stored.vectors))
                for one in filters
            )
        }

    def score(self, space: str, stored: Vector, query: Vector) -> float | None:
        """Return the score of a point's vector; None where sparse ones have no index in common."""
        if isinstance(stored, dict):
            assert isinstance(query, dict)
            both = stored.keys() & query.keys()
            return sum(stored[at] * query[at] for at in both) if both else None
        a, b = stored.astype(np.float64), np.asarray(query, np.float64)
        metric = self.metrics[space]
        if metric == "cosine":
            a, b = directions(a), directions(b)
        if a.ndim == 2:
            return float((b @ a.T).max(axis=1).sum())
        if metric in DISTANCES:
            return -float(np.linalg.norm(a - b, DISTANCES[metric]))
        return float(a @ b)

    def near(self, space: str, query: object, *filters: Filter | None) -> Ranking:
        """Return all matching points that have a vector in a space, best first."""
        vector = as_held(query)
        if isinstance(vector, dict) and self.idf:
            vector = self.weighted(space, vector)
        found = {
            name: self.score(space, stored.vectors[space], vector)
            for name, stored in self.matching(*filters).items()
            if space in stored.vectors
        }
        return ranked((score, name) for name, score in found.items() if score is not None)

    def weighted(self, space: str, query: dict[int, float]) -> dict[int, float]:
        """Return a query whose values are multiplied by the idf of their index."""
        held = [one.vectors[space] for one in self.points.values() if space in one.vectors]
        counts = Counter(at for vector in held for at in vector)
        return {
            at: value * math.log(1 + (len(held) - counts[at] + 0.5) / (counts[at] + 0.5))
            for at, value in query.items()
        }

    def with_vector(self, space: str) -> list[str]:
        return sorted(name for name, one in self.points.items() if space in one.vectors)

    def best_scored(
        self, positive: list[str], negative: list[str], chosen: Filter | None
    ) -> Ranking:
        """Return all matching points but the examples by the best score, best first."""

        def best(one: Vector, names: list[str]) -> float:
            scores = [self.score("", one, self.points[name].vectors[""]) for name in names]
            return max((score for score in scores if score is not None), default=-math.inf)

        found = []
        for name, one in self.matching(chosen).items():
            if "" in one.vectors and name not in {*positive, *negative}:
                good, bad = best(one.vectors[""], positive), best(one.vectors[""], negative)
                score = (1 + (x := max(good, bad)) / (1 + abs(x))) / 2
                found.append((score if good > bad else -score, name))
        return ranked(found)

    def average(self, positive: list[str], negative: list[str]) -> np.ndarray:
        """Return the vector that examples stand for together."""

        def mean(names: list[str]) -> np.ndarray:
            held = np.array([self.points[name].vectors[""] for name in names], np.float64)
            return (directions(held) if self.metrics[""] == "cosine" else held).mean(axis=0)

        return 2 * mean(positive) - mean(negative) if negative else mean(positive)

    def by_words(
        self, text: str, match: Match, paths: list[str], *filters: Filter | None
    ) -> Ranking:
        """Return the matching points whose text fields hold words, by BM25 (k1 1.2, b 0.75)."""
        scores: Counter[str] = Counter()
        for path in paths:
            asked = analyze(text, TEXT_FIELDS[path]).words
            counts = {
                name: Counter(word for one in texts for word in analyze(one, TEXT_FIELDS[path])[0])
                for name, stored in self.points.items()
                if (texts := texts_of(stored, path))
            }
            counts = {name: found for name, found in counts.items() if found}
            average = sum(found.total() for found in counts.values()) / max(len(counts), 1)
            for word in asked:
                n = sum(word in found for found in counts.values())
                idf = math.log(1 + (len(counts) - n + 0.5) / (n + 0.5))
                for name, found in counts.items():
                    norm = 1.2 * (0.25 + 0.75 * found.total() / average)
                    scores[name] += idf * found[word] * 2.2 / (found[word] + norm)
        found = []
        for name, stored in self.matching(*filters).items():
            if words_in(text, paths[0]) and fits(stored, text, match, paths):
                found.append((scores[name], name))
        return ranked(found)


def words_in(text: str, path: str) -> list[str]:
    return analyze(text, TEXT_FIELDS[path]).words


def texts_of(stored: Stored, path: str) -> list[str]:
    return [value for value in values_at(stored.payload, path) if isinstance(value, str)]


def fits(stored: Stored, text: str, match: Match, paths: list[str]) -> bool:
    """Whether a point holds words: all of them in whichever field each is, a phrase in one."""
    if match is not Match.ALL:
        return any(
            matches_text(MatchesText(path, text, match), texts_of(stored, path)) for path in paths
        )
    held = {
        path: {word for one in texts_of(stored, path) for word in words_in(one, path)}
        for path in paths
    }
    asked = zip(*(words_in(text, path) for path in paths), strict=True)
    return all(
        any(word in held[path] for path, word in zip(paths, one, strict=True)) for one in asked
    )


def ranked(found: Iterable[tuple[float, str]]) -> Ranking:
    return sorted(found, reverse=True)


def as_held(vector: Any) -> Vector:
    """Return a vector in the numbers that are stored."""
    if isinstance(vector, dict):
        return {at: float(np.float32(value)) for at, value in vector.items() if value}
    return np.array(vector, np.float32)


def directions(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
