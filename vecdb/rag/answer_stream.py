"""What the bytes of a chat completion mean: its text piece by piece, and how it ended.

Reads a stream of events, and the one object of a server that does not stream. Sends nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from vecdb.rag.chat import End
from vecdb.rag.event_stream import EventStream

DONE = "[DONE]"


class Malformed(Exception):
    """It is no chat completion; says what it is."""


class Failed(Exception):
    """The server says in mid-answer that it failed; its words, as they came."""


class BrokenOff(Exception):
    """It ended, and never said that it would."""


class AnswerStream:
    """One answer. content_type: what the server calls it.

    done: it is whole. events: how many came. begun: whether text was among them. end: what is known
    of it by now.
    """

    def __init__(self, content_type: str) -> None:
        self.done = self.begun = False
        self.events = 0
        self.end = End("", 0, 0, "")
        self._content_type = content_type
        self._stream = EventStream()
        # Of a server that does not stream, or calls it something else.
        self._whole = None if "event-stream" in content_type else bytearray()

    def feed(self, piece: bytes) -> Iterator[str]:
        """Yield the texts that came with some bytes. Raises Malformed, Failed."""
        if self._whole is not None:
            self._whole += piece
            return
        yield from self._texts(self._stream.feed(piece))

    def finish(self) -> Iterator[str]:
        """Yield what is left when no more bytes come. Raises Malformed, Failed, BrokenOff."""
        whole = bytes(self._whole or b"")
        if whole.lstrip()[:1] == b"{":
            yield from self._texts([whole.decode("utf-8", "replace"), DONE])
            return
        left = [*self._stream.feed(whole), *self._stream.end()]
        if left and not _is_whole(left[-1]):
            del left[-1]
        yield from self._texts(left)
        if not self.events and self._whole is not None:
            raise Malformed(f"what is no chat completion ({self._content_type or 'of no type'})")
        # Some leave out the mark at the end.
        self.done = self.done or bool(self.end.finish_reason)
        if not self.done:
            raise BrokenOff

    def _texts(self, events: list[str]) -> Iterator[str]:
        for data in events:
            if self.done:
                return
            self.events += 1
            if data.strip() == DONE:
                self.done = True
            elif text := self._text(data):
                self.begun = True
                yield text

    def _text(self, data: str) -> str:
        try:
            chunk = json.loads(data)
        except (ValueError, RecursionError):
            raise Malformed("what is not JSON") from None
        if not isinstance(chunk, Mapping):
            raise Malformed("JSON that is no object")
        choices = chunk.get("choices")
        if not isinstance(choices, list):
            if chunk.get("error"):
                raise Failed(data)
            raise Malformed("an object without choices")
        self._note(chunk)
        return self._chosen(choices[0]) if choices else ""  # the usage comes without

    def _note(self, chunk: Mapping[str, Any]) -> None:
        usage, model = chunk.get("usage"), chunk.get("model")
        if isinstance(usage, Mapping):
            read, written = usage.get("prompt_tokens"), usage.get("completion_tokens")
            self.end = self.end._replace(prompt_tokens=_count(read), answer_tokens=_count(written))
        if isinstance(model, str) and model:
            self.end = self.end._replace(model=model)

    def _chosen(self, choice: object) -> str:
        if not isinstance(choice, Mapping):
            raise Malformed("a choice that is no object")
        if isinstance(reason := choice.get("finish_reason"), str):
            self.end = self.end._replace(finish_reason=reason)
        said = choice.get("delta") or choice.get("message")
        text = said.get("content") if isinstance(said, Mapping) else None
        if not isinstance(text, str | None):
            raise Malformed("a text that is no string")
        return text or ""


def _is_whole(data: str) -> bool:
    """Return whether the last event came to its end; what is cut off is no JSON."""
    try:
        json.loads(data)
    except (ValueError, RecursionError):
        return data.strip() == DONE
    return True


def _count(said: object) -> int:
    return said if isinstance(said, int) and 0 <= said < 1 << 63 else 0
