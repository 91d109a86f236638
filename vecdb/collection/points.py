"""Stored records as points."""

from __future__ import annotations

import numpy as np

from vecdb.storage.codec import RecordView
from vecdb.storage.multi import decode_multi
from vecdb.storage.numbered import NumberedSchema
from vecdb.storage.sparse import decode_sparse
from vecdb.types import F32, Point, SparseVector, Wanted


def vectors_of(
    record: RecordView, schema: NumberedSchema, *, shown: bool = False
) -> tuple[dict[str, F32], dict[str, SparseVector]]:
    """Return the dense and the sparse vectors of a record, by their spaces.

    Those of a multi-dense space are among the dense, (n, dim). shown: only what points are sent
    with.
    """
    dense: dict[str, F32] = {}
    sparse: dict[str, SparseVector] = {}
    names = schema.shown_names if shown else schema.names
    for number, cell in record.vector_bytes().items():
        name = names.get(number)
        if name is None:  # dropped since, or a shadow
            continue
        if schema.schema.space(name) is not None:
            dense[name] = np.frombuffer(cell, "<f4").astype(np.float32, copy=False)
        elif (multi := schema.schema.multi_space(name)) is not None:
            dense[name] = decode_multi(cell, multi.dim)
        else:
            sparse[name] = decode_sparse(cell)
    return dense, sparse


def point_of(record: RecordView, schema: NumberedSchema, wanted: Wanted) -> Point:
    """Return what is wanted of a record."""
    texts = {}
    if wanted.texts:
        names = schema.shown_names
        texts = {names[number]: text for number, text in record.texts().items() if number in names}
    vectors, sparse = vectors_of(record, schema, shown=True) if wanted.vectors else ({}, {})
    payload = record.payload if wanted.payload else b""
    if wanted.kept is not None:
        payload = wanted.kept(payload)
    expires_at_ms = record.expires_at_ms
    return Point(record.id, payload, record.version, vectors, texts, sparse, expires_at_ms)
