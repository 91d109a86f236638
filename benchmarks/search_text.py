"""Searches by text: the server encodes the query, beside the same model alone in this process."""

from __future__ import annotations

import os
import time
from pathlib import Path

from live import serve, settle
from points import Points
from report import Report
from timing import median, percentile_ms, timed
from vecdb.config import EmbedConfig, StorageConfig
from vecdb.embed import catalog
from vecdb.embed.encoder import Execution, Role
from vecdb_client import Collection, SearchResult

K = 10
QUERIES = 100
TARGET_MS = 25.0
SERVICE = "vecdb.v1.Models"


def measure(report: Report, folder: Path, points: Points, rounds: int) -> None:
    """Store the points' texts and search by text; say why not where the model is not installed."""
    spec = catalog.find(catalog.load_catalog().values(), EmbedConfig().model)
    reason = catalog.missing(spec)
    if reason:
        report.say(f"texts are skipped: {reason}")
        report.fact("text_skipped", reason)
        return
    threads = len(os.sched_getaffinity(0))
    report.fact("model", spec.name)
    report.fact("model_threads", threads)
    report.fact("n_texts", len(points))
    with serve(folder, embed=True) as live, live.client(timeout_s=120) as client:
        client.wait_ready(60, service=SERVICE)
        report.say(f"{len(points):,} texts go in, encoded by the server")
        collection = client.create_collection("texts", model=spec.name)
        started = time.perf_counter()
        collection.upsert(ids=points.ids, texts=points.texts, payloads=points.payloads)
        took = time.perf_counter() - started
        settle(live, collection, StorageConfig().tail_points)
        report.figure("text_ingest_per_s", len(points) / took, "/s", "texts encoded and stored")
        report.say("text queries beside the model alone")
        _queries(report, collection, spec, threads, points, rounds)


def _queries(
    report: Report,
    collection: Collection,
    spec: catalog.ModelSpec,
    threads: int,
    points: Points,
    rounds: int,
) -> None:
    # Here and not above: onnxruntime need not be installed.
    from vecdb.embed.onnx_text import OnnxText

    model = OnnxText(spec, catalog.resolve_files(spec), Execution(threads))
    texts = points.query_texts[: min(len(points.queries), QUERIES)]
    results: list[SearchResult] = []

    def ours(at: int) -> None:
        result = collection.search(texts[at % len(texts)], k=K)
        for hit in result:
            _ = hit.payload
        results.append(result)

    def alone(at: int) -> None:
        (tokens,) = model.prepare([texts[at % len(texts)]], Role.QUERY)
        model.encode([tokens.input])

    timed(ours, 10)
    timed(alone, 10)
    results.clear()
    searches: list[float] = []
    encodings: list[float] = []
    ratios: list[float] = []
    for _ in range(rounds):
        these, those = timed(ours, len(texts)), timed(alone, len(texts))
        ratios.append(median(these) / median(those))
        searches += these
        encodings += those
    embeds = [result.timings.embed_us / 1e6 for result in results]
    what = f"a text query over {len(points):,} points"
    report.times("text", searches, what, p50_at_most=TARGET_MS)
    report.times("text_embed", embeds, "of that, until the server had the query's vector")
    report.figure(
        "text_rest_p50_ms",
        percentile_ms(searches, 50) - percentile_ms(embeds, 50),
        "ms",
        "what is left of the median: search, fetch, gRPC, client",
    )
    report.times("onnx", encodings, "tokenizer and model alone in this process, one text")
    report.figure("text_vs_onnx", median(ratios), "", "median text query over median model alone")
