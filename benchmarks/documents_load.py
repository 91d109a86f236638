"""How fast documents go in and context comes out.

    python benchmarks/documents_load.py [--smoke] [--json FILE] [--points N] [--rounds N] [...]

Documents of 2 KB, made of the data set's texts, are put, and put again unchanged; beside that the
model encodes the same chunks by Models.Embed, in calls of as many texts, which is its bare rate.
Then 100,000 chunks are stored with the data set's own vectors, and questions are asked of them.
benchmarks/README.md says what each figure means.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np

import points
from live import Live, serve, settle
from options import parser as options_parser
from report import Report, measured
from vecdb.config import EmbedConfig, StorageConfig
from vecdb.embed import catalog
from vecdb.rag.documents import Described, plan, put_hash
from vecdb.rag.texts import Chunk
from vecdb.types import Put
from vecdb_client import Client, Collection, Document, Documents, TextField

SERVICE = "vecdb.v1.Models"
DOCUMENT_BYTES = 2_048
DOCUMENTS = 2_000
CHUNKS_OF_ONE = 10
CHUNKS = 100_000
QUESTIONS = 200
CALL_TEXTS = 128
PARTS = ("ingest", "context")
FIELDS = [TextField("text", "english"), TextField("section", "english")]


def main() -> int:
    """Run and return the exit status."""
    made = options_parser(__doc__, "chunks that context is found in", "rounds of ingest")
    made.add_argument("--part", action="append", choices=PARTS, help="which; repeatable (all)")
    made.add_argument("--documents", type=int, help="documents that are put (2,000)")
    options = made.parse_args()
    spec = catalog.find(catalog.load_catalog().values(), EmbedConfig().model)
    if reason := catalog.missing(spec):
        sys.exit(f"documents_load.py needs a model: {reason}")
    chunks = options.points or (600 if options.smoke else CHUNKS)
    count = options.documents or (8 if options.smoke else DOCUMENTS)
    rounds = options.rounds or (1 if options.smoke else 3)
    data = points.load(chunks, QUESTIONS, smoke=options.smoke)
    with measured("documents_load", options) as (report, root):
        report.fact("data_set", data.name)
        report.fact("dim", spec.dim)
        report.fact("model", spec.name)
        report.fact("n", chunks)
        report.fact("k", 8)
        report.fact("rounds", rounds)
        report.fact("index", "chunks of documents: BM25 over text and section, and a graph")
        report.fact("clients", "one")
        with _server(root) as live, live.client(timeout_s=3600) as client:
            client.wait_ready(60, service=SERVICE)
            if "ingest" in (options.part or PARTS):
                _ingest(report, client, list(_documents(data, count)), rounds)
            if "context" in (options.part or PARTS):
                _context(report, live, client, data, options)
    return 0


def _server(root: Path) -> AbstractContextManager[Live]:
    # No cache: a text that was encoded for the bare rate would cost the documents nothing.
    return serve(root, embed=True, settings={"embed.cache_bytes": 0})


def _documents(data: points.Points, count: int) -> Iterator[Document]:
    """Yield documents of about 2 KB, paragraphs of the data set's texts, no two alike."""
    texts = iter(data.texts * (1 + count * DOCUMENT_BYTES // max(1, sum(map(len, data.texts)))))
    for at in range(count):
        parts, size = [f"Document number {at}."], 0
        while size < DOCUMENT_BYTES:
            part = f"{next(texts, 'The end')}."
            parts.append(part)
            size += len(part) + 1
        yield Document(f"doc-{at}", " ".join(parts))


def _ingest(report: Report, client: Client, documents: Sequence[Document], rounds: int) -> None:
    """Report how fast documents go in beside the bare model, in turns, and how fast again."""
    shares, again, rates = [], [], []
    part = len(documents) // rounds
    for at in range(rounds):
        some = documents[at * part : (at + 1) * part]
        name = f"ingest_{at}"
        client.create_collection(name, model=EmbedConfig().model, text_fields=FIELDS)
        docs = client.documents(name)
        report.say(f"round {at + 1}: {len(some):,} documents of {DOCUMENT_BYTES} bytes")
        took, texts = _put(docs, client.collection(name), some)
        started = time.perf_counter()
        for first in range(0, len(texts), CALL_TEXTS):
            client.embed(texts[first : first + CALL_TEXTS], role="document", timeout_s=3600)
        bare = time.perf_counter() - started
        started = time.perf_counter()
        kept = docs.put(some)
        again.append((time.perf_counter() - started) / took)
        if any(one.added for one in kept):
            sys.exit("documents that were put again were encoded again")
        shares.append(bare / took)
        rates.append(len(some) / took)
    report.figure("documents_per_s", statistics.median(rates), "/s", "documents put")
    what = "rate of Put over that of the bare model on the same chunks"
    report.figure("ingest_share", statistics.median(shares), "", what, at_least=0.9)
    what = "time to put them again unchanged, over the first time"
    report.figure("again_share", statistics.median(again), "", what, at_most=0.05)


def _put(
    docs: Documents, collection: Collection, documents: Sequence[Document]
) -> tuple[float, list[str]]:
    """Put documents; return the seconds, and the texts that were encoded."""
    started = time.perf_counter()
    refused = [one.error for one in docs.put(documents, timeout_s=3600) if one.error]
    took = time.perf_counter() - started
    if refused:
        sys.exit(f"documents were refused: {refused[0]}")
    found = [
        text
        for page in collection.export_pages(with_texts=True)
        for point in page.points
        for text in point.texts.values()
    ]
    return took, found


def _context(
    report: Report,
    live: Live,
    client: Client,
    data: points.Points,
    options: argparse.Namespace,
) -> None:
    """Report what Context takes beside the encoding of its question."""
    collection = client.create_collection("large", model=EmbedConfig().model, text_fields=FIELDS)
    report.say(f"{len(data):,} chunks go in with their vectors")
    collection.upsert(_chunk_points(data))
    settle(live, collection, StorageConfig().tail_points)
    docs = client.documents("large")
    asked = (data.query_texts or data.texts)[: 20 if options.smoke else QUESTIONS]
    docs.context(asked[0])  # the model is asked for its scale, words are drawn
    beside, stages = [], dict.fromkeys(("search", "relevance", "assemble"), 0.0)
    shown = 0
    for question in asked:
        started = time.perf_counter()
        found = docs.context(question, min_relevance=0.0)
        took = 1e3 * (time.perf_counter() - started)
        beside.append(took - found.timings_us["embed"] / 1e3)
        shown += len(found.passages)
        for stage in stages:
            stages[stage] += found.timings_us[stage] / 1e3 / len(asked)
    if not shown:
        sys.exit("no question found anything")
    report.fact("questions", len(asked))
    what = "what Context takes beside encoding, seen by a client, median"
    report.figure("context_ms", statistics.median(beside), "ms", what, at_most=30.0)
    p99 = float(np.percentile(beside, 99))
    report.figure("context_p99_ms", p99, "ms", "99th percentile of that")
    for stage, mean in stages.items():
        report.figure(f"{stage}_ms", mean, "ms", f"of it {stage}, mean")


def _chunk_points(data: points.Points) -> Iterator[dict[str, object]]:
    """Yield the points of documents of ten chunks, a text and its vector each."""
    for first in range(0, len(data), CHUNKS_OF_ONE):
        name, start, chunks = f"doc-{first}", 0, []
        for text in data.texts[first : first + CHUNKS_OF_ONE]:
            chunks.append(Chunk(text, start, start + len(text), (), 1))
            start += len(text) + 1
        described = Described(
            name, f"Packages {first}", "text", b"", "", start, put_hash(""), "2026-01-01T00:00:00Z"
        )
        ops = [op for op in plan(described, chunks, None, [""]).ops if isinstance(op, Put)]
        for at, op in enumerate(ops):
            point: dict[str, object] = {"id": op.id, "payload": op.payload}
            if at < len(chunks):
                point["vector"] = data.vectors[first + at]
            yield point


if __name__ == "__main__":
    sys.exit(main())
