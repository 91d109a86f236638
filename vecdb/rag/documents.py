"""A document as points: what it is stored as, which operations turn one version into the next.

proto/vecdb/v1/documents.proto says what the payloads are. A chunk's id is a hash of its document
and of what is encoded of it, so that a chunk whose words did not change keeps its id, its vectors
and its place in every index, wherever in the text it now stands.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from vecdb.errors import BadPayload, Corrupt
from vecdb.rag.texts import Chunk
from vecdb.types import Delete, Op, Patch, PayloadEdits, Put

RULES = 1
"""Version of how documents are read and cut: another one has unchanged documents cut anew."""

DOCUMENT, TITLE, SECTION, TEXT = "document", "title", "section", "text"
LAYOUT, METADATA = "layout", "metadata"
BETWEEN = " > "

_ROW = np.dtype([("id", "V16"), ("start", "<u4"), ("end", "<u4")])


class Placed(NamedTuple):
    """Where a chunk stands: its point's id, and characters of the document's text, [start, end)."""

    id: str
    start: int
    end: int


class Described(NamedTuple):
    """What a document is, beside its text.

    metadata: a JSON object, or b"". put: hash of all that decides what is stored.
    """

    id: str
    title: str
    media_type: str
    metadata: bytes
    sha256: str
    characters: int
    put: str
    put_at: str


class Layout:
    """The chunks of a document, in the order of its text."""

    def __init__(self, table: np.ndarray[Any, Any]) -> None:
        self._table = table

    def __len__(self) -> int:
        return len(self._table)

    def __iter__(self) -> Iterator[Placed]:
        return (self[at] for at in range(len(self)))

    def __getitem__(self, at: int) -> Placed:
        row = self._table[at]
        return Placed(bytes(row["id"]).hex(), int(row["start"]), int(row["end"]))


class Stored(NamedTuple):
    """A document as its point has it. put: see Described."""

    id: str
    version: int
    payload: dict[str, Any]
    put: str
    layout: Layout


class Plan(NamedTuple):
    """The operations that store a document; its own point's is the last.

    tokens: of the chunks that are added.
    """

    ops: list[Op]
    added: int
    kept: int
    removed: int
    tokens: int


def put_hash(sha256: str, *decisive: object) -> str:
    """Return a hash of what decides what is stored of some content."""
    told = json.dumps([RULES, sha256, *decisive], ensure_ascii=False).encode()
    return hashlib.blake2b(told, digest_size=12).hexdigest()


def section_of(title: str, headings: Sequence[str]) -> str:
    """Return where a chunk stands, for people and for what is searched."""
    path = [" ".join(part.split()) for part in (title, *headings)]
    if len(path) > 1 and path[0] == path[1]:
        path = path[1:]
    return BETWEEN.join(part for part in path if part)


def stored_of(name: str, version: int, payload: bytes) -> Stored | None:
    """Return the document that a point is, or None for another point. Raises Corrupt."""
    known = json.loads(payload or b"{}")
    layout = known.get(LAYOUT)
    if known.get(DOCUMENT) != name or not isinstance(layout, str):
        return None
    put, _, rows = layout.partition(":")
    try:
        table = np.frombuffer(base64.b64decode(rows, validate=True), _ROW)
    except ValueError:
        raise Corrupt(
            f"the layout of document {name!r} was changed by another than the server",
            hint="put the document again, or delete its point",
        ) from None
    return Stored(name, version, known, put, Layout(table))


def plan(
    document: Described,
    chunks: Sequence[Chunk],
    stored: Stored | None,
    spaces: Sequence[str],
    ttl_ms: int | None = None,
    *,
    anew: bool = False,
) -> Plan:
    """Return what is to be done so that a document's points are those of its chunks.

    stored: as it is now. spaces: those that are given the chunks' texts. ttl_ms: until all of it
    expires, None for what the collection says. anew: keep no chunk, as what `stored` names may be
    gone.
    """
    known = {} if stored is None else {one.id: (at, one) for at, one in enumerate(stored.layout)}
    metadata: dict[str, Any] = json.loads(document.metadata or b"{}")
    described_anew = (
        stored is None or ttl_ms is not None or (stored.payload.get(METADATA) or {}) != metadata
    )
    ops: list[Op] = []
    placed: list[Placed] = []
    kept = tokens = 0
    for at, (name, section, told, chunk) in enumerate(_named(document, chunks, spaces)):
        placed.append(Placed(name, chunk.start, chunk.end))
        there = known.pop(name, None)
        if there is None or anew:
            tokens += chunk.tokens
            payload = _chunk_payload(document, section, chunk, at, metadata)
            ops.append(Put(name, payload, {}, dict.fromkeys(spaces, told), ttl_ms=ttl_ms))
            continue
        kept += 1
        if described_anew or there != (at, placed[-1]):
            ops.append(Patch(name, _moved(chunk, at, metadata), ttl_ms=ttl_ms))
    added = len(placed) - kept
    ops += [Delete(name) for name in known]
    payload = _document_payload(document, placed, metadata)
    version = 0 if stored is None else stored.version
    ops.append(Put(document.id, payload, {}, if_version=version, ttl_ms=ttl_ms))
    return Plan(ops, added, kept, len(known), tokens)


def removal(stored: Stored) -> list[Op]:
    """Return the operations that remove a document."""
    own = Delete(stored.id, if_version=stored.version)
    return [*(Delete(one.id) for one in stored.layout), own]


def encoded_text(section: str, text: str) -> str:
    """Return what a model reads of a chunk: where it stands, then what it says."""
    return f"{section}\n{text}" if section else text


def whole_text(layout: Layout, texts: Mapping[str, str]) -> str:
    """Return a document's text from its chunks': all of it but for the kinds of white space.

    texts: of chunks, by id. Offsets stay true; what stood between chunks was white space.
    """
    parts: list[str] = []
    at = 0
    for one in layout:
        text = texts.get(one.id, "")
        if one.start > at:
            gap = one.start - at
            parts.append(" " if gap == 1 and at else "\n" * gap)
            at = one.start
        parts.append(text[at - one.start :])
        at = max(at, one.end)
    return "".join(parts)


def checked_metadata(metadata: bytes, field: str) -> bytes:
    """Return metadata in one form, b"" for none. Raises BadPayload."""
    if not metadata:
        return b""
    wrong = BadPayload("metadata is not a JSON object in UTF-8", field=field)
    try:
        known = json.loads(metadata)
        if isinstance(known, dict):  # in Python there are more numbers than in JSON
            return json.dumps(known, ensure_ascii=False, allow_nan=False).encode() if known else b""
    except (ValueError, RecursionError):
        raise wrong from None
    raise wrong


def _named(
    document: Described, chunks: Sequence[Chunk], spaces: Sequence[str]
) -> Iterator[tuple[str, str, str, Chunk]]:
    """Yield the id of each chunk's point, its section, what is encoded of it, and the chunk.

    Equal ones are told apart by number.

    A space more or less is another id: what is kept has all the vectors that it needs.
    """
    seen: Counter[str] = Counter()
    for chunk in chunks:
        section = section_of(document.title, chunk.headings)
        told = encoded_text(section, chunk.text)
        hashed = hashlib.blake2b(digest_size=16)
        hashed.update(json_bytes([document.id, told, seen[told], sorted(spaces)]))
        seen[told] += 1
        yield hashed.hexdigest(), section, told, chunk


def _chunk_payload(
    document: Described, section: str, chunk: Chunk, at: int, metadata: Mapping[str, Any]
) -> bytes:
    payload: dict[str, Any] = {
        DOCUMENT: document.id,
        TITLE: document.title,
        SECTION: section,
        TEXT: chunk.text,
        "chunk": at,
        "start": chunk.start,
        "end": chunk.end,
    }
    if metadata:
        payload[METADATA] = metadata
    return json_bytes(payload)


def _moved(chunk: Chunk, at: int, metadata: Mapping[str, Any]) -> PayloadEdits:
    fields: dict[str, Any] = {"chunk": at, "start": chunk.start, "end": chunk.end}
    if metadata:
        return PayloadEdits(json_bytes({**fields, METADATA: metadata}))
    return PayloadEdits(json_bytes(fields), (METADATA,))


def _document_payload(
    document: Described, placed: Sequence[Placed], metadata: Mapping[str, Any]
) -> bytes:
    rows = np.array([(bytes.fromhex(one.id), one.start, one.end) for one in placed], _ROW)
    payload: dict[str, Any] = {
        DOCUMENT: document.id,
        TITLE: document.title,
        "media_type": document.media_type,
        "sha256": document.sha256,
        "characters": document.characters,
        "chunks": len(placed),
        "put_at": document.put_at,
        LAYOUT: f"{document.put}:{base64.b64encode(rows.tobytes()).decode()}",
    }
    if metadata:
        payload[METADATA] = metadata
    return json_bytes(payload)


def json_bytes(value: object) -> bytes:
    """Return a value as the payloads of documents have it."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
