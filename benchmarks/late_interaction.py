"""Late interaction: recall and time of MaxSim over tokens of real texts, through the server.

    python benchmarks/late_interaction.py [--smoke] [--json FILE] [--points N] [--rounds R] [...]

Tokens are what all-MiniLM-L6-v2 makes of each, before it takes their mean, in 128 principal
components: it was not trained for late interaction, but they are real. benchmarks/README.md says
what each figure means.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

import cranfield
import points
from live import Live, serve, settle
from options import parser as options_parser
from report import Report, measured
from timing import timed
from vecdb.config import EmbedConfig, StorageConfig
from vecdb.embed import catalog
from vecdb.embed.encoder import Execution, Role
from vecdb.embed.onnx_text import OnnxText
from vecdb.rag.judging import ndcg
from vecdb_client import Client, Collection, MaxSim, MultiDenseSpace, TextField

K, DIM, TOKENS_MAX = 10, 128, 180
TITLES = {"abstracts": "Cranfield's abstracts", "summaries": "package summaries"}

F32 = NDArray[np.float32]
Texts = dict[str, str]


def main() -> int:
    """Run and return the exit status."""
    options = options_parser(__doc__, "summaries", "timed calls of every question").parse_args()
    spec = catalog.find(catalog.load_catalog().values(), EmbedConfig().model)
    if not cranfield.FOLDER.is_dir():
        sys.exit(f"late_interaction.py needs the Cranfield collection in {cranfield.FOLDER}")
    if reason := catalog.missing(spec):
        sys.exit(f"late_interaction.py needs a model: {reason}")
    encoder = TokenEncoder(OnnxText(spec, catalog.resolve_files(spec), Execution(2)))
    rounds = options.rounds or (1 if options.smoke else 3)
    count = options.points or (60 if options.smoke else 10_000)
    with measured("late_interaction", options) as (report, folder):
        abstracts = {
            one.id: f"{one.title} {one.text}".strip() or "-"
            for one in cranfield.abstracts()[: 40 if options.smoke else None]
        }
        asked = cranfield.questions()[: 8 if options.smoke else 100]
        report.fact("data_set", "cranfield and package summaries, tokens of all-MiniLM-L6-v2")
        report.fact("n", len(abstracts) + count)
        report.fact("dim", DIM)
        report.fact("k", K)
        report.fact("rounds", rounds)
        report.fact("index", "multi-dense spaces by cosine; BM25 over the texts")
        report.fact("clients", "one, in turn")
        with serve(folder) as live, live.client(timeout_s=300) as client:
            queries = [one.text for one in asked]
            made = _measure(report, live, client, encoder, "abstracts", abstracts, queries, rounds)
            collection, vectors = made
            found = [_ids(collection.search(q, space="tokens", k=K)) for q in vectors]
            report.figure("maxsim_ndcg_at_10", _mean_ndcg(found, asked), "", "MaxSim alone")
            ways = [
                _ids(collection.search(keyword=one.text, k=K, rerank=MaxSim(q, "tokens")))
                for one, q in zip(asked, vectors, strict=True)
            ]
            what = "the best 100 by words, ordered by MaxSim"
            report.figure("rerank_ndcg_at_10", _mean_ndcg(ways, asked), "", what)
            texts, more = _summaries(count, len(asked), smoke=options.smoke)
            _measure(report, live, client, encoder, "summaries", texts, more, rounds)
    return 0


class TokenEncoder:
    """From texts to a vector per token, of as many principal components as a space has."""

    def __init__(self, model: OnnxText) -> None:
        self._model = model
        self._axes: F32 | None = None

    def encode(self, texts: Sequence[str]) -> list[F32]:
        """Return the vectors (n, DIM) of each text's tokens; the first call chooses the axes."""
        tokens = [one.input[:TOKENS_MAX] for one in self._model.prepare(texts, Role.DOCUMENT)]
        order = sorted(range(len(tokens)), key=lambda at: len(tokens[at]))
        found: list[F32] = [np.empty((0, DIM), np.float32)] * len(tokens)
        for first in range(0, len(order), 32):
            part = order[first : first + 32]
            hidden, _ = self._model.states.of_tokens([tokens[at] for at in part])
            for row, at in enumerate(part):
                found[at] = hidden[row, : len(tokens[at])]
        if self._axes is None:
            every = np.concatenate(found)
            self._axes = np.linalg.eigh(every.T @ every)[1][:, -DIM:].astype(np.float32)
        return [vectors @ self._axes for vectors in found]


