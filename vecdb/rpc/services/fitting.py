"""The texts and images of a query, and whether their vectors fit the models of its snapshot.

Content is encoded before the snapshot is taken. If its space is moved to another model in between,
the vector is of the old one: of another length, or, worse, of the same.
"""

from __future__ import annotations

from collections.abc import Sequence

import grpc

from vecdb.collection.snapshot import Snapshot
from vecdb.rpc.services.encode import QueryContent, SpaceEncoder
from vecdb.types import F32, ModelBinding, Space, SparseSpace, SparseVector


class FittingContent(QueryContent):
    """Encodes the content of one query, and remembers for which models. For one thread."""

    def __init__(self, encoder: SpaceEncoder, context: grpc.ServicerContext) -> None:
        super().__init__(encoder, context)
        self._models: dict[str, ModelBinding | None] = {}

    def encode(self, space: Space, items: Sequence[str | bytes]) -> F32:
        """Return the vectors (n, dim) of items of one kind, within the call's deadline."""
        self._models[space.name] = space.model
        return super().encode(space, items)

    def encode_sparse(self, space: SparseSpace, text: str) -> SparseVector:
        """Return the vector of a text, within the call's deadline."""
        self._models[space.name] = space.model
        return super().encode_sparse(space, text)

    def fit(self, snapshot: Snapshot) -> bool:
        """Return whether the spaces that content was encoded for have the same models still."""
        for name, model in self._models.items():
            space = snapshot.space(name) or snapshot.sparse_space(name)
            if space is None or space.model != model:
                return False
        return True
