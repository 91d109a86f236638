"""The nouns that the client takes and gives: points, hits, reports. Data, no transport."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, TypeAlias, TypeVar, overload

from vecdb_client.expiry import moment
from vecdb_client.highlights import NO_HIGHLIGHTS, Fragment
from vecdb_client.images import ImageLike
from vecdb_client.payloads import Payload, payload_of
from vecdb_client.typed_payloads import object_of
from vecdb_client.vectors import Matrix, Sparse, VectorLike, floats_of

Metric: TypeAlias = Literal["cosine", "dot", "euclid", "manhattan"]
Role: TypeAlias = Literal["document", "query"]
Match: TypeAlias = Literal["any", "all", "phrase"]
Scalar: TypeAlias = str | int | float | bool
OnError: TypeAlias = Literal["raise", "collect"]
Kind = TypeVar("Kind")


@dataclass(frozen=True, slots=True)
class Mask:
    """Parts of payloads: only what stands at some paths, all where there are none, less others.

    Dots step into objects, and arrays are looked through.
    """

    include: str | Sequence[str] = ()
    exclude: str | Sequence[str] = ()


WithPayload: TypeAlias = bool | str | Sequence[str] | Mask
"""Payloads, or not; or what stands at these paths alone; or what a mask says."""


@dataclass(frozen=True, slots=True)
class Space:
    """A vector field of a collection: its length and metric, or the model that fills it.

    dim and metric: None takes the model's own; without a model, dim is needed and metric is cosine.
    model_fingerprint: in replies, which revision of the model the space is bound to. m and
    ef_construction: links of a point in the graph, and candidates considered for them; None for
    the server's. target_recall: share of the true 10 nearest that searches without `ef` aim at.
    shadow_of: in replies, of a shadow: the space that is being moved to another model.
    """

    dim: int | None = None
    metric: Metric | None = None
    model: str = ""
    model_fingerprint: str = ""
    m: int | None = None
    ef_construction: int | None = None
    target_recall: float | None = None
    shadow_of: str | None = None


@dataclass(frozen=True, slots=True)
class SparseSpace:
    """A field of sparse vectors, compared by dot product.

    idf: weight each value of a query by the inverse document frequency of its index, as BM25 does
    words, so that it may be a plain count. model: what makes sparse vectors of texts, such as
    "bm25"; the server then binds the space to its fingerprint.
    """

    idf: bool = False
    model: str = ""
    model_fingerprint: str = ""


@dataclass(frozen=True, slots=True)
class TextField:
    """A payload path whose words are searched, by BM25.

    language: such as "english", whose words are reduced to their stems; "" for none. k1: how soon
    a repeated word counts no more. b: how much a long text is marked down.
    """

    path: str
    language: str = ""
    k1: float = 1.2
    b: float = 0.75


@dataclass(frozen=True, slots=True)
class Point:
    """A point to store. A dict with the same keys does as well.

    vector: numbers (dim,), a text or ImageFile that the space's model encodes, or a sparse vector,
    for the default space; in a MultiDenseSpace several, (n, dim).
    text, image: the same as a vector that is a text, or an ImageFile of these bytes or Path; only
    the vector of an image is stored. vectors: by space name, for other spaces too.
    payload: a JSON object as dict, dataclass, text or bytes. if_version: store it only while the
    point has this version, 0 for no point; else it fails with VERSION_MISMATCH.
    ttl_s: seconds that it is there, math.inf for ever. expires_at: or until when, with a timezone.
    Without either it is there for as long as its collection says.
    """

    id: str
    vector: VectorLike | None = None
    payload: Payload | None = None
    text: str | None = None
    vectors: Mapping[str, VectorLike] | None = None
    if_version: int | None = None
    ttl_s: float | None = None
    expires_at: datetime | None = None
    image: ImageLike | None = None


@dataclass(frozen=True, slots=True)
class Patch:
    """Changes of a stored point; what is not named stays as it is.

    Paths are those of filters, but that dots step into objects only. Changes are made in the order
    set (path to value, which replaces what is there, objects and all), unset (a path, or several,
    whose fields go), append (path to a list of values that go to the end of the array there, made
    where nothing is), remove (path to a list of values whose equals leave the array there).
    vector, text, image, vectors: as in Point; a space whose vector is None loses it. if_version: as
    in Point. ttl_s, expires_at: likewise, and without either it expires when it did.
    """

    id: str
    set: Payload | None = None
    unset: str | Sequence[str] = ()
    append: Payload | None = None
    remove: Payload | None = None
    vector: VectorLike | None = None
    text: str | None = None
    vectors: Mapping[str, VectorLike | None] | None = None
    if_version: int | None = None
    ttl_s: float | None = None
    expires_at: datetime | None = None
    image: ImageLike | None = None


@dataclass(frozen=True, slots=True)
class Delete:
    """A point to remove; removing what is not there is no error. if_version: as in Point."""

    id: str
    if_version: int | None = None


@dataclass(frozen=True, slots=True)
class PointId:
    """A search query: near the stored point of this id."""

    id: str


class StoredPoint:
    """A point as the server has it.

    version: the commit_seq of the write that stored it. Payload and vectors are read from their
    bytes at first use; payload is {} and vectors empty where they were not asked for. sparse: the
    vectors of sparse spaces, by name. multi: those of multi-dense spaces, each a view (n, dim) of
    float32, which np.asarray takes as it is.
    """

    __slots__ = (
        "_payload",
        "_vector_bytes",
        "_vectors",
        "expires_at_ms",
        "id",
        "multi",
        "payload_bytes",
        "sparse",
        "texts",
        "version",
    )

    def __init__(
        self,
        id: str,
        payload_bytes: bytes,
        version: int,
        vectors: Mapping[str, bytes],
        texts: Mapping[str, str],
        sparse: Mapping[str, Sparse],
        multi: Mapping[str, Matrix],
        expires_at_ms: int = 0,
    ) -> None:
        self.id = id
        self.expires_at_ms = expires_at_ms
        self.payload_bytes = payload_bytes
        self.version = version
        self.texts = texts
        self.sparse = sparse
        self.multi = multi
        self._vector_bytes = vectors
        self._payload: dict[str, Any] | None = None
        self._vectors: dict[str, array[float]] | None = None

    @property
    def expires_at(self) -> datetime | None:
        """From when on it is not there any more, in UTC; None for never."""
        return moment(self.expires_at_ms)

    @property
    def payload(self) -> dict[str, Any]:
        """The payload, parsed."""
        if self._payload is None:
            self._payload = payload_of(self.payload_bytes)
        return self._payload

    def payload_as(self, kind: type[Kind]) -> Kind:
        """Return the payload as an object of a dataclass; fields that it does not name are left.

        A field may be of a type of JSON, datetime, date, an enum, Literal, another dataclass, or a
        list, tuple, dict or union of these; types are checked. Raises InvalidArgument
        (PAYLOAD_MISMATCH) that names the field.
        """
        return object_of(self.payload, kind, repr(self.id))

    @property
    def vectors(self) -> dict[str, array[float]]:
        """Name of a dense space to numbers, array('f') of (dim,)."""
        if self._vectors is None:
            self._vectors = {name: floats_of(data) for name, data in self._vector_bytes.items()}
        return self._vectors

    @property
    def vector(self) -> array[float] | None:
        """The numbers of the default space, or None."""
        return self.vectors.get("")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._shown()})"

    def _shown(self) -> str:
        return f"id={self.id!r}, payload={self.payload!r}, version={self.version}"


@dataclass(frozen=True, slots=True)
class LegHit:
    """What one leg of several said of a hit. leg: its position. rank: in the leg's list, from 1."""

    leg: int
    score: float
    rank: int


