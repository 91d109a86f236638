"""The nouns that travel between the rooms: schema, writes, queries, hits. Data only, no behaviour.

The wire has its own messages (``rpc/convert.py``), the disk its own records (``storage/codec.py``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from vecdb.multi import MultiSpace, MultiVector
from vecdb.shapes import GeoBox as GeoBox
from vecdb.shapes import GeoPolygon as GeoPolygon
from vecdb.shapes import GeoRadius as GeoRadius
from vecdb.shapes import GeoShape as GeoShape

F32: TypeAlias = NDArray[np.float32]
U32: TypeAlias = NDArray[np.uint32]
U64: TypeAlias = NDArray[np.uint64]
Bitmap: TypeAlias = NDArray[np.uint64]
"""Row i is bit ``i & 63`` of word ``i >> 6``; bits past the last row are ignored."""

DEFAULT_TARGET_RECALL = 0.95

Scalar: TypeAlias = str | int | float | bool


class Metric(IntEnum):
    """How two vectors are compared. The numbers are stored on disk and sent on the wire."""

    COSINE = 1
    DOT = 2
    EUCLID = 3
    MANHATTAN = 4


@dataclass(frozen=True, slots=True)
class ModelBinding:
    """The model whose vectors a space holds.

    fingerprint: hex digest over the model's files, prompts, pooling, normalisation and dimension;
    vectors of two fingerprints are never compared.
    """

    name: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Hnsw:
    """How the graphs of a space are built; a change is felt by segments that are built after it.

    m: links of a row on the upper levels, twice as many on the lowest. ef_construction: candidates
    considered for the links of an inserted row.
    """

    m: int = 16
    ef_construction: int = 200


@dataclass(frozen=True, slots=True)
class Shadow:
    """What makes a space another's shadow: it holds the same texts, encoded by another model.

    of: the space whose shadow it is. switch_when_ready: the two exchange their names as soon as
    nothing is missing.
    """

    of: str
    switch_when_ready: bool = False


@dataclass(frozen=True, slots=True)
class Space:
    """A named vector field. The default space is named "".

    target_recall: the recall@10 that searches without an `ef` of their own aim at. shadow: None for
    a space of its own.
    """

    name: str
    dim: int
    metric: Metric
    model: ModelBinding | None = None
    hnsw: Hnsw = Hnsw()
    target_recall: float = DEFAULT_TARGET_RECALL
    shadow: Shadow | None = None


@dataclass(frozen=True, slots=True)
class SparseSpace:
    """A named field of sparse vectors, compared by dot product. Shares its names with Space.

    idf: each value of a query counts the more, the fewer points have one at its index.
    """

    name: str
    idf: bool = False
    model: ModelBinding | None = None


AnySpace: TypeAlias = Space | SparseSpace | MultiSpace


@dataclass(frozen=True, slots=True)
class TextField:
    """A payload path whose strings are searched by words, scored by BM25.

    language: of the stemmer (`analysis.LANGUAGES`); "" leaves words as they are.
    k1: how soon a word that is repeated counts no more. b: how much long texts are marked down.
    """

    path: str
    language: str = ""
    k1: float = 1.2
    b: float = 0.75


@dataclass(frozen=True, slots=True)
class Schema:
    """What a collection's points look like. Numbers are never given again; () counts from 0."""

    spaces: tuple[Space, ...] = ()
    sparse_spaces: tuple[SparseSpace, ...] = ()
    text_fields: tuple[TextField, ...] = ()
    numbers: tuple[int, ...] = field(default=(), compare=False)
    text_numbers: tuple[int, ...] = field(default=(), compare=False)
    multi_spaces: tuple[MultiSpace, ...] = ()

    @property
    def all_spaces(self) -> tuple[AnySpace, ...]:
        """The dense spaces, the sparse ones, those of several vectors a point."""
        return (*self.spaces, *self.sparse_spaces, *self.multi_spaces)

    @property
    def texts(self) -> dict[int, TextField]:
        """The text fields by number."""
        return dict(zip(self.text_numbers or range(1 << 16), self.text_fields, strict=False))

    def space(self, name: str) -> Space | None:
        """Return the dense space of that name, or None."""
        for space in self.spaces:  # every query asks: a generator takes longer
            if space.name == name:
                return space
        return None

    def sparse_space(self, name: str) -> SparseSpace | None:
        """Return the sparse space of that name, or None."""
        return next((space for space in self.sparse_spaces if space.name == name), None)

    def multi_space(self, name: str) -> MultiSpace | None:
        """Return the space of several vectors a point of that name, or None."""
        return next((space for space in self.multi_spaces if space.name == name), None)


