"""Models: what can encode text here, and encoding it."""

from __future__ import annotations

import grpc

from vecdb.config import LimitsConfig
from vecdb.embed.client import Encoders
from vecdb.embed.encoder import Role
from vecdb.errors import InvalidArgument, LimitExceeded
from vecdb.rpc.convert import metric_message, vector_message
from vecdb.rpc.pb import models_pb2 as pb
from vecdb.rpc.pb import models_pb2_grpc
from vecdb.rpc.services.encode import SpaceEncoder

_ROLES = {pb.EMBED_ROLE_QUERY: Role.QUERY, pb.EMBED_ROLE_DOCUMENT: Role.DOCUMENT}


class ModelsService(models_pb2_grpc.ModelsServicer):
    """Serves vecdb.v1.Models."""

    def __init__(self, encoders: Encoders, encoder: SpaceEncoder, limits: LimitsConfig) -> None:
        self._encoders = encoders
        self._encoder = encoder
        self._limits = limits

    def List(
        self, request: pb.ListModelsRequest, context: grpc.ServicerContext
    ) -> pb.ListModelsResponse:
        """Return the configured models, the default first."""
        reply = pb.ListModelsResponse()
        for model in self._encoders.models():
            reply.models.add(
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
            )
        return reply

    def Embed(self, request: pb.EmbedRequest, context: grpc.ServicerContext) -> pb.EmbedResponse:
        """Return the vectors of texts."""
        role = _ROLES.get(request.role)
        if role is None:
            raise InvalidArgument(
                "role is not set: a query and a document are encoded with different prompts",
                field="role",
            )
        if len(request.texts) > self._limits.embed_texts:
            raise LimitExceeded(
                f"{len(request.texts)} texts, the limit is {self._limits.embed_texts}",
                field="texts",
                hint="send several requests, or raise limits.embed_texts",
            )
        encoded = self._encoder.encode_with(request.model, list(request.texts), role, context)
        reply = pb.EmbedResponse(
            model=self._encoders.resolve(request.model).name, fingerprint=encoded.fingerprint
        )
        for row, vector in enumerate(encoded.vectors):
            reply.embeddings.add(
                vector=vector_message(vector),
                tokens=encoded.tokens[row],
                truncated=encoded.truncated[row],
            )
        return reply