def _summaries(count: int, queries: int, *, smoke: bool) -> tuple[Texts, list[str]]:
    """Return distinct texts by id, and others to ask with."""
    loaded = points.load(count if smoke else 3 * count, queries, smoke=smoke)
    distinct = list(dict.fromkeys(text or "-" for text in loaded.texts))[:count]
    return {f"s{n}": text for n, text in enumerate(distinct)}, [
        t or "-" for t in loaded.query_texts
    ]


def _measure(
    report: Report,
    live: Live,
    client: Client,
    encoder: TokenEncoder,
    name: str,
    texts: Texts,
    asked: Sequence[str],
    rounds: int,
) -> tuple[Collection, list[F32]]:
    """Fill a collection and report on it; return it, and the vectors of the questions."""
    report.say(f"{len(texts):,} of {TITLES[name]} are encoded and go in")
    vectors = encoder.encode(list(texts.values()))
    queries = encoder.encode(asked)
    spaces = {"tokens": MultiDenseSpace(DIM)}
    fields = [TextField("text", "english")]
    collection = client.create_collection(name, spaces=spaces, text_fields=fields)
    payloads = [{"text": text} for text in texts.values()]
    ingest = timed(
        lambda _: collection.upsert(
            ids=list(texts), vectors={"tokens": vectors}, payloads=payloads
        ),
        1,
    )
    settle(live, collection, StorageConfig().tail_points)
    stats = collection.stats()
    tokens = sum(map(len, vectors)) / len(texts)
    report.figure(f"{name}_tokens", tokens, "", f"tokens of a point, of {len(texts):,}")
    report.figure(f"{name}_ingest_per_s", len(texts) / ingest[0], "", "points stored a second")
    report.figure(f"{name}_vector_bytes", tokens * DIM * 4, "B", "a point's vectors")
    held = sum(one.bytes for one in stats.segments) / max(1, sum(s.rows for s in stats.segments))
    report.figure(f"{name}_index_bytes", held, "B", "a point's share of its segments")
    exact = [collection.search(q, space="tokens", k=K, exact=True) for q in queries]
    for count in (100, 200, None, 800):
        hits = [collection.search(q, space="tokens", k=K, ef=count) for q in queries]
        share = np.mean(
            [
                sum(hit.score >= true[-1].score - 1e-4 for hit in found) / len(true)
                for found, true in zip(hits, exact, strict=True)
            ]
        )
        key = "default" if count is None else str(count)
        what = f"recall@10 of {count or 'as many points scored as without ef, 400'}"
        report.figure(f"{name}_recall_{key}", float(share), "", what)
    ways = {
        "search": lambda at: collection.search(queries[at], space="tokens", k=K),
        "exact": lambda at: collection.search(queries[at], space="tokens", k=K, exact=True),
        "words": lambda at: collection.search(keyword=asked[at], k=K),
        "rerank": lambda at: collection.search(
            keyword=asked[at], k=K, rerank=MaxSim(queries[at], "tokens")
        ),
    }
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(rounds):
        for way, search in ways.items():
            seconds[way] += timed(search, len(queries) if way != "exact" else len(queries) // 8)
    for way, took in seconds.items():
        report.times(f"{name}_{way}", took, "a question, encoded, through client and server")
    return collection, queries


def _ids(hits) -> list[str]:  # noqa: ANN001 - a search's result
    return [hit.id for hit in hits]


def _mean_ndcg(lists: Sequence[list[str]], asked) -> float:  # noqa: ANN001 - questions
    return float(np.mean([ndcg(ids, one.grades) for ids, one in zip(lists, asked, strict=True)]))


if __name__ == "__main__":
    sys.exit(main())
