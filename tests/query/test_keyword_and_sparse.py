"""Keyword and sparse queries against brute force, and the same bits however the rows lie.

Two databases apply the same writes: one keeps all in memory, the other builds and merges segments
as it goes. Slots are the same in both, so answers must be, to the last bit.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from tests.examples import examples
from vecdb.analysis import analyze
from vecdb.collection.asked import AnyQuery
from vecdb.config import LimitsConfig, StorageConfig
from vecdb.database import Database
from vecdb.rpc.pb.search_pb2 import Hit, QueryResponse
from vecdb.storage.codec import to_json
from vecdb.types import (
    Delete,
    Equals,
    Filter,
    HasSpace,
    KeywordQuery,
    Match,
    Metric,
    Op,
    Put,
    Schema,
    Space,
    SparseQuery,
    SparseSpace,
    SparseVector,
    TextField,
    Wanted,
)
from vecdb.write.prepare import prepare

pytestmark = pytest.mark.takes_turns

LIMITS = LimitsConfig()
TITLE = TextField("title", "english")
BODY = TextField("doc.body", k1=2.0, b=0.3)
SPACES = (SparseSpace("s"), SparseSpace("t", idf=True))
SCHEMA = Schema((Space("", 2, Metric.DOT),), SPACES, (TITLE, BODY))

WORDS = [
    "run",
    "running",
    "runs",
    "shoe",
    "Shoes!",
    "the",
    "the",
    "of",
    "a",
    "東京",
    "東京都",
    "京都",
]
TEXTS = st.lists(st.sampled_from(WORDS), min_size=0, max_size=9).map(" ".join)
VALUES = st.floats(-2, 2, width=16).filter(lambda value: value != 0)
SPARSE = st.dictionaries(st.integers(0, 8) | st.just(2**32 - 1), VALUES, min_size=1, max_size=5)
IDS = st.sampled_from([f"p{n}" for n in range(60)])


@dataclass
class Made:
    """A point to put: its texts, tag and sparse vectors."""

    title: str
    body: list[str] | str | int
    tag: str
    sparse: dict[str, dict[int, float]] = field(default_factory=dict)

    def put(self, name: str) -> Put:
        payload = to_json({"title": self.title, "doc": {"body": self.body}, "tag": self.tag})
        return Put(name, payload, {}, {}, {n: sparse(v) for n, v in self.sparse.items()})

    def words(self, field: TextField) -> list[str]:
        """Return the words of a field, with a mark where no phrase may pass."""
        held = self.title if field is TITLE else self.body
        found: list[str] = []
        for text in held if isinstance(held, list) else [held]:
            if isinstance(text, str):
                words = analyze(text, field.language)
                spread = dict(zip(words.positions, words.words, strict=True))
                end = words.positions[-1] + 1 if words.words else 0
                found += [spread.get(at, "|") for at in range(end)] + ["|"]
        return found


MADE = st.builds(
    Made,
    TEXTS,
    st.one_of(TEXTS, st.lists(TEXTS, max_size=3), st.integers(0, 3)),
    st.sampled_from("xyz"),
    st.fixed_dictionaries({}, optional={"s": SPARSE, "t": SPARSE}),
)
WRITES = st.lists(
    st.lists(st.tuples(IDS, st.one_of(MADE, MADE, st.none())), min_size=1, max_size=40),
    min_size=1,
    max_size=5,
)


def sparse(values: dict[int, float]) -> SparseVector:
    return SparseVector(np.array(list(values), np.uint32), np.array(list(values.values()), "f4"))


def bm25(points: dict[str, Made], query: KeywordQuery) -> dict[str, float]:
    """Return the score of every point that matches, straight from the formula."""
    scores: dict[str, float] = {}
    asked = [one for one in (TITLE, BODY) if not query.fields or one.path in query.fields]
    words = {one.path: analyze(query.text, one.language) for one in asked}
    held = {one.path: {n: p.words(one) for n, p in points.items()} for one in asked}
    for one in asked:
        counts = {n: Counter(w for w in found if w != "|") for n, found in held[one.path].items()}
        counts = {n: found for n, found in counts.items() if found}
        average = sum(c.total() for c in counts.values()) / max(len(counts), 1)
        for word in words[one.path].words:
            n = sum(word in found for found in counts.values())
            idf = math.log(1 + (len(counts) - n + 0.5) / (n + 0.5))
            for name, found in counts.items():
                if found[word]:
                    norm = one.k1 * (1 - one.b + one.b * found.total() / average)
                    part = idf * found[word] * (one.k1 + 1) / (found[word] + norm)
                    scores[name] = scores.get(name, 0.0) + part
    return {name: score for name, score in scores.items() if fits(name, query, words, held)}


def fits(name: str, query: KeywordQuery, words: dict, held: dict) -> bool:
    if query.match is Match.ANY:
        return True
    count = len(next(iter(words.values())).words)
    every = all(
        any(words[path].words[i] in held[path][name] for path in words) for i in range(count)
    )
    if query.match is Match.ALL:
        return every
    for path, (sought, positions) in words.items():
        text = held[path][name]
        for start in range(len(text)):
            places = [start + position for position in positions]
            if places[-1] < len(text) and [text[at] for at in places] == sought:
                return True
    return False


def dot(points: dict[str, Made], query: SparseQuery) -> dict[str, float]:
    asked = dict(zip(*(part.tolist() for part in query.vector), strict=True))
    if query.space == "t":  # weighted by idf
        vectors = [point.sparse["t"] for point in points.values() if "t" in point.sparse]
        for index in asked:
            n = sum(bool(held.get(index)) for held in vectors)  # no 0 is stored
            asked[index] *= math.log(1 + (len(vectors) - n + 0.5) / (n + 0.5))
    scores = {}
    for name, point in points.items():
        held = point.sparse.get(query.space, {})
        if held.keys() & asked.keys():
            scores[name] = sum(value * asked.get(index, 0.0) for index, value in held.items())
    return scores


class Pair:
    """Two collections under the same writes, and a dict."""

    def __init__(self, folder: Path) -> None:
        self.points: dict[str, Made] = {}
        self.databases = []
        for name, tail in (("memory", 65_536), ("segments", 16)):
            config = StorageConfig(map_bytes=1 << 20, tail_points=tail, segment_points=1024)
            # Builds are this test's to start, so that it knows what is where.
            database = Database(folder / name, config, LIMITS)
            database._closing.set()
            database.create("c", SCHEMA)
            self.databases.append(database)

    def write(self, items: list[tuple[str, Made | None]]) -> None:
        for database in self.databases:
            ops: list[Op] = [Delete(n) if made is None else made.put(n) for n, made in items]
            with database.collection("c") as collection:
                outcome = collection.write(prepare(ops, SCHEMA, LIMITS)).result()
                assert not [one.message for one in outcome.results if one.reason]
                self.segments = len(collection.stats().segments)
        for name, made in items:
            if made is None:
                self.points.pop(name, None)
            else:
                self.points[name] = made

    def build(self) -> None:
        with self.databases[1].collection("c") as collection:
            while collection.maintain(None):
                pass

    def ask(self, query: AnyQuery) -> list[Hit]:
        """Return what both answer, having checked that they answer the same."""
        answers = []
        for database in self.databases:
            with database.collection("c") as collection, collection.snapshot() as snapshot:
                result = snapshot.query(query, Wanted(), 1 << 20)
                answers.append(list(QueryResponse.FromString(result.hits).hits))
        shown = [[(hit.id, hit.score, hit.distance) for hit in one] for one in answers]
        assert shown[0] == shown[1]
        return answers[0]

    def check(self, query: KeywordQuery | SparseQuery) -> int:
        """Compare an answer with brute force; return how many hits there could be."""
        score = bm25 if isinstance(query, KeywordQuery) else dot
        wanted = score(self.points, query)  # type: ignore[arg-type]
        if isinstance(query.filter, Equals):
            tag = query.filter.value
            wanted = {name: s for name, s in wanted.items() if self.points[name].tag == tag}
        elif isinstance(query.filter, HasSpace):
            space = query.filter.space
            wanted = {name: s for name, s in wanted.items() if space in self.points[name].sparse}
        hits = self.ask(query)
        assert len(hits) == min(query.k, len(wanted))
        best = sorted(wanted.values(), reverse=True)[: query.k]
        assert [hit.score for hit in hits] == pytest.approx(best, rel=1e-4, abs=1e-4)
        for hit in hits:
            assert hit.score == pytest.approx(wanted[hit.id], rel=1e-4, abs=1e-4)
            assert hit.distance == -hit.score
            assert not math.copysign(1, hit.distance) < 0 or hit.distance
        return len(wanted)

    def close(self) -> None:
        for database in self.databases:
            database.close()


FILTERS: st.SearchStrategy[Filter | None] = st.one_of(
    st.none(), st.builds(Equals, st.just("tag"), st.sampled_from("xyz")), st.just(HasSpace("t"))
)
QUERIES = st.one_of(
    st.builds(
        KeywordQuery,
        TEXTS | st.sampled_from(["東京都", "running shoes", "the shoe of", "unknown", "...", ""]),
        st.integers(1, 30),
        st.sampled_from([(), ("title",), ("doc.body",), ("doc.body", "title")]),
        st.sampled_from(Match),
        FILTERS,
    ),
    st.builds(
        SparseQuery,
        SPARSE.map(lambda values: sparse(dict(sorted(values.items())))),
        st.integers(1, 30),
        st.sampled_from(["s", "t"]),
        FILTERS,
    ),
)


@given(writes=WRITES, queries=st.lists(QUERIES, min_size=4, max_size=8))
@settings(max_examples=examples(25), deadline=None, suppress_health_check=list(HealthCheck))
def test_answers_are_those_of_brute_force_however_rows_lie(
    tmp_path_factory: pytest.TempPathFactory, writes: list, queries: list
) -> None:
    pair = Pair(tmp_path_factory.mktemp("pair"))
    try:
        for items in writes:
            pair.write(items)
            for query in queries:
                pair.check(query)
            pair.build()
            for query in queries[:2]:
                pair.check(query)
    finally:
        pair.close()


def test_many_rows_over_merged_segments_with_deletes(tmp_path: Path) -> None:
    """More than one window of the kernel, words frequent and rare, most rows replaced."""
    pair = Pair(tmp_path)
    rng = np.random.default_rng(0)
    vocabulary = [f"w{n}" for n in range(300)]
    shares = 1 / np.arange(1, 301)

    def made() -> Made:
        size = int(rng.integers(1, 12))
        words = rng.choice(vocabulary, size, p=shares / shares.sum())
        indices = rng.choice(40, 5, replace=False).tolist()
        values = dict(zip(indices, np.round(rng.normal(size=5), 2).tolist(), strict=True))
        tag = "xyz"[int(rng.integers(3))]
        return Made(" ".join(words), "東京", tag, {"s": values, "t": values})

    try:
        for first in range(0, 6_000, 1_000):
            pair.write([(f"p{n}", made()) for n in range(first, first + 1_000)])
            pair.build()
        pair.write([(f"p{n}", None if n % 3 else made()) for n in range(0, 6_000, 2)])
        assert pair.segments > 1
        for _ in range(2):
            for text in ("w0 w17 w150", "w1 w2 w3", "w0", "東京 w250", "w299 w298"):
                for match in Match:
                    for chosen in (None, Equals("tag", "x")):
                        pair.check(KeywordQuery(text, 10, (), match, chosen))
            for space in "st":
                asked = sparse({1: 0.5, 7: -1.25, 30: 2.0})
                assert pair.check(SparseQuery(asked, 10, space)) > 500
                assert pair.check(SparseQuery(asked, 10, space, Equals("tag", "x"))) > 100
            pair.build()
    finally:
        pair.close()
