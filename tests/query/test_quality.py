"""How good keyword search is: the Cranfield collection, through the server."""

from __future__ import annotations

import math
import re
from pathlib import Path

from tests.conftest import MakeServer
from tests.live import wait_until
from vecdb_client import TextField

REFERENCE_NDCG_AT_10 = 0.358
"""Of plain BM25 by a plain script; a judgement of 1 to 4 counts as relevant, as it does here."""

K = 10


def records(path: Path) -> list[dict[str, str]]:
    """Return the records of a file: `.I` begins one, `.T`, `.A`, `.B`, `.W` a part of it."""
    found: list[dict[str, str]] = []
    part = ""
    for line in path.read_text(encoding="utf-8-sig").splitlines():
        if line.startswith(".I"):
            found.append({"number": line[2:].strip()})
            part = ""
        elif re.fullmatch(r"\.[TABW]\s*", line):
            part = line[1]
        elif part and line.strip():
            found[-1][part] = f"{found[-1].get(part, '')} {line}".strip()
    return found


def relevant(path: Path) -> dict[int, set[str]]:
    """Return the documents that were judged to fit each query, queries numbered from 1."""
    found: dict[int, set[str]] = {}
    for line in path.read_text(encoding="utf-8-sig").splitlines():
        parts = line.split()
        if len(parts) == 3 and int(parts[2]) > 0:
            found.setdefault(int(parts[0]), set()).add(parts[1])
    return found


def test_cranfield(make_server: MakeServer, shared_data: Path) -> None:
    folder = shared_data / "cranfield"
    documents = records(folder / "cran.all.1400")
    queries = records(folder / "cran.qry")
    judged = relevant(folder / "cranqrel")
    assert (len(documents), len(queries)) == (1400, 225)
    server = make_server(storage__tail_points=256)
    fields = [TextField("title", "english"), TextField("text", "english")]
    with server.client() as client:
        collection = client.create_collection("cranfield", text_fields=fields)
        collection.upsert(
            {"id": one["number"], "payload": {"title": one.get("T"), "text": one.get("W")}}
            for one in documents
        )
        wait_until(lambda: collection.stats().segments)
        gains = []
        for number, query in enumerate(queries, 1):
            hits = [hit.id for hit in collection.search(keyword=query["W"], k=K)]
            fits = judged[number]
            found = sum(1 / math.log2(at + 2) for at, one in enumerate(hits) if one in fits)
            gains.append(found / sum(1 / math.log2(at + 2) for at in range(min(K, len(fits)))))
    ndcg = sum(gains) / len(gains)
    assert ndcg >= REFERENCE_NDCG_AT_10 - 0.01, ndcg
    # And what it was when this was written, so that a change of the analysis shows.
    assert abs(ndcg - 0.384) < 0.005, ndcg