class SparseVector(NamedTuple):
    """The values (m,) float32 of a sparse vector at its indices (m,) uint32."""

    indices: U32
    values: F32


@dataclass(slots=True)
class Put:
    """A point to store.

    payload: a JSON object as UTF-8 bytes, b"" for none. vectors: per space little-endian float32
    bytes. texts: per space the text that the vector was, or is still to be, made from. images:
    per space the image file that it is still to be made from, which is not stored. sparse, multi:
    vectors of such spaces, in any order. if_version: the version that the point must have, 0
    for none, None for any. ttl_ms: how long it is there. expires_at_ms: until when, 0 for ever; it
    comes before ttl_ms. Without either it is there for as long as its collection says.
    """

    id: str
    payload: bytes
    vectors: dict[str, bytes]
    texts: dict[str, str] = field(default_factory=dict)
    sparse: dict[str, SparseVector] = field(default_factory=dict)
    if_version: int | None = None
    ttl_ms: int | None = None
    expires_at_ms: int | None = None
    multi: dict[str, MultiVector] = field(default_factory=dict)
    images: dict[str, bytes] = field(default_factory=dict)


@dataclass(slots=True)
class Delete:
    """A point to remove; removing what is not there is no error. if_version: as in Put."""

    id: str
    if_version: int | None = None


class PayloadEdits(NamedTuple):
    """Changes of a payload, made in this order. b"" and () are none.

    set: a JSON object, path to value. unset: paths. append and remove: JSON objects, path to array.
    """

    set: bytes = b""
    unset: tuple[str, ...] = ()
    append: bytes = b""
    remove: bytes = b""


@dataclass(slots=True)
class Patch:
    """Changes of a stored point. vectors, texts, images, sparse, multi, ttl_ms: as in Put.

    unset_vectors: spaces whose vector is removed. Without either time it expires when it did.
    """

    id: str
    edits: PayloadEdits
    vectors: dict[str, bytes] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    sparse: dict[str, SparseVector] = field(default_factory=dict)
    unset_vectors: tuple[str, ...] = ()
    if_version: int | None = None
    ttl_ms: int | None = None
    expires_at_ms: int | None = None
    multi: dict[str, MultiVector] = field(default_factory=dict)
    images: dict[str, bytes] = field(default_factory=dict)


Op: TypeAlias = Put | Delete | Patch


@dataclass(frozen=True, slots=True)
class Point:
    """A stored point as written. vectors: (dim,), several (n, dim). expires_at_ms: 0 for never."""

    id: str
    payload: bytes
    version: int
    vectors: dict[str, F32] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    sparse: dict[str, SparseVector] = field(default_factory=dict)
    expires_at_ms: int = 0


@dataclass(frozen=True, slots=True)
class Equals:
    """A payload path that holds the value, or an array that contains it."""

    path: str
    value: Scalar


@dataclass(frozen=True, slots=True)
class In:
    """A payload path that holds one of the values."""

    path: str
    values: tuple[Scalar, ...]


@dataclass(frozen=True, slots=True)
class ContainsAll:
    """A payload path that holds every one of the values."""

    path: str
    values: tuple[Scalar, ...]


