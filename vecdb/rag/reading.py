"""How a document's bytes become text: here for plain text and Markdown, elsewhere for the rest.

HTML and PDF are read by processes of their own, within bounds of time and memory: what makes one
hang or die takes nothing of the server with it.
"""

from __future__ import annotations

import codecs
import math
import re
import threading
import time
from enum import Enum

from vecdb.config import DocumentsConfig
from vecdb.errors import BadDocument, DeadlineExceeded, LimitExceeded, Unavailable
from vecdb.rag.reader_main import HTML, PDF, Bounds
from vecdb.rag.readers import Reader
from vecdb.rag.sections import title_of
from vecdb.rag.texts import Text

IDLE_S = 60.0
"""A reader that nobody needed for so long ends."""

DOCUMENTS_MAX = 200
"""After so many documents a reader is replaced: libraries in C keep some memory of each."""

EXPANSION = 4
"""A text may have so many times the bytes that a document may have."""

TITLE_CHARACTERS = 64 * 1024
"""How far into Markdown its title is looked for."""


class MediaKind(Enum):
    """What a document's bytes are. UNKNOWN is found out: HTML and PDF, else plain text."""

    UNKNOWN = 0
    TEXT = 1
    MARKDOWN = 2
    HTML = 3
    PDF = 4


class Readers:
    """Reads documents. Safe for any number of threads; close() it when none reads any more."""

    def __init__(self, config: DocumentsConfig, *, idle_s: float = IDLE_S) -> None:
        self._config = config
        self._idle_s = idle_s
        text_bytes = EXPANSION * config.document_bytes
        self._bounds = Bounds(config.reader_memory_bytes, config.reader_s, text_bytes)
        self._changed = threading.Condition()
        # Guarded by _changed. Idle ones are in the order in which they became idle.
        self._living: set[Reader] = set()
        self._idle: list[tuple[float, Reader]] = []
        self._sweep: threading.Timer | None = None
        self._closed = False

    def read(self, content: bytes, kind: MediaKind, timeout_s: float | None = None) -> Text:
        """Return the text of a document.

        Raises LimitExceeded for one of more than document_bytes; BadDocument for one that is
        empty, is not what it is said to be, or needs more memory or time than a reader has;
        FailedPrecondition without the extra `documents`; DeadlineExceeded; Unavailable after
        close().
        """
        self.check(content)
        kind = sniff(content) if kind is MediaKind.UNKNOWN else kind
        if not content.strip():
            raise _nothing()
        if kind is MediaKind.TEXT:
            text = Text(decode(content))
        elif kind is MediaKind.MARKDOWN:
            decoded = decode(content)
            text = Text(decoded, True, title_of(decoded[:TITLE_CHARACTERS]))
        else:
            text = self._read_elsewhere(content, HTML if kind is MediaKind.HTML else PDF, timeout_s)
        if not text.text.strip():
            raise _nothing()
        return text

    def check(self, content: bytes) -> None:
        """Raise LimitExceeded for a document of more than document_bytes."""
        most = self._config.document_bytes
        if len(content) > most:
            raise LimitExceeded(
                f"the document has {len(content):,} bytes, the limit is {most:,}",
                hint="put it in parts, or raise documents.document_bytes",
                key="documents.document_bytes",
            )

    def close(self) -> None:
        """End all readers; a document that is being read is Unavailable."""
        with self._changed:
            self._closed = True
            living, self._living, self._idle = self._living, set(), []
            if self._sweep is not None:
                self._sweep.cancel()
            self._changed.notify_all()
        for reader in living:
            reader.close()

    def _read_elsewhere(self, content: bytes, kind: int, timeout_s: float | None) -> Text:
        deadline = math.inf if timeout_s is None else time.monotonic() + timeout_s
        reader = self._take(deadline)
        try:
            return reader.read(kind, content, deadline)
        except BadDocument:
            if self._closed:
                raise _closed() from None
            raise
        finally:
            self._put_back(reader)

    def _take(self, deadline: float) -> Reader:
        """Return a reader that is free, or new; wait for one where all there may be are busy."""
        with self._changed:
            while not self._closed:
                while self._idle:
                    reader = self._idle.pop()[1]
                    if reader.process.poll() is None:
                        return reader
                    self._living.discard(reader)
                    reader.close()
                if len(self._living) < self._config.readers:
                    # A start of a process takes a millisecond; the lock keeps their number.
                    reader = Reader(self._bounds)
                    self._living.add(reader)
                    return reader
                left = deadline - time.monotonic()
                if left <= 0 or not self._changed.wait(None if left == math.inf else left):
                    raise DeadlineExceeded("no reader was free before the deadline")
        raise _closed()

    def _put_back(self, reader: Reader) -> None:
        with self._changed:
            kept = reader.fit and reader.documents < DOCUMENTS_MAX and not self._closed
            if kept:
                self._idle.append((time.monotonic(), reader))
                self._sweep_later()
            else:
                self._living.discard(reader)
            self._changed.notify()
        if not kept:
            reader.close()

    def _sweep_later(self) -> None:
        if self._sweep is None and self._idle and not self._closed:
            wait_s = max(0.0, self._idle[0][0] + self._idle_s - time.monotonic())
            self._sweep = threading.Timer(wait_s, self._end_idle)
            self._sweep.daemon = True
            self._sweep.name = "readers"
            self._sweep.start()

    def _end_idle(self) -> None:
        """End readers that nobody needed for a while."""
        ended: list[Reader] = []
        with self._changed:
            self._sweep = None
            while self._idle and self._idle[0][0] + self._idle_s <= time.monotonic():
                ended.append(self._idle.pop(0)[1])
            self._living.difference_update(ended)
            self._sweep_later()
        for reader in ended:
            reader.close()


