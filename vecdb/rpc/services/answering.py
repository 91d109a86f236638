"""Documents.Context and Documents.Answer: what is searched for, passages, and a model's words."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence

import grpc

from vecdb.config import Config
from vecdb.database import Database
from vecdb.errors import InvalidArgument, LimitExceeded, NoLanguageModel
from vecdb.metrics import Metrics
from vecdb.rag.chat import End, LanguageModel
from vecdb.rag.citations import Citations
from vecdb.rag.condense import Speaker, Turn, condense, condense_by
from vecdb.rag.prompts import Prompts, language_of
from vecdb.rpc.deadline import remaining_s
from vecdb.rpc.pb import retrieval_pb2 as pb
from vecdb.rpc.services.query_log import QueryLog
from vecdb.rpc.services.retrieving import Retrieving

ANSWER_S = 300.0
"""Of an answer whose call has no deadline."""
LANGUAGES = ("", "en", "zh")
MAX_TOKENS = 1_000_000
_ENDS = frozenset(("stop", "length", "nothing_relevant"))

_SPEAKERS = {pb.SPEAKER_USER: Speaker.USER, pb.SPEAKER_ASSISTANT: Speaker.ASSISTANT}


class Answering:
    """Makes contexts and answers. Safe for any number of threads."""

    def __init__(
        self,
        config: Config,
        database: Database,
        retrieving: Retrieving,
        log: QueryLog,
        metrics: Metrics,
    ) -> None:
        """Read prompts and the model's key. Raises FailedPrecondition where they cannot be had."""
        self._config = config.answer
        self._database = database
        self._retrieving = retrieving
        self._log = log
        self._metrics = metrics
        self._prompts = Prompts(config.answer.templates)
        self._model = LanguageModel(config.answer, os.environ)

    def close(self) -> None:
        """End all answers under way."""
        self._model.close()

    def context(
        self, request: pb.ContextRequest, context: grpc.ServicerContext
    ) -> pb.ContextResponse:
        """Return the passages of a question, and log it."""
        reply = self._context(request, context)
        reply.query_id = self._log.add(request, reply, "context")
        return reply

    def answer(
        self, request: pb.AnswerRequest, context: grpc.ServicerContext
    ) -> Iterator[pb.AnswerResponse | None]:
        """Yield the pieces of an answer, and its end. Raises NoLanguageModel."""
        asked = request.context
        if request.language not in LANGUAGES:
            raise InvalidArgument(
                f"no instructions in language {request.language!r}: expected en or zh",
                field="language",
            )
        if request.max_tokens > MAX_TOKENS:
            raise LimitExceeded(
                f"max_tokens is {request.max_tokens}, at most {MAX_TOKENS}", field="max_tokens"
            )
        if not self._model.configured:
            raise NoLanguageModel(
                "no language model is configured",
                hint="set answer.endpoint to a server with OpenAI's chat completions, such as "
                "http://127.0.0.1:8000/v1; Documents.Context needs none",
            )
        yield None  # so that a caller who has gone is noticed before the work begins
        found = self._context(asked, context)
        found.query_id = self._log.add(asked, found, "answer")
        language = request.language or language_of(asked.question)
        end = pb.AnswerEnd(context=found)
        if not found.passages:
            end.finish_reason = "nothing_relevant"
            self._metrics.answers.labels("nothing_relevant").inc()
            yield pb.AnswerResponse(delta=self._prompts.nothing(language))
            yield pb.AnswerResponse(end=end)
            return
        messages = self._prompts.messages(
            asked.question, found.rendered, _turns(asked.history), language
        )
        citations = Citations(len(found.passages))
        ended = "failed"
        try:
            for piece in self._pieces(messages, request, context, end):
                if text := citations.feed(piece):
                    yield pb.AnswerResponse(delta=text)
            if text := citations.end():
                yield pb.AnswerResponse(delta=text)
            known = end.finish_reason in _ENDS
            ended = end.finish_reason if known else "other" if context.is_active() else "cancelled"
        except GeneratorExit:
            ended = "cancelled"
            raise
        finally:
            self._metrics.answers.labels(ended).inc()
            self._metrics.citations_removed.inc(citations.removed)
        end.citations.extend(found.passages[marker - 1] for marker in citations.used)
        end.citations_removed = citations.removed
        yield pb.AnswerResponse(end=end)

    def _pieces(
        self,
        messages: Sequence[dict[str, str]],
        request: pb.AnswerRequest,
        context: grpc.ServicerContext,
        end: pb.AnswerEnd,
    ) -> Iterator[str]:
        """Yield the model's words; fill in how it ended."""
        begun = time.perf_counter()
        left = remaining_s(context)
        for piece in self._model.stream(
            messages,
            request.max_tokens or self._config.max_tokens,
            ANSWER_S if left is None else left,
            context.is_active,
        ):
            if begun:
                self._metrics.answer_first.observe(time.perf_counter() - begun)
                begun = 0.0
            if not isinstance(piece, End):
                yield piece
                continue
            end.finish_reason, end.model = piece.finish_reason, piece.model
            end.prompt_tokens, end.answer_tokens = piece.prompt_tokens, piece.answer_tokens
            self._metrics.answer_tokens.labels("prompt").inc(piece.prompt_tokens)
            self._metrics.answer_tokens.labels("answer").inc(piece.answer_tokens)

    def _context(
        self, request: pb.ContextRequest, context: grpc.ServicerContext
    ) -> pb.ContextResponse:
        self._retrieving.check(request)
        begun = time.perf_counter_ns()
        searched, warnings = self._searched(request, context)
        condensed = time.perf_counter_ns()
        with self._database.collection(request.collection) as collection:
            reply = self._retrieving.context(collection, request, searched, context)
        reply.warnings.extend(warnings)
        if request.history:
            reply.timings_us["condense"] = (condensed - begun) // 1000
            reply.timings_us["total"] += (condensed - begun) // 1000
        self._metrics.contexts.labels("some" if reply.passages else "nothing").inc()
        return reply

    def _searched(
        self, request: pb.ContextRequest, context: grpc.ServicerContext
    ) -> tuple[str, list[str]]:
        """Return what is searched for: the question, with what it leans on."""
        history = _turns(request.history)
        if not history:
            return request.question, []
        by_model = request.condense if request.HasField("condense") else True
        if not (by_model and self._model.configured):
            return condense(request.question, history), []
        left = remaining_s(context)
        return condense_by(
            self._model,
            self._prompts,
            request.question,
            history,
            ANSWER_S if left is None else left / 2,
            context.is_active,
        )


def _turns(history: Sequence[pb.Turn]) -> list[Turn]:
    return [Turn(_SPEAKERS[one.speaker], one.text) for one in history]
