"""A second look at the best of what a search found, by what would cost too much for all points."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from vecdb_client.arguments import count
from vecdb_client.errors import InvalidArgument
from vecdb_client.multi import MaxSim, fill_multi, multi_of
from vecdb_client.pb import search_pb2
from vecdb_client.requests import checked_text
from vecdb_client.types import PointId


@dataclass(frozen=True, slots=True)
class CrossEncoder:
    """A second look at the best of what a search found: a model reads the query with each text.

    model: one that gives scores, see Client.models; "" for the first. field: the payload path of
    the text that is read; or space, whose stored text it is; of neither, that of the space which is
    searched by a text. What has no text is left out, with a warning. text: the query; "" for what
    is searched for. candidates: how many are looked at; None for 100, more where the hits asked for
    need it.
    """

    model: str = ""
    field: str | None = None
    space: str | None = None
    text: str = ""
    candidates: int | None = None


Rerank: TypeAlias = MaxSim | CrossEncoder


def fill_rerank(message: search_pb2.Rerank, rerank: Rerank) -> None:
    """Write a second look at candidates into a message. Raises InvalidArgument."""
    if isinstance(rerank, MaxSim):
        _fill_max_sim(message.max_sim, rerank)
    elif isinstance(rerank, CrossEncoder):
        _fill_cross_encoder(message.cross_encoder, rerank)
    else:
        raise InvalidArgument(f"rerank is a MaxSim or a CrossEncoder, got {rerank!r}")
    if rerank.candidates is not None:
        message.candidates = count(rerank.candidates, "candidates")


def _fill_max_sim(near: search_pb2.MaxSim, rerank: MaxSim) -> None:
    near.space = checked_text(rerank.space, "a space's name")
    if isinstance(rerank.query, PointId):
        near.vector.point = checked_text(rerank.query.id, "a point id")
    elif (multi := multi_of(rerank.query)) is not None:
        fill_multi(near.vector, multi)
    else:
        raise InvalidArgument("MaxSim takes vectors (q, dim), or a PointId", reason="BAD_VECTOR")


def _fill_cross_encoder(message: search_pb2.CrossEncoder, rerank: CrossEncoder) -> None:
    message.SetInParent()  # also where nothing is said
    message.model = checked_text(rerank.model, "a model's name")
    message.text = checked_text(rerank.text, "a query")
    if rerank.field is not None and rerank.space is not None:
        raise InvalidArgument("field or space say which text is read, not both")
    if rerank.field is not None:
        message.field = checked_text(rerank.field, "a path")
    if rerank.space is not None:
        message.space = checked_text(rerank.space, "a space's name")
