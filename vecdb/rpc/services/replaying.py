"""Documents.Replay: logged questions asked again in several ways, and how the ways compare."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence

import grpc

from vecdb.collection.collection import Collection
from vecdb.database import Database
from vecdb.errors import InvalidArgument
from vecdb.rag import judging
from vecdb.rag.documents import DOCUMENT
from vecdb.rag.judging import Estimate, estimate
from vecdb.rpc.deadline import remaining_s
from vecdb.rpc.pb import retrieval_pb2 as pb
from vecdb.rpc.services.query_log import QueryLog, Question
from vecdb.rpc.services.retrieving import Retrieving
from vecdb.types import Wanted

RETRIEVALS_MAX = 10
QUESTIONS, QUESTIONS_MAX = 1_000, 100_000
K, K_MAX = 10, 100
CANDIDATES_OF_K = 5
"""Chunks that are looked at for each document that is compared."""


class _Way:
    """One retrieval, and what it gave."""

    def __init__(self, retrieval: pb.Retrieval, name: str) -> None:
        self.retrieval = retrieval
        self.name = name
        self.found: list[list[str]] = []
        self.latency_ms: list[float] = []


def replay(
    log: QueryLog,
    retrieving: Retrieving,
    database: Database,
    request: pb.ReplayRequest,
    context: grpc.ServicerContext,
) -> Iterator[pb.ReplayResponse]:
    """Yield how far it is after each question, and at the end what each way gave.

    Nothing is held open while a reply is sent.
    """
    ways, k = _ways(request, retrieving), request.k or K
    questions = log.questions(
        request.collection,
        request.questions or QUESTIONS,
        judged=request.judged,
        timeout_s=remaining_s(context),
    )
    for done, question in enumerate(questions, 1):
        for way in ways:
            asked = pb.ContextRequest(collection=request.collection, retrieval=way.retrieval)
            if question.filter is not None:
                asked.filter.CopyFrom(question.filter)
            with database.collection(request.collection) as collection:
                found = retrieving.find(collection, asked, question.searched, context)
            way.found.append(list(dict.fromkeys(hit.document for hit in found.hits))[:k])
            way.latency_ms.append(found.search_us / 1e3)
        yield pb.ReplayResponse(progress=pb.ReplayProgress(done=done, questions=len(questions)))
    with database.collection(request.collection) as collection:
        grades = [_of_documents(collection, question) for question in questions]
    judged = [at for at, one in enumerate(grades) if any(grade > 0 for grade in one.values())]
    end = pb.ReplayEnd(questions=len(questions), judged=len(judged))
    for way in ways:
        report = end.reports.add(name=way.name)
        _judge(report, way, ways[0], grades, judged, k)
    yield pb.ReplayResponse(end=end)


def _ways(request: pb.ReplayRequest, retrieving: Retrieving) -> list[_Way]:
    if not 1 <= len(request.retrievals) <= RETRIEVALS_MAX:
        raise InvalidArgument(
            f"expected 1 to {RETRIEVALS_MAX} retrievals, got {len(request.retrievals)}",
            field="retrievals",
        )
    for name, asked, most in (
        ("questions", request.questions, QUESTIONS_MAX),
        ("k", request.k, K_MAX),
    ):
        if asked > most:
            raise InvalidArgument(f"{name} is {asked}, at most {most}", field=name)
    ways: list[_Way] = []
    for at, one in enumerate(request.retrievals):
        retrieving.check_retrieval(one, f"retrievals[{at}]")
        retrieval = pb.Retrieval()
        retrieval.CopyFrom(one)
        retrieval.candidates = max(one.candidates, CANDIDATES_OF_K * (request.k or K))
        ways.append(_Way(retrieval, one.name or f"retrieval {at + 1}"))
    if len({way.name for way in ways}) < len(ways):
        raise InvalidArgument("two retrievals have one name", field="retrievals")
    return ways


def _of_documents(collection: Collection, question: Question) -> Mapping[str, float]:
    """Return a question's grades by document: a chunk's is its document's, the best of several."""
    if not question.grades:
        return {}
    with collection.snapshot() as snapshot:
        found = snapshot.get(list(question.grades), Wanted(), 1 << 30)
    document_of = {
        point.id: str(json.loads(point.payload or b"{}").get(DOCUMENT, point.id))
        for point in found.points
    }
    grades: dict[str, float] = {}
    for name, grade in question.grades.items():
        document = document_of.get(name, name)
        grades[document] = max(grade, grades.get(document, 0.0))
    return grades


def _judge(
    report: pb.ReplayReport,
    way: _Way,
    first: _Way,
    grades: Sequence[Mapping[str, float]],
    judged: Sequence[int],
    k: int,
) -> None:
    if judged:
        pairs = [(way.found[at], grades[at]) for at in judged]
        _fill(report.recall, estimate([judging.recall(*pair, k) for pair in pairs]))
        _fill(report.ndcg, estimate([judging.ndcg(*pair, k) for pair in pairs]))
        _fill(report.mrr, estimate([judging.reciprocal_rank(*pair, k) for pair in pairs]))
    shared = [
        len(set(own) & set(other)) / len(other)
        for own, other in zip(way.found, first.found, strict=True)
        if other
    ]
    if shared:
        _fill(report.overlap, estimate(shared))
    if way.latency_ms:
        _fill(report.latency_ms, estimate(way.latency_ms))


def _fill(message: pb.Estimate, found: Estimate) -> None:
    message.mean, message.low, message.high = found
