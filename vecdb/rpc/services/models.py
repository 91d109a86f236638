"""Models: what can encode here, encoding it, judging texts beside a query."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import grpc
import numpy as np

from vecdb.config import LimitsConfig
from vecdb.embed.channel import ResidentModel
from vecdb.embed.client import Encoders, ModelInfo
from vecdb.embed.encoder import Item, Pair, Role
from vecdb.errors import InvalidArgument, LimitExceeded, ReadOnly, VecdbError
from vecdb.reembed.moves import Moves
from vecdb.rpc.convert import metric_message, vector_message
from vecdb.rpc.deadline import remaining_s
from vecdb.rpc.dispatch import waits
from vecdb.rpc.pb import common_pb2, models_pb2_grpc, reembed_pb2
from vecdb.rpc.pb import models_pb2 as pb
from vecdb.rpc.services.encode import SpaceEncoder
from vecdb.rpc.services.reembed import reembed
from vecdb.types import F32, SparseVector

_ROLES = {pb.EMBED_ROLE_QUERY: Role.QUERY, pb.EMBED_ROLE_DOCUMENT: Role.DOCUMENT}
_ASK_S = 1.0


class ModelsService(models_pb2_grpc.ModelsServicer):
    """Serves vecdb.v1.Models."""

    def __init__(
        self, encoders: Encoders, encoder: SpaceEncoder, limits: LimitsConfig, moves: Moves | None
    ) -> None:
        """Serve what the encoders have. moves: None in a query worker, which passes them on."""
        self._encoders = encoders
        self._encoder = encoder
        self._limits = limits
        self._moves = moves

    def List(
        self, request: pb.ListModelsRequest, context: grpc.ServicerContext
    ) -> pb.ListModelsResponse:
        """Return the configured models, the default first."""
        try:
            resident = self._encoders.describe(_ASK_S).models
        except VecdbError:  # which models there are is known without a worker
            resident = {}
        return pb.ListModelsResponse(
            models=[
                _model(model, resident.get(model.name, ResidentModel()))
                for model in self._encoders.models()
            ]
        )

    @waits
    def Embed(self, request: pb.EmbedRequest, context: grpc.ServicerContext) -> pb.EmbedResponse:
        """Return the vectors of texts or images."""
        if request.texts and request.images:
            raise InvalidArgument("texts and images do not go in one call", field="images")
        items: Sequence[Item] = list(request.texts) or list(request.images)
        self._check_number(items, "texts" if request.texts else "images")
        model = self._encoders.resolve(request.model)
        if model.gives == "score":
            raise InvalidArgument(
                f"model {model.name} gives a score, no vector", field="model", hint="call Rerank"
            )
        encoded = self._encoder.encode_with(
            model.name, items, _role(request.role), context, request.dimensions
        )
        reply = pb.EmbedResponse(model=model.name, fingerprint=encoded.fingerprint)
        outputs: Iterable[F32 | SparseVector] = (
            encoded.sparse if model.gives == "sparse" else encoded.vectors
        )
        for row, output in enumerate(outputs):
            reply.embeddings.add(
                vector=_vector(output),
                tokens=encoded.tokens[row],
                truncated=encoded.truncated[row],
            )
        return reply

    @waits
    def Rerank(self, request: pb.RerankRequest, context: grpc.ServicerContext) -> pb.RerankResponse:
        """Return texts in the order in which they go together with a query."""
        self._check_number(request.texts, "texts")
        if not request.query:
            raise InvalidArgument("query is empty", field="query")
        model = self._encoder.re_ranker(request.model)
        pairs = [Pair(request.query, text) for text in request.texts]
        encoded = self._encoder.encode_with(model.name, pairs, Role.QUERY, context)
        scores = encoded.vectors[:, 0]
        order = np.argsort(-scores, kind="stable")
        return pb.RerankResponse(
            model=model.name,
            fingerprint=encoded.fingerprint,
            ranked=[
                pb.RankedText(
                    position=row,
                    score=scores[row],
                    tokens=encoded.tokens[row],
                    truncated=encoded.truncated[row],
                )
                for row in order[: request.k or None].tolist()
            ],
        )

    @waits
    def Tokenize(
        self, request: pb.TokenizeRequest, context: grpc.ServicerContext
    ) -> pb.TokenizeResponse:
        """Return what a model reads of texts."""
        self._check_number(request.texts, "texts")
        model = self._encoders.resolve(request.model)
        found = self._encoders.tokenize(
            model.name, list(request.texts), _role(request.role), remaining_s(context)
        )
        return pb.TokenizeResponse(
            model=model.name,
            texts=[
                pb.TokenizedText(ids=one.ids, tokens=one.tokens, truncated=one.truncated)
                for one in found
            ],
        )

    def Load(
        self, request: pb.LoadModelRequest, context: grpc.ServicerContext
    ) -> pb.LoadModelResponse:
        """Load a model."""
        took_s = self._encoders.load(request.model, remaining_s(context))
        return pb.LoadModelResponse(took_s=took_s)

    def Unload(
        self, request: pb.UnloadModelRequest, context: grpc.ServicerContext
    ) -> pb.UnloadModelResponse:
        """Give a model's memory back."""
        unloaded = self._encoders.unload(request.model, remaining_s(context))
        return pb.UnloadModelResponse(unloaded=unloaded)

    def _check_number(self, items: Sequence[object], what: str) -> None:
        if len(items) > self._limits.embed_texts:
            raise LimitExceeded(
                f"{len(items)} {what}, the limit is {self._limits.embed_texts}",
                field=what,
                hint="send several requests, or raise limits.embed_texts",
            )

    def Reembed(
        self, request: reembed_pb2.ReembedRequest, context: grpc.ServicerContext
    ) -> reembed_pb2.ReembedResponse:
        """Move a space to another model, step by step."""
        if self._moves is None:
            raise ReadOnly("this process opened the data directory to read")
        return reembed(self._moves, request)


def _vector(output: F32 | SparseVector) -> common_pb2.Vector:
    if not isinstance(output, SparseVector):
        return vector_message(output)
    indices, values = output
    return common_pb2.Vector(
        sparse=common_pb2.SparseVector(indices=indices.tolist(), values=values.tolist())
    )


def _role(role: pb.EmbedRole) -> Role:
    found = _ROLES.get(role)
    if found is None:
        raise InvalidArgument(
            "role is not set: a query and a document are encoded with different prompts",
            field="role",
        )
    return found


def _model(model: ModelInfo, resident: ResidentModel) -> pb.Model:
    return pb.Model(
        name=model.name,
        dim=model.dim,
        metric=metric_message(model.metric),
        max_tokens=model.max_tokens,
        fingerprint=model.fingerprint,
        ready=model.ready,
        reason=model.reason,
        license=model.license,
        kind=model.kind,
        aliases=model.aliases,
        query_prompt=model.query_prompt,
        document_prompt=model.document_prompt,
        takes=sorted(model.takes),
        gives=model.gives,
        dims=model.dims,
        source=model.source,
        note=model.note,
        loaded=resident.loaded,
        memory_bytes=resident.memory_bytes,
    )