class Hit(StoredPoint):
    """A point that a search found. score: higher is better; distance: lower is nearer.

    legs: of a search with several, those that found the point; score is then the fused one, and
    distance 0. Of a search with a rerank too: score is then the rerank's, distance its opposite.
    highlights: where asked for, pieces of text with the words that matched, by the field's path.
    """

    __slots__ = ("distance", "highlights", "legs", "score")

    def __init__(
        self,
        id: str,
        payload_bytes: bytes,
        version: int,
        vectors: Mapping[str, bytes],
        texts: Mapping[str, str],
        sparse: Mapping[str, Sparse],
        multi: Mapping[str, Matrix],
        score: float,
        distance: float,
        legs: tuple[LegHit, ...] = (),
        expires_at_ms: int = 0,
        highlights: Mapping[str, tuple[Fragment, ...]] = NO_HIGHLIGHTS,
    ) -> None:
        super().__init__(id, payload_bytes, version, vectors, texts, sparse, multi, expires_at_ms)
        self.score = score
        self.distance = distance
        self.legs = legs
        self.highlights = highlights

    def _shown(self) -> str:
        return f"{super()._shown()}, score={self.score:.6g}, distance={self.distance:.6g}"


@dataclass(frozen=True, slots=True)
class Timings:
    """Microseconds that the stages of a search took on the server."""

    embed_us: int
    snapshot_us: int
    filter_us: int
    search_us: int
    fetch_us: int
    total_us: int


