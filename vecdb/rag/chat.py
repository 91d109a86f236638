"""The language model of an operator, for threads: messages in, the pieces of its answer out.

Requests run in one event loop on a thread of their own, see completions.py; whoever reads an answer
waits here, and when he is no longer wanted his request ends at once, wherever it is: then the model
stops as well, and does not write for nobody.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, Future
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from vecdb.config import AnswerConfig
from vecdb.errors import FailedPrecondition, NoLanguageModel, Unavailable

if TYPE_CHECKING:
    from vecdb.rag.completions import Completions

# How often it is asked whether an answer is still wanted.
WAKE_S = 0.1


class End(NamedTuple):
    """How an answer ended, as the server says it.

    finish_reason: "stop", "length", or another word of its own; "" where it says none. Tokens are 0
    and model is "" where it does not say.
    """

    finish_reason: str
    prompt_tokens: int
    answer_tokens: int
    model: str


Delta: TypeAlias = str | End
"""A piece of text, or last of all, the end."""

Message: TypeAlias = Mapping[str, str]
"""What a chat holds: its "role" (system, user, assistant) and its "content"."""


class LanguageModel:
    """The language model. Any thread may ask; close ends all that is under way.

    configured: whether there is one. environ: where its key may be, which is read now. Raises
    FailedPrecondition where settings are wrong, the key is missing, or the extra is not installed.
    """

    def __init__(self, config: AnswerConfig, environ: Mapping[str, str]) -> None:
        self.configured = bool(config.endpoint)
        self._lock = threading.Lock()  # guards _closed: no request may come to a loop that ended
        self._closed = not self.configured
        if self.configured:
            self._completions = _completions(config, environ)
            self._timeout_s = config.timeout_s
            self._loop: asyncio.AbstractEventLoop
            self._ending: asyncio.Event
            started = threading.Event()
            self._thread = threading.Thread(
                target=lambda: asyncio.run(self._run(started)), name="language-model", daemon=True
            )
            self._thread.start()
            started.wait()

    def stream(
        self,
        messages: Sequence[Message],
        max_tokens: int,
        timeout_s: float,
        is_wanted: Callable[[], bool],
    ) -> Iterator[Delta]:
        """Return an iterator over the pieces of an answer; the last is its End.

        timeout_s: of all of it; how long a server may be silent is answer.timeout_s. is_wanted:
        asked every now and then; once it is False there is nothing more to come, nor an End. To
        close the iterator ends the request as well.

        Raises NoLanguageModel; and while it is read FailedPrecondition (the key, the address or the
        request is refused), Overloaded, Unavailable (also after some text, where the server breaks
        off) and DeadlineExceeded.
        """
        if not self.configured:
            raise NoLanguageModel(
                "no language model is configured",
                hint="set answer.endpoint to a server with OpenAI's chat completions, such as "
                "http://127.0.0.1:8000/v1",
            )
        return self._pieces(messages, max_tokens, time.monotonic() + timeout_s, is_wanted)

    def close(self) -> None:
        """End all requests, with Unavailable, and the thread."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        self._loop.call_soon_threadsafe(self._ending.set)
        self._thread.join()

    def _pieces(
        self,
        messages: Sequence[Message],
        max_tokens: int,
        until: float,
        is_wanted: Callable[[], bool],
    ) -> Iterator[Delta]:
        came: SimpleQueue[Delta | None] = SimpleQueue()
        asked = self._ask(messages, max_tokens, until, came)
        asked.add_done_callback(lambda _: came.put(None))
        try:
            while is_wanted():
                try:
                    piece = came.get(timeout=WAKE_S)
                except Empty:
                    continue
                if piece is None:
                    asked.result()
                    return
                yield piece
        except CancelledError:
            raise Unavailable("the server is about to stop", retry_after_s=1.0) from None
        finally:
            asked.cancel()

    def _ask(
        self,
        messages: Sequence[Message],
        max_tokens: int,
        until: float,
        came: SimpleQueue[Delta | None],
    ) -> Future[None]:
        from vecdb.rag.completions import Request

        begins_until = min(until, time.monotonic() + self._timeout_s)
        request = Request(messages, max_tokens, begins_until, until, came.put)
        with self._lock:
            if self._closed:
                raise Unavailable("the server is about to stop", retry_after_s=1.0)
            answer = self._completions.answer(request)
            return asyncio.run_coroutine_threadsafe(answer, self._loop)

    async def _run(self, started: threading.Event) -> None:
        self._loop, self._ending = asyncio.get_running_loop(), asyncio.Event()
        started.set()
        await self._ending.wait()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._completions.close()


def _completions(config: AnswerConfig, environ: Mapping[str, str]) -> Completions:
    # Here and not above: a server without a language model needs no HTTP client.
    try:
        from vecdb.rag.completions import Completions
    except ModuleNotFoundError as error:
        if error.name != "httpx":
            raise
        raise FailedPrecondition(
            "answer.endpoint is set, but the package httpx is not installed",
            hint="pip install 'vecdb[documents]'",
        ) from None
    return Completions(config, environ)
