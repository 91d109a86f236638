"""Questions that were asked, with what was found, for Feedback and Replay; opt-in.

The log is a collection of its own, a point a question, so that it can be searched, exported,
expired and deleted like everything else. Questions are written behind their replies, several in a
command; one that finds the queue full is not logged, and its reply has no id.
"""

from __future__ import annotations

import base64
import json
import logging
import queue
import threading
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from vecdb.collection.paging import Listing
from vecdb.config import Config
from vecdb.database import Database
from vecdb.errors import (
    DeadlineExceeded,
    InvalidArgument,
    LimitExceeded,
    NotFound,
    NotLogged,
    VecdbError,
    VersionMismatch,
)
from vecdb.query.order import OrderBy
from vecdb.rag.documents import json_bytes
from vecdb.rpc.pb import common_pb2, points_pb2
from vecdb.rpc.pb import retrieval_pb2 as pb
from vecdb.types import And, Equals, Exists, Op, Put, Schema, TextField, Wanted
from vecdb.write.prepare import prepare

QUEUED = 1_000
BATCH = 100
HITS = 10
"""Of each question that are kept."""
GRADE_MAX = 100.0
COMMENT_BYTES = 4_096
JUDGEMENTS = 1_000
ATTEMPTS = 5
PAGE = 1_000
FLUSH_S = 10.0

log = logging.getLogger(__name__)


class Question(NamedTuple):
    """A question as it was logged. grades: by document or chunk, where it was judged."""

    id: str
    searched: str
    filter: common_pb2.Filter | None
    grades: dict[str, float]


@dataclass(frozen=True, slots=True)
class _Flush:
    """Set once all that was queued before is written."""

    done: threading.Event


class QueryLog:
    """The log of a server. Safe for any number of threads."""

    def __init__(self, database: Database, config: Config) -> None:
        self._database = database
        self._name = config.documents.query_log
        self._limits = config.limits
        self._queue: queue.Queue[Put | _Flush | None] = queue.Queue(QUEUED)
        self._thread = threading.Thread(target=self._run, name="vecdb-query-log", daemon=True)
        if self._name:
            self._thread.start()

    def add(self, request: pb.ContextRequest, reply: pb.ContextResponse, kind: str) -> str:
        """Log a question and return its id; "" where it is not logged. kind: context or answer."""
        if not self._name:
            return ""
        name = uuid.uuid4().hex
        payload: dict[str, Any] = {
            "kind": kind,
            "collection": request.collection,
            "question": request.question,
            "searched": reply.searched,
            "asked_at_ms": time.time_ns() // 1_000_000,
            "retrieval": _retrieval(request.retrieval),
            "nothing_relevant": reply.nothing_relevant,
            "relevance": reply.relevance,
            "passages": [
                {"document": one.document, "start": one.start, "end": one.end, "score": one.score}
                for one in reply.passages[:HITS]
            ],
        }
        if request.HasField("filter"):
            payload["filter"] = base64.b64encode(request.filter.SerializeToString()).decode()
        try:
            self._queue.put_nowait(Put(name, json_bytes(payload), {}))
        except queue.Full:
            log.warning("a question is not logged: %d wait already", QUEUED)
            return ""
        return name

    def judge(self, request: pb.FeedbackRequest, timeout_s: float | None) -> None:
        """Store what was right for a question. Raises NotLogged, NotFound, InvalidArgument."""
        self._check_on()
        _check(request)
        self._flush(timeout_s)
        for attempt in range(1, ATTEMPTS + 1):
            try:
                self._judge(request)
            except VersionMismatch:  # another judged it meanwhile
                if attempt == ATTEMPTS:
                    raise
            else:
                return

    def questions(
        self, collection: str, count: int, *, judged: bool, timeout_s: float | None
    ) -> list[Question]:
        """Return the latest questions of a collection, newest first. Raises NotLogged."""
        self._check_on()
        self._flush(timeout_s)
        of: list[Any] = [Equals("collection", collection)]
        if judged:
            of.append(Exists("judgements"))
        listing = Listing(And(tuple(of)), OrderBy("asked_at_ms", True))
        found: list[Question] = []
        token = ""
        try:
            with self._database.collection(self._name) as kept:
                while len(found) < count:
                    with kept.snapshot() as snapshot:
                        size = min(PAGE, count - len(found))
                        page = snapshot.page(
                            listing, size, token, Wanted(), self._limits.message_bytes // 2
                        )
                    points = points_pb2.ListPointsResponse.FromString(page.points).points
                    found += [_question(point.id, point.payload) for point in points]
                    token = page.next_token
                    if not token:
                        break
        except NotFound:  # nothing was asked yet
            return []
        return found

    def close(self) -> None:
        """Write what is queued, and end."""
        if self._thread.is_alive():
            self._queue.put(None)
            self._thread.join(FLUSH_S)

    def _check_on(self) -> None:
        if not self._name:
            raise NotLogged(
                "questions are not logged on this server",
                hint="name a collection for them in documents.query_log",
            )

    def _flush(self, timeout_s: float | None) -> None:
        """Wait until what was asked before is written. Raises DeadlineExceeded."""
        flush = _Flush(threading.Event())
        limit_s = FLUSH_S if timeout_s is None else min(timeout_s, FLUSH_S)
        try:
            self._queue.put(flush, timeout=limit_s)
        except queue.Full:
            raise DeadlineExceeded("the log of questions is behind") from None
        if not flush.done.wait(limit_s):
            raise DeadlineExceeded("the log of questions is behind")

    def _judge(self, request: pb.FeedbackRequest) -> None:
        with self._database.collection(self._name) as kept:
            with kept.snapshot() as snapshot:
                found = snapshot.get([request.query_id], Wanted(), self._limits.message_bytes)
            if not found.points:
                raise NotFound(f"no question {request.query_id!r} in the log", field="query_id")
            point = found.points[0]
            payload = json.loads(point.payload)
            grades = _grades(payload)
            grades.update({one.id: one.grade for one in request.judgements})
            if len(grades) > JUDGEMENTS:
                raise LimitExceeded(
                    f"{len(grades)} judgements of a question, the limit is {JUDGEMENTS}",
                    field="judgements",
                )
            payload["judgements"] = [{"id": name, "grade": grade} for name, grade in grades.items()]
            if request.HasField("helpful"):
                payload["helpful"] = request.helpful
            if request.comment:
                payload["comment"] = request.comment
            put = Put(point.id, json_bytes(payload), {}, if_version=point.version)
            command = prepare([put], kept.schema, self._limits, atomic=True, now_ms=kept.clock())
            kept.write(command).result(FLUSH_S)

    def _run(self) -> None:
        while True:
            taken = [self._queue.get()]
            while len(taken) < BATCH:
                try:
                    taken.append(self._queue.get_nowait())
                except queue.Empty:
                    break
            puts: list[Op] = [one for one in taken if isinstance(one, Put)]
            if puts:
                self._write(puts)
            for one in taken:
                if isinstance(one, _Flush):
                    one.done.set()
            if None in taken:
                return

    def _write(self, puts: Sequence[Op]) -> None:
        try:
            schema = Schema(text_fields=(TextField("question"),))
            self._database.create(self._name, schema, if_not_exists=True)
            with self._database.collection(self._name) as kept:
                command = prepare(
                    puts,
                    kept.schema,
                    self._limits,
                    now_ms=kept.clock(),
                    ttl_ms=kept.ttl_ms,
                )
                kept.write(command).result(FLUSH_S)
        except VecdbError as error:
            log.error("%d questions are not logged: %s", len(puts), error)
        except Exception:
            log.exception("%d questions are not logged", len(puts))