@dataclass(frozen=True, slots=True)
class Usage:
    """What a search cost beside its time: tokens that models read of its texts."""

    embed_tokens: int


@dataclass(frozen=True, slots=True)
class Group:
    """Hits that share a value of a payload path, best first."""

    value: Scalar
    hits: tuple[Hit, ...]


@dataclass(frozen=True, slots=True)
class SearchResult(Sequence[Hit]):
    """The hits, best first, and how they were found.

    groups: of a search with `group`, best first; hits are then those of all groups, in their order.
    matched: points that the filter lets through. complete: False when something had to be left out,
    and `warnings` say what. commit_seq: the state that was searched. next_page_token: of a search
    with `page_token`, for the next page; "" on the last.
    """

    hits: tuple[Hit, ...]
    plan: str
    matched: int
    complete: bool
    warnings: tuple[str, ...]
    timings: Timings
    commit_seq: int
    groups: tuple[Group, ...] = ()
    usage: Usage = Usage(0)
    next_page_token: str = ""

    @overload
    def __getitem__(self, index: int) -> Hit: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Hit, ...]: ...
    def __getitem__(self, index: int | slice) -> Hit | tuple[Hit, ...]:
        return self.hits[index]

    def __len__(self) -> int:
        return len(self.hits)


@dataclass(frozen=True, slots=True)
class GetResult:
    """Points by id: those found, in the order asked; the others are named.

    damaged: ids whose record fails its checksum. commit_seq: the oldest state that was read.
    """

    points: list[StoredPoint]
    missing: list[str]
    damaged: list[str]
    commit_seq: int


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a list or an export. next_page_token: "" on the last."""

    points: list[StoredPoint]
    next_page_token: str
    damaged: list[str]
    commit_seq: int


@dataclass(frozen=True, slots=True)
class Changes:
    """What some writes did, up to and with commit_seq: first `deleted`, then `points`.

    deleted: ids. points: those that were put, as they were when this was sent. complete: whether
    nothing more of commit_seq follows. warnings: points that were left out, and why. truncated:
    whether, before the others, all points that there were went.
    """

    deleted: list[str]
    points: list[StoredPoint]
    commit_seq: int
    complete: bool
    warnings: list[str]
    truncated: bool


@dataclass(frozen=True, slots=True)
class ItemFailure:
    """An item of a write that was not applied.

    index: its position in the input. code: a gRPC status name. reason: a word for programs.
    version: of a VERSION_MISMATCH, or another failure that came of what is stored, the version that
    the point has, 0 for no point.
    """

    index: int
    id: str
    code: str
    reason: str
    message: str
    version: int = 0


@dataclass(frozen=True, slots=True)
class TruncatedText:
    """A text that is longer than its model reads: the vector stands for its beginning.

    Of patch_where, whose text is one for all points, it is named once, with no id.
    """

    index: int
    id: str
    spaces: tuple[str, ...]


@dataclass(slots=True)
class WriteReport:
    """What a write did.

    written: items applied. found: those of them whose id was there before (replaced, patched, or
    really deleted). commit_seq: the newest sequence number; all written is visible from it on.
    failures: every item that was not applied. truncated: the first 10,000 texts that were cut, of
    `truncated_total`. settled: every item before this position has its answer: where to go on from
    when a write was stopped half-way. skipped and damaged: of delete_where and patch_where, points
    that matched and were left alone, since others changed them first, or their record fails its
    checksum.
    """

    written: int = 0
    found: int = 0
    commit_seq: int = 0
    failures: list[ItemFailure] = field(default_factory=list)
    truncated: list[TruncatedText] = field(default_factory=list)
    truncated_total: int = 0
    settled: int = 0
    skipped: int = 0
    damaged: int = 0

    @property
    def total(self) -> int:
        """Items that have an answer."""
        return self.written + len(self.failures)
