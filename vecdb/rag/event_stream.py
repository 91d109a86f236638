"""Server-sent events: bytes as they come in, the data of whole events out.

As the HTML standard has it (section 9.2.6), but that an event is also done where the stream ends,
for servers that forget the last empty line. Names and ids of events are not looked at.
"""

from __future__ import annotations

import re

_LINE = re.compile(rb"([^\r\n]*)(\r\n|\r|\n)")
_END = re.compile(rb"\r\n|\r|\n")
_MARK = "\ufeff".encode()


class EventStream:
    """One stream. Of its bytes it keeps the event that is not done; their number is not bounded."""

    def __init__(self) -> None:
        self._rest = bytearray()
        self._data: list[str] = []
        self._begun = False

    def feed(self, chunk: bytes) -> list[str]:
        """Return the data of the events that are done with this chunk."""
        self._rest += chunk
        if not self._begun:
            if len(self._rest) < len(_MARK) and _MARK.startswith(self._rest):
                return []
            self._begun = True
            self._rest = self._rest.removeprefix(_MARK)
        elif b"\n" not in chunk and b"\r" not in chunk:
            return []  # a long line is not read again for each of its chunks
        done: list[str] = []
        at = 0
        while match := _LINE.match(self._rest, at):
            if match[2] == b"\r" and match.end() == len(self._rest):
                break  # its line feed may be on the way
            at = match.end()
            done += self._line(match[1])
        del self._rest[:at]
        return done

    def end(self) -> list[str]:
        """Return the data of what was left at the end."""
        lines = _END.split(bytes(self._rest))
        return [data for line in (*lines, b"") for data in self._line(line)]

    def _line(self, line: bytes) -> list[str]:
        if not line:
            data, self._data = self._data, []
            return ["\n".join(data)] if data else []
        # Whole lines are decoded: a character may come in two chunks.
        name, _, value = line.decode("utf-8", "replace").partition(":")
        if name == "data":
            self._data.append(value.removeprefix(" "))
        return []