def _check(request: pb.FeedbackRequest) -> None:
    if not request.query_id:
        raise InvalidArgument("query_id is empty: Context and Answer say it", field="query_id")
    if not (request.judgements or request.HasField("helpful") or request.comment):
        raise InvalidArgument(
            "nothing is said: expected judgements, helpful or a comment", field="judgements"
        )
    for at, one in enumerate(request.judgements):
        if not one.id:
            raise InvalidArgument("the id is empty", field=f"judgements[{at}].id")
        if not 0 <= one.grade <= GRADE_MAX:
            raise InvalidArgument(
                f"the grade is {one.grade}, expected 0 to {GRADE_MAX:g}",
                field=f"judgements[{at}].grade",
            )
    size = len(request.comment.encode())
    if size > COMMENT_BYTES:
        raise LimitExceeded(
            f"the comment has {size} bytes, the limit is {COMMENT_BYTES}", field="comment"
        )


def _question(name: str, payload: bytes) -> Question:
    known = json.loads(payload or b"{}")
    filter = None
    if isinstance(known.get("filter"), str):
        filter = common_pb2.Filter.FromString(base64.b64decode(known["filter"]))
    return Question(name, str(known.get("searched", "")), filter, _grades(known))


def _grades(payload: dict[str, Any]) -> dict[str, float]:
    """Return the judgements of a question as it was logged."""
    return {str(one["id"]): float(one["grade"]) for one in payload.get("judgements") or []}


def _retrieval(retrieval: pb.Retrieval) -> str:
    """Return a name of how was searched."""
    mode = pb.RetrievalMode.Name(retrieval.mode).removeprefix("RETRIEVAL_MODE_").lower()
    parts = [retrieval.name, mode.replace("unspecified", "default"), retrieval.cross_encoder]
    return " ".join(part for part in parts if part)