def sniff(content: bytes) -> MediaKind:
    """Return what bytes are, by how they begin: PDF, HTML, or else plain text."""
    head = content[:1024]
    if head.lstrip().startswith(b"%PDF-"):
        return MediaKind.PDF
    for bom, encoding in ((codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be")):
        if head.startswith(bom):
            head = head.decode(encoding, "replace").encode("utf-8", "replace")
    head = head.removeprefix(codecs.BOM_UTF8)
    return MediaKind.HTML if _HTML.match(head) else MediaKind.TEXT


_HTML = re.compile(
    rb"\s*(?:<\?xml[^>]*>\s*)?(?:(?><!--.*?-->)\s*)*+"
    rb"<(?:!doctype\s+html|html|head|body|title|meta|h1|div|p|table)\b",
    re.IGNORECASE | re.DOTALL,
)


def decode(content: bytes) -> str:
    """Return text of UTF-8, or of UTF-16 with a byte order mark; line ends are newlines.

    Raises BadDocument for what is neither, with the position of the first byte that is wrong.
    """
    encoding, start = "utf-8", 0
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encoding, start = "utf-16", 0
    elif content.startswith(codecs.BOM_UTF8):
        start = len(codecs.BOM_UTF8)
    try:
        text = content[start:].decode(encoding)
    except UnicodeDecodeError as error:
        at = error.start + start
        raise BadDocument(
            f"the text is not {encoding.upper()}: byte {at:,} is 0x{content[at]:02x}",
            hint="convert it, as by `iconv -f latin1 -t utf-8`, or name its media type",
        ) from None
    at = text.find("\0")
    if at >= 0:
        raise BadDocument(
            f"it is not text: character {at:,} is NUL",
            hint="name its media type; texts are UTF-8, or UTF-16 with a byte order mark",
        )
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _nothing() -> BadDocument:
    return BadDocument("there is nothing to read: no text", hint="leave it out, or delete it")


def _closed() -> Unavailable:
    return Unavailable("the server is stopping", retry_after_s=5.0)
