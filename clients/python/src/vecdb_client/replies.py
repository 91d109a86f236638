"""What the server answered, as the nouns of types.py. Pure functions, shared by every transport."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Final, cast

from vecdb_client.aggregates import scalar_of
from vecdb_client.descriptions import (
    BuildStats,
    CollectionInfo,
    CollectionStats,
    Embedding,
    ModelInfo,
    RankedText,
    RecallEstimate,
    RecallReport,
    SegmentStats,
)
from vecdb_client.highlights import highlights_of
from vecdb_client.multi import MultiDenseSpace, multi_view
from vecdb_client.payloads import payload_of
from vecdb_client.pb import (
    admin_pb2,
    collections_pb2,
    common_pb2,
    models_pb2,
    points_pb2,
    search_pb2,
)
from vecdb_client.requests import METRICS
from vecdb_client.types import (
    Changes,
    Group,
    Hit,
    LegHit,
    Metric,
    Page,
    SearchResult,
    Space,
    SparseSpace,
    StoredPoint,
    TextField,
    Timings,
    Usage,
)
from vecdb_client.vectors import Matrix, Sparse, floats_of

_METRIC_NAMES: Final = {number: cast(Metric, name) for name, number in METRICS.items()}
_NO_BYTES: Final[Mapping[str, bytes]] = MappingProxyType({})
_NO_MULTI: Final[Mapping[str, Matrix]] = MappingProxyType({})
_NO_SPARSE: Final[Mapping[str, Sparse]] = MappingProxyType({})
_NO_TEXTS: Final[Mapping[str, str]] = MappingProxyType({})


def collection_info(message: collections_pb2.Collection) -> CollectionInfo:
    """Return a collection's description."""
    return CollectionInfo(
        name=message.name,
        spaces={name: _space(space) for name, space in message.spaces.items()},
        created_at=datetime.fromtimestamp(message.created_at_ms / 1e3, UTC),
        quarantined=message.quarantined,
        quarantine_reason=message.quarantine_reason,
        text_fields=tuple(
            TextField(text.path, text.language, text.k1, text.b) for text in message.text_fields
        ),
        metadata=payload_of(message.metadata),
        aliases=tuple(message.aliases),
        ttl_s=message.ttl_ms / 1e3 or math.inf,
        points_max=message.limits.points or None,
    )


def _space(message: collections_pb2.Space) -> Space | SparseSpace | MultiDenseSpace:
    if message.WhichOneof("kind") == "sparse":
        sparse = message.sparse
        return SparseSpace(sparse.idf, sparse.model, sparse.model_fingerprint)
    if message.WhichOneof("kind") == "multi_dense":
        several = message.multi_dense
        dot = several.metric == collections_pb2.METRIC_DOT
        return MultiDenseSpace(several.dim, "dot" if dot else "cosine")
    dense = message.dense
    return Space(
        dim=dense.dim,
        metric=_METRIC_NAMES.get(dense.metric),
        model=dense.model,
        model_fingerprint=dense.model_fingerprint,
        m=dense.hnsw.m or None,
        ef_construction=dense.hnsw.ef_construction or None,
        target_recall=dense.target_recall or None,
        shadow_of=dense.shadow_of if dense.HasField("shadow_of") else None,
    )


def collection_stats(reply: collections_pb2.CollectionStatsResponse) -> CollectionStats:
    """Return a collection's sizes and state."""
    return CollectionStats(
        points=reply.points,
        applied_seq=reply.applied_seq,
        tail_points=reply.tail_points,
        segments=[
            SegmentStats(
                number=segment.number,
                first_slot=segment.first_slot,
                end_slot=segment.end_slot,
                rows=segment.rows,
                dead=segment.dead,
                bytes=segment.bytes,
                quarantined=segment.quarantined,
                graph=segment.graph,
            )
            for segment in reply.segments
        ],
        store_bytes=reply.store_bytes,
        map_bytes=reply.map_bytes,
        builds=[BuildStats(b.number, b.phase, b.done, b.total) for b in reply.builds],
        compacting=reply.compacting,
        upkeep_error=reply.upkeep_error,
        text_pending_points=reply.text_pending_points,
    )


def recall_report(reply: admin_pb2.EstimateRecallResponse) -> RecallReport:
    """Return how much searches find."""
    return RecallReport(
        now=_recall_estimate(reply.now),
        by_ef=[_recall_estimate(message) for message in reply.by_ef],
        target_recall=reply.target_recall,
        live_samples=reply.live_samples,
        samples=reply.samples,
    )


def _recall_estimate(message: admin_pb2.RecallEstimate) -> RecallEstimate:
    return RecallEstimate(message.ef, message.recall, message.low, message.high, message.search_us)


