"""A reader: a process that turns one document after another into text, and may die of any of them.

Standard input is a socket to the server; the reader ends when that does. What it may have of the
machine it takes from itself before it looks at a document, and keeps nothing of the one before.

    asked     kind (1 byte), length of the content (8 bytes), content
    answered  length of a JSON object (4 bytes), the object, text of as many bytes as it says
"""

from __future__ import annotations

import json
import math
import os
import resource
import signal
import socket
import struct
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

from vecdb.errors import BadDocument, FailedPrecondition, VecdbError
from vecdb.rag.texts import Text

HTML, PDF = 1, 2
ASKED = struct.Struct(">BQ")
ANSWERED = struct.Struct(">I")
READY = b"r"
ANSWER_BYTES_MAX = 1 << 20
OUT_OF_MEMORY = 3
"""The status that a reader ends with when a document needs more memory than it may have."""

_FILES_MAX = 32
_NICENESS = 10

Read = Callable[[bytes], Text]


class Bounds(NamedTuple):
    """What a reader may have. text_bytes: of the text that it makes, as UTF-8."""

    memory_bytes: int
    read_s: float
    text_bytes: int


def main() -> None:
    """Serve the server that is at the other end of standard input."""
    bounds = Bounds(*json.loads(sys.argv[1]))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # meant for the server
    _give_up_rights(bounds)
    readers = {HTML: _html(), PDF: _pdf()}
    with socket.socket(fileno=os.dup(0)) as line:
        line.sendall(READY)
        try:
            while head := _exactly(line, ASKED.size):
                kind, size = ASKED.unpack(head)
                _serve(line, readers[kind], _exactly(line, size), bounds)
        except MemoryError:
            os._exit(OUT_OF_MEMORY)  # to tidy up may need memory, and takes time
        except OSError:
            pass  # the server is gone


def _give_up_rights(bounds: Bounds) -> None:
    os.nice(_NICENESS)
    for what, most in (
        (resource.RLIMIT_AS, bounds.memory_bytes),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, _FILES_MAX),
    ):
        hard = resource.getrlimit(what)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(what, (most, most))


def _serve(line: socket.socket, read: Read, content: bytes, bounds: Bounds) -> None:
    """Answer for a document. Raises MemoryError, after which nothing is certain here."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    cpu_s = math.ceil(used.ru_utime + used.ru_stime + bounds.read_s) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, resource.getrlimit(resource.RLIMIT_CPU)[1]))
    answer: dict[str, Any]
    text = b""
    try:
        made = read(content)
        text = made.text.encode("utf-8", "replace")
        if len(text) > bounds.text_bytes:
            raise BadDocument(
                f"its text has more than {bounds.text_bytes:,} bytes",
                hint="put it in parts, or raise documents.document_bytes",
            )
        about = {"markdown": made.markdown, "title": _short(made.title), "warnings": made.warnings}
        answer = {**about, "bytes": len(text)}
    except VecdbError as error:
        text, answer = b"", {"reason": error.reason, "message": error.message, "hint": error.hint}
    except MemoryError:
        raise
    except Exception as error:
        what = f"{type(error).__name__}: {error}"[:500]
        answer = {"reason": BadDocument.reason, "message": f"it cannot be read: {what}", "hint": ""}
    said = json.dumps(answer).encode()
    line.sendall(ANSWERED.pack(len(said)) + said)
    line.sendall(text)


def _short(title: str) -> str:
    return title.encode("utf-8", "replace").decode()[:1000]


def _exactly(line: socket.socket, size: int) -> bytes:
    """Return so many bytes; fewer, or none, where the other end is gone."""
    read = bytearray()
    while len(read) < size and (more := line.recv(min(size - len(read), 1 << 20))):
        read += more
    return bytes(read) if len(read) == size else b""


def _html() -> Read:
    try:
        from vecdb.rag.markup import read_html
    except ImportError:
        return _lacking("HTML", "markdownify")
    return read_html


def _pdf() -> Read:
    try:
        from vecdb.rag.pdf import read_pdf
    except ImportError:
        return _lacking("PDF", "pypdfium2")
    return read_pdf


def _lacking(kind: str, library: str) -> Read:
    def read(content: bytes) -> Text:
        raise FailedPrecondition(
            f"reading {kind} needs {library}, which is not installed here",
            hint="pip install 'vecdb[documents]'",
        )

    return read


if __name__ == "__main__":
    main()
