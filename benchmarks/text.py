"""Searches by words: BM25 over package summaries, beside bm25s and rank-bm25 over the same words.

    python benchmarks/text.py [--smoke] [--json FILE] [--points N] [--rounds R] [--folder DIR]

The peers are given their words ready, cut and stemmed as ours are; our figures include that work.
Recall is counted by score against a score of every row. benchmarks/README.md says what each means.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from live import serve
from options import parser as options_parser
from points import Points, load
from report import Report, measured
from timing import median, timed
from vecdb.analysis import analyze
from vecdb.collection.snapshot import Snapshot
from vecdb.config import LimitsConfig, StorageConfig
from vecdb.database import Database
from vecdb.rpc.pb.search_pb2 import QueryResponse
from vecdb.storage.codec import to_json
from vecdb.types import Filter, KeywordQuery, Match, Put, Range, Schema, TextField, Wanted
from vecdb.write.prepare import prepare
from vecdb_client import F

try:
    import bm25s
    from rank_bm25 import BM25Okapi
except ImportError:
    sys.exit("text.py needs bm25s and rank-bm25: pip install 'vecdb[bench]'")

K = 10
FIELD = TextField("summary", "english")
SCHEMA = Schema(text_fields=(FIELD,))
LIMITS = LimitsConfig()
BATCH = 1_000
FILTERS = (50, 10, 1)
SHORT_WORDS = 3
RANK_BM25_QUERIES = 20
SCORE_SLACK = 1e-4

Scores = list[NDArray[np.float64]]


def main() -> int:
    """Run and return the exit status."""
    options = _parse()
    with measured("text", options) as (report, root):
        points = load(options.points, options.queries, smoke=options.smoke)
        whole = points.query_texts[: options.queries]
        short = [" ".join(text.split()[:SHORT_WORDS]) for text in whole]
        report.fact("data_set", points.name)
        report.fact("n", len(points))
        report.fact("dim", len({word for text in points.texts for word in words_of(text)}))
        report.fact("k", K)
        report.fact("queries", len(whole))
        report.fact("rounds", options.rounds)
        report.fact(
            "index", f"BM25, {FIELD.language} stems, k1 {FIELD.k1}, b {FIELD.b}; dim: words"
        )
        report.fact("clients", "in this process, one thread; grpc_ over one client in turn")
        _fill(report, root / "data", points)
        _in_process(report, root / "data", points, {"whole": whole, "short": short}, options.rounds)
        _over_grpc(report, root, whole)
    return 0


def words_of(text: str) -> list[str]:
    """Return the words that both sides search by."""
    return analyze(text, FIELD.language).words


def _fill(report: Report, data: Path, points: Points) -> None:
    report.say(f"{len(points):,} texts go in")
    database = Database(data, StorageConfig(), LIMITS)
    database.create("texts", SCHEMA)
    rows = [Put(i, to_json(p), {}) for i, p in zip(points.ids, points.payloads, strict=True)]
    started = time.perf_counter()
    with database.collection("texts") as collection:
        for first in range(0, len(rows), BATCH):
            command = prepare(rows[first : first + BATCH], SCHEMA, LIMITS)
            collection.write(command).result()
        stored = time.perf_counter()
        while collection.maintain(None):
            pass
        indexed = time.perf_counter()
        report.fact("segments", len(collection.stats().segments))
        size = sum(segment.bytes for segment in collection.stats().segments)
    database.close()
    report.figure("stored_per_s", len(rows) / (stored - started), "/s", "texts stored, durable")
    report.figure(
        "indexed_per_s", len(rows) / (indexed - started), "/s", "texts stored, then all in segments"
    )
    report.figure("index_bytes_per_text", size / len(rows), "bytes", "of segments, fields included")


def _in_process(
    report: Report, data: Path, points: Points, asked: dict[str, list[str]], rounds: int
) -> None:
    report.say("the peers index the same words")
    corpus = [words_of(text) for text in points.texts]
    started = time.perf_counter()
    peer = bm25s.BM25(method="lucene", k1=FIELD.k1, b=FIELD.b)
    peer.index(corpus, show_progress=False)
    report.figure(
        "bm25s_indexed_per_s",
        len(corpus) / (time.perf_counter() - started),
        "/s",
        "words given ready, in memory",
    )
    okapi = BM25Okapi(corpus, k1=FIELD.k1, b=FIELD.b)
    every = Postings(corpus)
    database = Database(data, StorageConfig(), LIMITS, read_only=True)
    with database.collection("texts") as collection, collection.snapshot() as snapshot:
        for name, texts in asked.items():
            report.say(f"{name} texts as queries, {rounds} rounds in turn")
            wanted = every.scores(texts)
            _beside(report, snapshot, peer, okapi, name, texts, rounds)
            _recall(report, snapshot, points, name, texts, wanted)
        _filtered(report, snapshot, asked["whole"], rounds)
    database.close()


def _beside(
    report: Report,
    snapshot: Snapshot,
    peer: bm25s.BM25,
    okapi: BM25Okapi,
    name: str,
    texts: list[str],
    rounds: int,
) -> None:
    ready = [[words_of(text)] for text in texts]

    def theirs(at: int) -> None:
        peer.retrieve(ready[at], k=K, n_threads=1, show_progress=False)

    def slowest(at: int) -> None:
        np.argpartition(okapi.get_scores(ready[at][0]), -K)[-K:]

    speeds: dict[str, list[float]] = defaultdict(list)
    for _ in range(rounds):
        speeds["ours"].append(_speed(lambda at: ask(snapshot, texts[at]), len(texts)))
        speeds["bm25s"].append(_speed(theirs, len(texts)))
    few = min(RANK_BM25_QUERIES, len(texts))
    ours = median(speeds["ours"])
    report.figure(f"{name}_qps", ours, "/s", f"{name} texts, top 10 with payload")
    report.figure(f"{name}_bm25s_qps", median(speeds["bm25s"]), "/s", "bm25s, top 10 row numbers")
    ratios = [a / b for a, b in zip(speeds["ours"], speeds["bm25s"], strict=True)]
    report.figure(f"{name}_vs_bm25s", median(ratios), "", "ratio of the two, median of the rounds")
    report.figure(f"{name}_vs_rank_bm25", ours / _speed(slowest, few), "", "against rank-bm25")


def _speed(work: Callable[[int], object], times: int) -> float:
    return times / sum(timed(work, times))


def ask(
    snapshot: Snapshot, text: str, chosen: Filter | None = None, match: Match = Match.ANY
) -> list[tuple[str, float]]:
    """Return ids and scores of the hits, payloads fetched."""
    result = snapshot.query(KeywordQuery(text, K, (), match, chosen), Wanted(), 1 << 30)
    return [(hit.id, hit.score) for hit in QueryResponse.FromString(result.hits).hits]


def _recall(
    report: Report,
    snapshot: Snapshot,
    points: Points,
    name: str,
    texts: list[str],
    wanted: Scores,
) -> None:
    row_of = {one: row for row, one in enumerate(points.ids)}
    percents = np.array([payload["percent"] for payload in points.payloads])
    for share in (100, *FILTERS):
        chosen = None if share == 100 else Range("percent", lt=share)
        found = total = 0
        for text, scores in zip(texts, wanted, strict=True):
            allowed = np.where(percents < share, scores, 0.0)
            least = np.sort(allowed)[-K]
            hits = [row_of[one] for one, _ in ask(snapshot, text, chosen)]
            total += min(K, int(np.count_nonzero(allowed)))
            found += sum(allowed[row] >= max(least - SCORE_SLACK, 1e-9) for row in hits)
        key = f"{name}_recall_at_10" + (f"_filter_{share}" if chosen else "")
        report.figure(key, found / max(total, 1), "", f"{share} % allowed", at_least=1.0)


def _filtered(report: Report, snapshot: Snapshot, texts: list[str], rounds: int) -> None:
    for share in FILTERS:
        chosen = Range("percent", lt=share)
        ratios = [
            _speed(lambda at, one=chosen: ask(snapshot, texts[at], one), len(texts))
            / _speed(lambda at: ask(snapshot, texts[at]), len(texts))
            for _ in range(rounds)
        ]
        report.figure(f"filter_{share}_vs_none", median(ratios), "", f"speed, {share} % allowed")
    pairs = [" ".join(text.split()[:2]) for text in texts]
    for match in (Match.ALL, Match.PHRASE):
        speed = _speed(lambda at, one=match: ask(snapshot, pairs[at], None, one), len(pairs))
        report.figure(f"{match.name.lower()}_qps", speed, "/s", "two words, top 10 with payload")


def _over_grpc(report: Report, root: Path, texts: list[str]) -> None:
    with serve(root) as live, live.client() as client:
        collection = client.collection("texts")
        collection.search(keyword=texts[0])
        seconds = timed(lambda at: collection.search(keyword=texts[at], k=K), len(texts))
        report.times("grpc", seconds, "a whole text through client and server")
        seconds = timed(
            lambda at: collection.search(keyword=texts[at], k=K, filter=F("percent") < 10),
            len(texts),
        )
        report.times("grpc_filter_10", seconds, "the same, 10 % allowed")


class Postings:
    """Every word's rows, to score all rows the plain way, in float64."""

    def __init__(self, corpus: Sequence[Sequence[str]]) -> None:
        self._n = len(corpus)
        lengths = np.array([len(words) for words in corpus], np.float64)
        average = lengths.sum() / max(np.count_nonzero(lengths), 1)
        self._norms = FIELD.k1 * (1 - FIELD.b + FIELD.b * lengths / average)
        self._documents = int(np.count_nonzero(lengths))
        lists: dict[str, list[tuple[int, int]]] = defaultdict(list)
        for row, words in enumerate(corpus):
            for word, count in Counter(words).items():
                lists[word].append((row, count))
        self._lists = {word: np.array(held) for word, held in lists.items()}

    def scores(self, texts: Sequence[str]) -> Scores:
        """Return the scores of all rows for each text."""
        found: Scores = []
        for text in texts:
            scores = np.zeros(self._n)
            for word in words_of(text):
                if word in self._lists:
                    rows, counts = self._lists[word].T
                    idf = np.log1p((self._documents - len(rows) + 0.5) / (len(rows) + 0.5))
                    scores[rows] += idf * counts * (FIELD.k1 + 1) / (counts + self._norms[rows])
            found.append(scores)
        return found


def _parse() -> argparse.Namespace:
    parser = options_parser(__doc__, "texts", "both sides in turn")
    options = parser.parse_args()
    options.points = options.points or (3_000 if options.smoke else 100_000)
    options.rounds = options.rounds or (1 if options.smoke else 5)
    options.queries = 30 if options.smoke else 500
    return options


if __name__ == "__main__":
    sys.exit(main())
