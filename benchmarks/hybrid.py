"""How good hybrid search is: words, vectors, and both fused, over Cranfield, through the server.

    python benchmarks/hybrid.py [--smoke] [--json FILE] [--points N] [--rounds R] [--folder DIR]

Weights are chosen on one half of the questions and shown on the other, both ways round.
benchmarks/README.md says what each figure means.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

import cranfield
from cranfield import Abstract, Question
from live import serve, settle
from options import parser as options_parser
from report import Report, measured
from timing import timed
from vecdb.config import EmbedConfig, StorageConfig
from vecdb.embed import catalog
from vecdb.rag import judging
from vecdb.rag.judging import ndcg, recall
from vecdb_client import Client, Collection, Fusion, Keyword, Near, Rrf, TextField, Weighted

K = judging.K
WEIGHTS = [round(0.1 * tenths, 1) for tenths in range(1, 10)]
NORMALIZATIONS: tuple[Literal["min_max", "z_score"], ...] = ("min_max", "z_score")
FIELDS = [TextField("title", "english"), TextField("text", "english")]
BM25_REFERENCE, DENSE_REFERENCE = 0.358, 0.400
SLACK = 0.01
RRF_TARGET = 0.415
SERVICE = "vecdb.v1.Models"

Lists = list[list[str]]
"""The ids that each question finds, best first."""
Vectors = list[NDArray[np.float32]]


def main() -> int:
    """Run and return the exit status."""
    options = options_parser(__doc__, "abstracts", "timed calls of every question").parse_args()
    spec = catalog.find(catalog.load_catalog().values(), EmbedConfig().model)
    if not cranfield.FOLDER.is_dir():
        sys.exit(f"hybrid.py needs the Cranfield collection in {cranfield.FOLDER}")
    if reason := catalog.missing(spec):
        sys.exit(f"hybrid.py needs a model: {reason}")
    count = options.points or (40 if options.smoke else 1_400)
    rounds = options.rounds or (1 if options.smoke else 5)
    documents = cranfield.abstracts()[:count]
    asked = cranfield.questions()[: 12 if options.smoke else None]
    with measured("hybrid", options) as (report, root):
        report.fact("data_set", "cranfield")
        report.fact("n", len(documents))
        report.fact("dim", spec.dim)
        report.fact("model", spec.name)
        report.fact("k", K)
        report.fact("queries", len(asked))
        report.fact("rounds", rounds)
        report.fact("index", "BM25 over title and text, english stems; vectors of both as one text")
        report.fact("clients", "one, in turn")
        with serve(root, embed=True) as live, live.client(timeout_s=300) as client:
            client.wait_ready(60, service=SERVICE)
            collection = _fill(report, client, spec.name, documents)
            settle(live, collection, StorageConfig().tail_points)
            vectors = _encoded(client, asked)
            _quality(report, collection, asked, vectors)
            _speed(report, collection, asked, vectors, rounds)
    return 0


def _fill(report: Report, client: Client, model: str, documents: list[Abstract]) -> Collection:
    report.say(f"{len(documents):,} abstracts go in, encoded by the server")
    collection = client.create_collection("cranfield", model=model, text_fields=FIELDS)
    collection.upsert(
        {
            "id": one.id,
            "text": f"{one.title} {one.text}".strip() or "-",  # two have neither
            "payload": {"title": one.title, "text": one.text},
        }
        for one in documents
    )
    return collection


def _encoded(client: Client, asked: Sequence[Question]) -> Vectors:
    """Return the vectors of the questions: encoded once, they are searched for many times."""
    embedded = client.embed([question.text for question in asked], role="query")
    return [np.asarray(one.vector, np.float32) for one in embedded]


def _quality(
    report: Report, collection: Collection, asked: Sequence[Question], vectors: Vectors
) -> None:
    words = [[h.id for h in collection.search(keyword=q.text, k=K)] for q in asked]
    near = [[h.id for h in collection.search(vector, k=K)] for vector in vectors]
    by_rank = _fused(collection, asked, vectors, 0.5, Rrf())
    for name, lists, what, target in (
        ("bm25", words, "words alone", BM25_REFERENCE - SLACK),
        ("dense", near, "vectors alone", DENSE_REFERENCE - SLACK),
        ("rrf", by_rank, "both, by reciprocal rank, k 60", RRF_TARGET),
    ):
        report.figure(f"{name}_ndcg_at_10", _mean(ndcg, lists, asked), "", what, at_least=target)
        report.figure(f"{name}_recall_at_10", _mean(recall, lists, asked), "", what)
    for how in NORMALIZATIONS:
        report.say(f"{how}: {len(WEIGHTS)} weights")
        tried = {w: _fused(collection, asked, vectors, w, Weighted(how)) for w in WEIGHTS}
        _held_out(report, how, tried, asked)


def _held_out(
    report: Report, how: str, tried: dict[float, Lists], asked: Sequence[Question]
) -> None:
    """Report each half of the questions with the weight that was best for the other."""
    shown: Lists = [[] for _ in asked]
    for name, tuned, other in (("odd", 0, 1), ("even", 1, 0)):  # questions are numbered from 1
        best = max(WEIGHTS, key=lambda w: _mean(ndcg, tried[w][tuned::2], asked[tuned::2]))
        report.fact(f"{how}_weight_of_{name}_ones", best)
        shown[other::2] = tried[best][other::2]
    what = f"weighted, {how}; weight of vectors from the other half of the questions"
    report.figure(f"{how}_ndcg_at_10", _mean(ndcg, shown, asked), "", what, at_least=RRF_TARGET)
    report.figure(f"{how}_recall_at_10", _mean(recall, shown, asked), "", what)
    equal = _mean(ndcg, tried[0.5], asked)
    report.figure(f"{how}_equal_ndcg_at_10", equal, "", f"weighted, {how}; equal weights")


def _fused(
    collection: Collection,
    asked: Sequence[Question],
    vectors: Vectors,
    weight: float,
    fusion: Fusion,
) -> Lists:
    """Return what both legs find. weight: of vectors; words have what it lacks to 1."""
    found: Lists = []
    for question, vector in zip(asked, vectors, strict=True):
        legs = [Near(vector, weight=weight), Keyword(question.text, weight=1 - weight)]
        found.append([hit.id for hit in collection.search(legs=legs, fusion=fusion, k=K)])
    return found


def _mean(measure, lists: Lists, asked: Sequence[Question]) -> float:  # noqa: ANN001
    return float(np.mean([measure(ids, one.grades) for ids, one in zip(lists, asked, strict=True)]))


def _speed(
    report: Report,
    collection: Collection,
    asked: Sequence[Question],
    vectors: Vectors,
    rounds: int,
) -> None:
    """Time the three in turn, round by round."""
    ways = {
        "bm25": lambda at: collection.search(keyword=asked[at].text, k=K),
        "dense": lambda at: collection.search(vectors[at], k=K),
        "rrf": lambda at: collection.search(legs=[Near(vectors[at]), Keyword(asked[at].text)], k=K),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, search in ways.items():
            seconds[name] += timed(search, len(asked))
    for name, took in seconds.items():
        report.times(name, took, "a question, already encoded, through client and server")


if __name__ == "__main__":
    sys.exit(main())