@dataclass(frozen=True, slots=True)
class Range:
    """A payload path that holds a number, or a time, inside the bounds; None is no bound.

    Bounds are all numbers, or all RFC 3339 times.
    """

    path: str
    gt: int | float | str | None = None
    gte: int | float | str | None = None
    lt: int | float | str | None = None
    lte: int | float | str | None = None


@dataclass(frozen=True, slots=True)
class Prefix:
    """A payload path that holds a string which begins so."""

    path: str
    prefix: str


@dataclass(frozen=True, slots=True)
class Exists:
    """A payload path that holds anything but null and empty arrays."""

    path: str


@dataclass(frozen=True, slots=True)
class IsNull:
    """A payload path that holds null, or an array with null in it."""

    path: str


@dataclass(frozen=True, slots=True)
class ValuesCount:
    """A payload path that holds so many values; None is no bound. Where nothing is, there are 0."""

    path: str
    gt: int | None = None
    gte: int | None = None
    lt: int | None = None
    lte: int | None = None


@dataclass(frozen=True, slots=True)
class Nested:
    """A payload path that holds an object which matches a filter by itself.

    Paths of the filter inside begin at that object.
    """

    path: str
    filter: Filter


@dataclass(frozen=True, slots=True)
class HasId:
    """The points of those ids."""

    ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class HasSpace:
    """The points that have a vector in a space."""

    space: str


class Match(IntEnum):
    """Which of some words a text must hold. PHRASE: all, side by side, in one field."""

    ANY = 1
    ALL = 2
    PHRASE = 3


@dataclass(frozen=True, slots=True)
class MatchesText:
    """A text field of the collection that holds the words of a text."""

    path: str
    text: str
    match: Match


@dataclass(frozen=True, slots=True)
class And:
    """All of them."""

    filters: tuple[Filter, ...]


@dataclass(frozen=True, slots=True)
class Or:
    """At least one of them."""

    filters: tuple[Filter, ...]


@dataclass(frozen=True, slots=True)
class MinShould:
    """At least so many of them."""

    least: int
    filters: tuple[Filter, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """The points that the filter does not match, those without the field included."""

    filter: Filter


ValueCondition: TypeAlias = (
    Equals | In | ContainsAll | Range | Prefix | Exists | IsNull | ValuesCount | GeoShape
)
"""What a payload can be asked at a path."""
PointCondition: TypeAlias = HasId | HasSpace | MatchesText
"""What a point as a whole can be asked, and no object inside its payload."""
Filter: TypeAlias = And | Or | MinShould | Not | Nested | PointCondition | ValueCondition


@dataclass(frozen=True, slots=True)
class Query:
    """The k points nearest to a vector.

    vector: (dim,) float32. filter: only points that match. ef: rows that a walk over a graph keeps
    in sight; 0 for the space's own. exact: judge every row instead.
    """

    vector: F32
    k: int
    space: str = ""
    filter: Filter | None = None
    ef: int = 0
    exact: bool = False


@dataclass(frozen=True, slots=True)
class SparseQuery:
    """The k points of the highest dot product with a sparse vector, sharing an index with it."""

    vector: SparseVector
    k: int
    space: str = ""
    filter: Filter | None = None


@dataclass(frozen=True, slots=True)
class KeywordQuery:
    """The k points whose texts fit the words of a text best, by BM25.

    fields: paths of text fields, whose scores add up; () for all.
    """

    text: str
    k: int
    fields: tuple[str, ...] = ()
    match: Match = Match.ANY
    filter: Filter | None = None


class Wanted(NamedTuple):
    """Which parts of a point a caller asked for, besides id and version.

    kept: what to send of a stored payload; None for all of it. more: from a stored payload to
    further fields of a hit, as the wire has them; None for none.
    """

    payload: bool = True
    vectors: bool = False
    texts: bool = False
    kept: Callable[[bytes], bytes] | None = None
    more: Callable[[bytes], bytes] | None = None