def stored_point(message: common_pb2.Point) -> StoredPoint:
    """Return a point; payload and vectors stay bytes until they are looked at."""
    return StoredPoint(
        message.id,
        message.payload,
        message.version,
        _vector_bytes(message.vectors),
        dict(message.texts) or _NO_TEXTS,
        _sparse(message.vectors),
        _multi(message.vectors),
        message.expires_at_ms,
    )


def page(reply: points_pb2.ListPointsResponse | points_pb2.ExportResponse) -> Page:
    """Return one page of a list or an export."""
    return Page(
        points=[stored_point(point) for point in reply.points],
        next_page_token=reply.next_page_token,
        damaged=list(reply.damaged),
        commit_seq=reply.commit_seq,
    )


def changes(reply: points_pb2.WatchResponse) -> Changes:
    """Return what some writes changed."""
    return Changes(
        deleted=list(reply.deleted),
        points=[stored_point(point) for point in reply.points],
        commit_seq=reply.commit_seq,
        complete=reply.complete,
        warnings=list(reply.warnings),
        truncated=reply.truncated,
    )


def search_result(reply: search_pb2.QueryResponse) -> SearchResult:
    """Return the hits, best first, and how they were found."""
    timings = reply.timings
    groups = tuple([Group(scalar_of(group.value), hits_of(group.hits)) for group in reply.groups])
    return SearchResult(
        hits=hits_of(reply.hits) or tuple([hit for group in groups for hit in group.hits]),
        plan=reply.plan,
        matched=reply.matched,
        complete=reply.complete,
        warnings=tuple(reply.warnings),
        timings=Timings(
            timings.embed_us,
            timings.snapshot_us,
            timings.filter_us,
            timings.search_us,
            timings.fetch_us,
            timings.total_us,
        ),
        commit_seq=reply.commit_seq,
        groups=groups,
        usage=Usage(reply.usage.embed_tokens),
        next_page_token=reply.next_page_token,
    )


def hits_of(messages: Iterable[search_pb2.Hit]) -> tuple[Hit, ...]:
    """Return hits in their order."""
    return tuple(
        Hit(
            hit.id,
            hit.payload,
            hit.version,
            _vector_bytes(hit.vectors),
            dict(hit.texts) or _NO_TEXTS,
            _sparse(hit.vectors),
            _multi(hit.vectors),
            hit.score,
            hit.distance,
            tuple([LegHit(leg.leg, leg.score, leg.rank) for leg in hit.legs]),
            hit.expires_at_ms,
            highlights_of(hit.highlights),
        )
        for hit in messages
    )


def model_info(message: models_pb2.Model) -> ModelInfo:
    """Return a model's description."""
    return ModelInfo(
        name=message.name,
        dim=message.dim,
        metric=_METRIC_NAMES.get(message.metric),
        max_tokens=message.max_tokens,
        fingerprint=message.fingerprint,
        ready=message.ready,
        reason=message.reason,
        license=message.license,
        kind=message.kind,
        aliases=tuple(message.aliases),
        query_prompt=message.query_prompt,
        document_prompt=message.document_prompt,
        takes=tuple(message.takes),
        gives=message.gives,
        dims=tuple(message.dims),
        source=message.source,
        note=message.note,
        loaded=message.loaded,
        memory_bytes=message.memory_bytes,
    )


def embedding(message: models_pb2.Embedding) -> Embedding:
    """Return the vector of a text or an image."""
    vector = message.vector
    sparse = None
    if vector.HasField("sparse"):
        sparse = Sparse(array("I", vector.sparse.indices), array("f", vector.sparse.values))
    return Embedding(floats_of(vector.f32), message.tokens, message.truncated, sparse)


def ranked_text(message: models_pb2.RankedText, texts: list[str]) -> RankedText:
    """Return one of the texts that were judged."""
    return RankedText(
        position=message.position,
        text=texts[message.position],
        score=message.score,
        tokens=message.tokens,
        truncated=message.truncated,
    )


def _vector_bytes(vectors: Mapping[str, common_pb2.Vector]) -> Mapping[str, bytes]:
    if not vectors:
        return _NO_BYTES
    return {name: vector.f32 for name, vector in vectors.items() if vector.f32}


def _sparse(vectors: Mapping[str, common_pb2.Vector]) -> Mapping[str, Sparse]:
    if not vectors:
        return _NO_SPARSE
    return {
        name: Sparse(array("I", vector.sparse.indices), array("f", vector.sparse.values))
        for name, vector in vectors.items()
        if vector.HasField("sparse")
    }


def _multi(vectors: Mapping[str, common_pb2.Vector]) -> Mapping[str, Matrix]:
    if not vectors:
        return _NO_MULTI
    return {
        name: multi_view(vector.multi)
        for name, vector in vectors.items()
        if vector.HasField("multi")
    }
