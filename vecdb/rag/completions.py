"""OpenAI's chat completions over HTTP: messages go out, the pieces of an answer come in.

For any server that has them: vLLM, llama.cpp, Ollama, OpenAI. Runs in one event loop, so that the
request of a caller who went away ends wherever it is; threads are chat.py's.

A request that failed is sent again, after a growing pause or the one that the server asks for, as
long as nothing of the answer was given away and it may still begin in time. A server that refuses
an option that can be done without is asked without it, from then on.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import random
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import httpx

from vecdb.config import AnswerConfig
from vecdb.embed.address import Address, Refused, certificates, retry_after_s
from vecdb.errors import (
    DeadlineExceeded,
    FailedPrecondition,
    Overloaded,
    Unavailable,
    VecdbError,
)
from vecdb.rag.answer_stream import AnswerStream, BrokenOff, Failed, Malformed
from vecdb.rag.chat import Delta, Message

CONNECT_S = 10.0
TRIES = 5
BACKOFF_S = 0.25
ERROR_BYTES = 1 << 16
LIST_BYTES = 1 << 20
# Of an answer: a token comes as an object of some hundred bytes.
TOKEN_BYTES, ANSWER_BYTES, ANSWER_BYTES_MAX = 4096, 1 << 20, 1 << 26
KEPT_ALIVE_S = 60.0
_CUT = "ended without the mark of an end"
# Options that some servers or models refuse by name, and what is sent in their place.
_INSTEAD = {"stream_options": "", "temperature": "", "max_tokens": "max_completion_tokens"}


class Request(NamedTuple):
    """What is asked, and for whom.

    begins_until, until: on time.monotonic(), when its answer must have begun, and when the caller
    will have gone. give: takes the pieces.
    """

    messages: Sequence[Message]
    max_tokens: int
    begins_until: float
    until: float
    give: Callable[[Delta], None]


class _Again(Exception):
    """The request may do better when it is sent again.

    failure: what to say when it does not. pause_s: the least to wait; None to ask at once.
    """

    def __init__(self, failure: VecdbError, pause_s: float | None = 0.0) -> None:
        super().__init__(str(failure))
        self.failure = failure
        self.pause_s = pause_s


class Completions:
    """The server with the language model. All calls come from one event loop.

    Raises FailedPrecondition where the settings are wrong or the key is missing.
    """

    def __init__(self, config: AnswerConfig, environ: Mapping[str, str]) -> None:
        base = config.endpoint.rstrip("/")
        self._config = config
        self._address = Address(
            f"{base}/chat/completions",
            {"key_env": config.key_env, "key_file": config.key_file},
            environ,
            section="answer",
            source="model",
        )
        self._host = self._address.host
        self._models_url = f"{base}/models"
        self._model = config.model
        self._refused: set[str] = set()
        self._turns = asyncio.Semaphore(config.at_once)
        # It writes a line for each request.
        logging.getLogger("httpx").setLevel(logging.WARNING)
        self._client = httpx.AsyncClient(
            headers={"content-type": "application/json", "accept-encoding": "identity"},
            follow_redirects=False,
            trust_env=False,
            verify=certificates(config.ca_file, "answer"),
            # How long all parts of a request may take together is said elsewhere.
            timeout=httpx.Timeout(None, connect=CONNECT_S),
            limits=httpx.Limits(keepalive_expiry=KEPT_ALIVE_S),
        )

    async def close(self) -> None:
        """End all connections."""
        await self._client.aclose()

    async def answer(self, request: Request) -> None:
        """Give away an answer piece by piece, its End last.

        Raises FailedPrecondition, DeadlineExceeded, and Unavailable or Overloaded with
        retry_after_s.
        """
        try:
            async with asyncio.timeout_at(request.begins_until):
                await self._turns.acquire()
        except TimeoutError:
            if time.monotonic() >= request.until:
                raise DeadlineExceeded("other answers were written before this one") from None
            raise Overloaded(
                f"{self._config.at_once} answers are being written already",
                hint="come back later, or raise answer.at_once",
                retry_after_s=1.0,
            ) from None
        try:
            await self._tried(request)
        finally:
            self._turns.release()

    async def _tried(self, request: Request) -> None:
        for attempt in itertools.count():
            try:
                await self._once(request)
                return
            except _Again as again:
                failure, least_s = again.failure, again.pause_s
            if least_s is None:
                continue
            pause_s = BACKOFF_S * 2**attempt * random.uniform(0.5, 1.0)
            pause_s = max(pause_s, least_s)
            failure.retry_after_s = max(1.0, pause_s)
            if attempt + 1 == TRIES or time.monotonic() + pause_s >= request.begins_until:
                raise failure
            await asyncio.sleep(pause_s)

    async def _once(self, request: Request) -> None:
        """Send a request, and give away what comes. Raises _Again while nothing was."""
        answer = AnswerStream("")
        failure: VecdbError
        try:
            async with asyncio.timeout_at(request.begins_until) as limit:
                content = await self._content(request)
                async with self._client.stream(
                    "POST",
                    self._address.url,
                    content=content,
                    headers=self._address.authorization(),
                ) as response:
                    await self._check(response)
                    answer = AnswerStream(response.headers.get("content-type", ""))
                    await self._read(response, answer, request, limit)
            request.give(answer.end)
            return
        except TimeoutError:
            raise self._late(request, answer) from None
        except Malformed as error:
            raise Unavailable(
                f"{self._host} answered with {error}",
                hint="answer.endpoint is where a server has chat completions, such as "
                "http://127.0.0.1:8000/v1",
            ) from None
        except Failed as error:
            said = self._address.said(str(error).encode())
            failure = Unavailable(f"{self._host} failed in mid-answer{': ' if said else ''}{said}")
        except (BrokenOff, httpx.RequestError) as error:
            failure = self._broken_off(error, answer)
        if answer.begun:
            raise failure
        raise _Again(failure)

    async def _read(
        self,
        response: httpx.Response,
        answer: AnswerStream,
        request: Request,
        limit: asyncio.Timeout,
    ) -> None:
        most = min(ANSWER_BYTES_MAX, ANSWER_BYTES + TOKEN_BYTES * request.max_tokens)
        size = events = 0
        async for piece in response.aiter_bytes():
            size += len(piece)
            if size > most:
                raise FailedPrecondition(
                    f"{self._host} answered with more than {most:,} bytes, "
                    f"which {request.max_tokens:,} tokens do not take",
                    hint="look at answer.endpoint",
                )
            for text in answer.feed(piece):
                request.give(text)
            if answer.done:
                return
            if answer.events > events:  # a comment is no sign that it goes on
                events = answer.events
                next_until = time.monotonic() + self._config.timeout_s
                limit.reschedule(min(request.until, next_until))
        for text in answer.finish():
            request.give(text)

    async def _content(self, request: Request) -> bytes:
        """Return the body of a request."""
        body: dict[str, object] = {
            "model": self._model or await self._first_model(),
            "messages": request.messages,
            "max_tokens": request.max_tokens,
            "temperature": self._config.temperature,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        for option in self._refused:
            value = body.pop(option)
            if instead := _INSTEAD[option]:
                body[instead] = value
        return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode(errors="replace")

    async def _first_model(self) -> str:
        async with self._client.stream(
            "GET", self._models_url, headers=self._address.authorization()
        ) as response:
            await self._check(response)
            content = await _start(response, LIST_BYTES)
        try:
            name = json.loads(content)["data"][0]["id"]
        except (ValueError, RecursionError, LookupError, TypeError):
            name = ""
        if not isinstance(name, str) or not name:
            raise FailedPrecondition(
                f"{self._host} does not say which models it has", hint="set answer.model"
            )
        self._model = name
        return name

    async def _check(self, response: httpx.Response) -> None:
        """Raise what an answer means that is none: _Again where another request may be answered."""
        if response.is_success:
            return
        status, content = response.status_code, await _start(response, ERROR_BYTES)
        refused = Unavailable(f"{self._host} answered HTTP {status}")
        if status in (401, 403) and self._address.key.renewed():
            raise _Again(refused, None)
        self._model = self._config.model  # the one that it had may be there no longer
        try:
            failure = self._address.failure(status, content)
        except Refused as error:
            for option, instead in _INSTEAD.items():
                named = (instead or option).encode() in content
                if named and option not in self._refused:
                    self._refused.add(option)
                    raise _Again(refused, None) from None
            raise FailedPrecondition(
                f"{self._host} refused the request: {error}",
                hint="where it is too long for the model, ask with a smaller budget_tokens",
            ) from None
        raise _Again(failure, retry_after_s(response.headers))

    def _late(self, request: Request, answer: AnswerStream) -> VecdbError:
        if time.monotonic() >= request.until:
            return DeadlineExceeded(f"{self._host} did not finish its answer in time")
        what = "stopped in mid-answer" if answer.begun else "did not begin to answer"
        return Unavailable(
            f"{self._host} {what}, for {self._config.timeout_s:g} s",
            hint="is it busy? how long is waited is set by answer.timeout_s",
            retry_after_s=1.0,
        )

    def _broken_off(self, error: Exception, answer: AnswerStream) -> VecdbError:
        why = self._address.plain(str(error)) or _CUT
        if isinstance(error, httpx.ConnectTimeout):
            return Unavailable(f"{self._host} cannot be reached: no connection in time")
        if isinstance(error, httpx.ConnectError):
            return Unavailable(f"{self._host} cannot be reached: {why}")
        return Unavailable(f"{self._host} broke off{' in mid-answer' * answer.begun}: {why}")


async def _start(response: httpx.Response, most: int) -> bytes:
    """Return the first bytes of an answer, about as many as that at most."""
    read = bytearray()
    async for piece in response.aiter_bytes():
        read += piece
        if len(read) > most:
            break
    return bytes(read)
