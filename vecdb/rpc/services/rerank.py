"""The second look that a query asks for: by vectors, or by a model that reads texts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import grpc

from vecdb.collection.cross import CrossEncoding
from vecdb.collection.snapshot import Snapshot
from vecdb.config import LimitsConfig
from vecdb.embed.encoder import Pair, Role
from vecdb.errors import InvalidArgument, LimitExceeded, VecdbError
from vecdb.multi import Rerank
from vecdb.rpc.convert import multi_vector
from vecdb.rpc.convert_aggregate import checked_path
from vecdb.rpc.convert_query import candidates_of
from vecdb.rpc.pb import search_pb2 as pb
from vecdb.rpc.services.encode import SpaceEncoder
from vecdb.types import F32, Schema
from vecdb.write.multi import checked_multi
from vecdb.write.prepare import unknown_space

Second: TypeAlias = Callable[[Snapshot], Rerank | CrossEncoding]

_CROSS = "rerank.cross_encoder"


def second_look(
    request: pb.QueryRequest,
    need: int,
    schema: Schema,
    limits: LimitsConfig,
    encoder: SpaceEncoder,
    context: grpc.ServicerContext,
) -> Second | None:
    """Return how the best of what is found is to be ordered; None for as it is found.

    need: how many hits are asked for. Raises what is wrong with it.
    """
    if not request.HasField("rerank"):
        return None
    kind = request.rerank.WhichOneof("kind")
    if kind is None:
        raise InvalidArgument(
            "the rerank is empty: expected max_sim or cross_encoder", field="rerank"
        )
    candidates = candidates_of(request, need, limits)
    if kind == "cross_encoder":
        asked = _cross_encoding(request, candidates, schema, limits, encoder, context)
        return lambda snapshot: asked
    near = request.rerank.max_sim
    if schema.multi_space(near.space) is None:
        raise unknown_space(near.space, schema, "rerank.max_sim.space", multi=True)
    of = several(near, schema, limits, "rerank.max_sim.vector")
    return lambda snapshot: Rerank(of(snapshot), near.space, candidates)


def several(
    near: pb.Near | pb.MaxSim, schema: Schema, limits: LimitsConfig, field: str
) -> Callable[[Snapshot], F32]:
    """Return where to get the vectors of a query in a multi-dense space."""
    space = schema.multi_space(near.space)
    assert space is not None
    kind = near.vector.WhichOneof("kind")
    if kind == "point":
        return lambda snapshot: snapshot.vectors_of(near.vector.point, near.space, field)
    if kind != "multi":
        raise unknown_space(near.space, schema, field)
    vectors = checked_multi(multi_vector(near.vector.multi), space, limits, field)
    return lambda snapshot: vectors


def _cross_encoding(
    request: pb.QueryRequest,
    candidates: int,
    schema: Schema,
    limits: LimitsConfig,
    encoder: SpaceEncoder,
    context: grpc.ServicerContext,
) -> CrossEncoding:
    message = request.rerank.cross_encoder
    try:
        model = encoder.re_ranker(message.model)
    except VecdbError as error:
        error.field = f"{_CROSS}.model"
        raise
    query = message.text or _text_of(request)
    if not query:
        raise InvalidArgument(
            "no leg has a text that candidates could be judged by", field=f"{_CROSS}.text"
        )
    if len(query.encode()) > limits.text_bytes:
        raise LimitExceeded(
            f"the text has {len(query.encode())} bytes, the limit is {limits.text_bytes}",
            field=f"{_CROSS}.text",
        )

    def judge(texts: Sequence[str]) -> tuple[Sequence[float], int]:
        pairs = [Pair(query, text) for text in texts]
        try:
            encoded = encoder.encode_with(model.name, pairs, Role.QUERY, context)
        except VecdbError as error:
            error.field = _CROSS
            raise
        return encoded.vectors[:, 0].tolist(), sum(encoded.tokens)

    of = message.WhichOneof("of")
    if of == "field":
        return CrossEncoding(judge, candidates, checked_path(message.field, f"{_CROSS}.field"))
    space = message.space if of else _space_of(request)
    if space is None:
        raise InvalidArgument(
            "expected field or space: which text of a point is to be read", field=f"{_CROSS}.field"
        )
    if space not in {one.name for one in schema.all_spaces}:
        raise unknown_space(space, schema, f"{_CROSS}.space")
    return CrossEncoding(judge, candidates, space=space)


def _text_of(request: pb.QueryRequest) -> str:
    """Return the first text of a leg, "" where none has one."""
    texts = (leg.near.vector.text or leg.keyword.text for leg in request.legs)
    return next(filter(None, texts), "")


def _space_of(request: pb.QueryRequest) -> str | None:
    """Return the space of the first leg near to a text, None where there is none."""
    return next((leg.near.space for leg in request.legs if leg.near.vector.text), None)
