"""What the server says of collections and models. Data, no transport."""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, overload

from vecdb_client.multi import MultiDenseSpace
from vecdb_client.types import Metric, Space, SparseSpace, TextField
from vecdb_client.vectors import Sparse


@dataclass(frozen=True, slots=True)
class CollectionInfo:
    """A collection as the server describes it. A quarantined one answers DataLoss.

    metadata: the JSON object that was given with it, {} for none. aliases: its other names. ttl_s:
    how long points are there that are put without an expiry of their own, math.inf for ever.
    points_max: how many it may hold, None for any number.
    """

    name: str
    spaces: dict[str, Space | SparseSpace | MultiDenseSpace]
    created_at: datetime
    quarantined: bool
    quarantine_reason: str
    text_fields: tuple[TextField, ...] = ()
    metadata: dict[str, Any] = field(default_factory=dict)
    aliases: tuple[str, ...] = ()
    ttl_s: float = math.inf
    points_max: int | None = None

    @property
    def own_spaces(self) -> dict[str, Space | SparseSpace | MultiDenseSpace]:
        """The spaces that points have vectors in: all but shadows, see Collection.reembed."""
        return {
            name: space
            for name, space in self.spaces.items()
            if not isinstance(space, Space) or space.shadow_of is None
        }


@dataclass(frozen=True, slots=True)
class Truncated:
    """What a truncation removed: so many points, at a commit_seq for min_commit_seq of searches."""

    points: int
    commit_seq: int


@dataclass(frozen=True, slots=True)
class SegmentStats:
    """One segment. Its slots are first_slot to end_slot, the end not included.

    dead: rows deleted or replaced since. quarantined: why its files are not used, or "". graph:
    whether it is searched by a graph.
    """

    number: int
    first_slot: int
    end_slot: int
    rows: int
    dead: int
    bytes: int
    quarantined: str
    graph: bool


@dataclass(frozen=True, slots=True)
class BuildStats:
    """A segment being built. phase: "read", "insert" or "refine"; done and total: its rows."""

    number: int
    phase: str
    done: int
    total: int


@dataclass(frozen=True, slots=True)
class CollectionStats:
    """Sizes and state. tail_points: not yet in a segment, searched in memory.

    compacting: a compaction that was asked for is still to be done. upkeep_error: why the last
    build or check of segments failed, or "". text_pending_points: not found yet by the words of a
    text field that was added.
    """

    points: int
    applied_seq: int
    tail_points: int
    segments: list[SegmentStats]
    store_bytes: int
    map_bytes: int
    builds: list[BuildStats]
    compacting: bool
    upkeep_error: str
    text_pending_points: int


@dataclass(frozen=True, slots=True)
class RecallEstimate:
    """The share of the true k nearest that searches found, with 95 % bounds.

    ef: points that walks kept in sight; 0 where every point was judged. search_us: median.
    """

    ef: int
    recall: float
    low: float
    high: float
    search_us: int


@dataclass(frozen=True, slots=True)
class RecallReport:
    """The recall of searches as they are now, and with each ef that was asked for.

    samples: queries that were compared, of which live_samples were asked by clients lately.
    """

    now: RecallEstimate
    by_ef: list[RecallEstimate]
    target_recall: float
    live_samples: int
    samples: int


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """A model that the operator configured. reason: why it is not ready, or "".

    max_tokens: what the model reads of a text. kind: what it is made of. aliases: its other names.
    query_prompt, document_prompt: what the server puts in front of a text. takes: of "text",
    "image", "pair". gives: "dense" or "sparse" vectors, or a "score". dims: shorter vectors that
    its own can be cut to. source: where its weights are from, or what its service calls it. note:
    what to know before it is used. loaded: whether it is in memory, of which it takes about
    memory_bytes.
    """

    name: str
    dim: int
    metric: Metric | None
    max_tokens: int
    fingerprint: str
    ready: bool
    reason: str
    license: str
    kind: str
    aliases: tuple[str, ...]
    query_prompt: str
    document_prompt: str
    takes: tuple[str, ...] = ("text",)
    gives: str = "dense"
    dims: tuple[int, ...] = ()
    source: str = ""
    note: str = ""
    loaded: bool = False
    memory_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Embedding:
    """A text's or an image's vector, array('f') of (dim,). truncated: it was longer than is read.

    tokens: of the text after the cut, special tokens included. sparse: of a sparse model, whose
    vector is empty.
    """

    vector: array[float]
    tokens: int
    truncated: bool
    sparse: Sparse | None = None


@dataclass(frozen=True, slots=True)
class RankedText:
    """A text as a model judged it beside a query. position: in the list that was given, from 0.

    score: higher is better, on the model's own scale. tokens: of query and text after the cut.
    """

    position: int
    text: str
    score: float
    tokens: int
    truncated: bool


@dataclass(frozen=True, slots=True)
class Tokenized:
    """What a model reads of a text. ids: empty where they are not known, and tokens an estimate."""

    ids: tuple[int, ...]
    tokens: int
    truncated: bool


@dataclass(frozen=True, slots=True)
class Embeddings(Sequence[Embedding]):
    """One embedding per text, in their order, and the model that made them."""

    model: str
    fingerprint: str
    embeddings: tuple[Embedding, ...]

    @overload
    def __getitem__(self, index: int) -> Embedding: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Embedding, ...]: ...
    def __getitem__(self, index: int | slice) -> Embedding | tuple[Embedding, ...]:
        return self.embeddings[index]

    def __len__(self) -> int:
        return len(self.embeddings)
