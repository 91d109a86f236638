"""Texts and images into vectors for a bound space, as writes and queries both need it.

Content is encoded by the model that the space is bound to, and only while that model's fingerprint
is the one that the space was filled with.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import grpc

from vecdb.embed.client import Encoders, ModelInfo
from vecdb.embed.encoded import Encoded
from vecdb.embed.encoder import Item, Role
from vecdb.errors import DeadlineExceeded, InvalidArgument, ModelMismatch, NoModel, NotFound
from vecdb.metrics import Metrics
from vecdb.rpc.deadline import remaining_s
from vecdb.traces import note
from vecdb.types import F32, Space, SparseSpace, SparseVector

TEXT, IMAGE = "text", "image"
"""What content is, as fields of messages and kinds of models name it."""


class SpaceEncoder:
    """Encodes texts and images for spaces."""

    def __init__(self, encoders: Encoders, metrics: Metrics) -> None:
        self._encoders = encoders
        self._metrics = metrics

    def check(self, space: Space | SparseSpace, kind: str = TEXT) -> None:
        """Raise unless content of a kind can be encoded for a space.

        NoModel, ModelMismatch; InvalidArgument where its model takes no such content.
        """
        if space.model is None:
            raise NoModel(
                f"space {space.name!r} has no model: it takes {_taken(space)}, not {kind}",
                hint=f"create the collection with a model of Models.List to send {kind}",
            )
        try:
            model = self._encoders.resolve(space.model.name)
        except NotFound as error:
            raise NoModel(
                f"space {space.name!r} needs model {space.model.name}: {error.message}",
                hint="configure it with embed.models",
            ) from None
        if model.fingerprint != space.model.fingerprint:
            raise ModelMismatch(
                f"space {space.name!r} was filled by {space.model.name} "
                f"{space.model.fingerprint[:12]}, this server has {model.fingerprint[:12]}",
                hint="install the model that filled it, or write the texts to a new collection",
                expected=space.model.fingerprint,
                got=model.fingerprint,
            )
        if kind not in model.takes:
            raise InvalidArgument(
                f"space {space.name!r} takes {' or '.join(sorted(model.takes))}, not {kind}: "
                f"that is what its model {model.name} reads",
                hint="create a space with a model for both, of kind onnx-clip, or one for each",
            )

    def re_ranker(self, name: str) -> ModelInfo:
        """Return the model of that name that gives a score, "" for the first.

        Raises NotFound, NoModel, InvalidArgument.
        """
        if not name:
            for model in self._encoders.models():
                if model.gives == "score":
                    return model
            raise NoModel(
                "no configured model gives a score",
                hint="add a re-ranker to embed.models; vecdb models list shows what there is",
            )
        model = self._encoders.resolve(name)
        if model.gives != "score":
            raise InvalidArgument(
                f"model {model.name} gives {model.gives} vectors, no score", field="model"
            )
        return model

    def takes(self, space: Space | SparseSpace) -> frozenset[str]:
        """Return which content the model of a space takes, none where it is not known here."""
        try:
            return self._encoders.resolve(space.model.name).takes if space.model else frozenset()
        except NotFound:
            return frozenset()

    def encode(
        self,
        space: Space | SparseSpace,
        items: Sequence[Item],
        role: Role,
        context: grpc.ServicerContext,
    ) -> Encoded:
        """Return the vectors of items for a space, within the call's deadline.

        Raises InvalidArgument for one of which the model knows nothing.
        """
        return _all(self.encode_some(space, items, role, context))

    def encode_some(
        self,
        space: Space | SparseSpace,
        items: Sequence[Item],
        role: Role,
        context: grpc.ServicerContext,
        *,
        patient: bool = False,
    ) -> Encoded:
        """Return what encode() does, where that is possible: the rest is in `refused`.

        patient: see Encoders.encode.
        """
        self.check(space, IMAGE if isinstance(items[0], bytes) else TEXT)
        assert space.model is not None
        dim = space.dim if isinstance(space, Space) else 0
        return self._encode(space.model.name, items, role, context, dim=dim, patient=patient)

    def encode_with(
        self,
        model: str,
        items: Sequence[Item],
        role: Role,
        context: grpc.ServicerContext,
        dim: int = 0,
    ) -> Encoded:
        """Return the vectors of items by a model's name. Raises as encode() does."""
        return _all(self._encode(model, items, role, context, dim=dim))

    def _encode(
        self,
        model: str,
        items: Sequence[Item],
        role: Role,
        context: grpc.ServicerContext,
        *,
        dim: int = 0,
        patient: bool = False,
    ) -> Encoded:
        remaining = remaining_s(context)
        if remaining is not None and remaining <= 0:
            raise DeadlineExceeded("the deadline passed before anything was encoded")
        # A query is over before it could be cancelled; a long ingest gives its place back.
        on_hangup = context.add_callback if role is Role.DOCUMENT else None
        begun = time.perf_counter_ns()
        encoded = self._encoders.encode(
            model, items, role, remaining, on_hangup, dim=dim, patient=patient
        )
        note("embed", begun, model=model, items=len(items), tokens=sum(encoded.tokens))
        self._metrics.embedded_texts.labels(role.name.lower()).inc(len(items))
        self._metrics.embedded_tokens.labels(role.name.lower()).inc(sum(encoded.tokens))
        self._metrics.embed_queue.observe(encoded.queue_ms / 1e3)
        self._metrics.embed_inference.observe(encoded.inference_ms / 1e3)
        return encoded


def _taken(space: Space | SparseSpace) -> str:
    return f"{space.dim} numbers" if isinstance(space, Space) else "indices and values"


def _all(encoded: Encoded) -> Encoded:
    for error in encoded.refused.values():
        raise error
    return encoded


class QueryContent:
    """The texts and images of one query: encoded, their tokens counted. For one thread."""

    def __init__(self, encoder: SpaceEncoder, context: grpc.ServicerContext) -> None:
        self._encoder = encoder
        self._context = context
        self.tokens = 0

    def encode(self, space: Space, items: Sequence[str | bytes]) -> F32:
        """Return the vectors (n, dim) of items of one kind, within the call's deadline."""
        return self._encoded(space, items).vectors

    def encode_sparse(self, space: SparseSpace, text: str) -> SparseVector:
        """Return the vector of a text, within the call's deadline."""
        return self._encoded(space, [text]).sparse[0]

    def _encoded(self, space: Space | SparseSpace, items: Sequence[str | bytes]) -> Encoded:
        encoded = self._encoder.encode(space, items, Role.QUERY, self._context)
        self.tokens += sum(encoded.tokens)
        return encoded
