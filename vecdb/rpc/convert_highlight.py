"""Between a query's highlights and its messages: what is to be marked, and what of a hit was."""

from __future__ import annotations

import time
from collections.abc import Callable

from vecdb.errors import DeadlineExceeded, InvalidArgument, LimitExceeded
from vecdb.query.highlight import Fragment, Marks, Shape, asked_texts, highlighted, marks_of
from vecdb.query.keyword import check_field
from vecdb.rpc.convert import match_of
from vecdb.rpc.convert_filter import filter_of
from vecdb.rpc.pb import search_pb2 as pb
from vecdb.segment.fields import parse
from vecdb.types import Match, Schema

FRAGMENTS, FRAGMENTS_MAX = 3, 20
CHARACTERS, CHARACTERS_BOUNDS = 160, (20, 100_000)


def highlights_of(
    request: pb.QueryRequest, schema: Schema, deadline: float
) -> Callable[[bytes], bytes]:
    """Return what makes a hit's highlights, as the wire has them, of a stored payload.

    request: checked, also its legs and filters. Raises InvalidArgument, LimitExceeded; what it
    returns raises DeadlineExceeded.
    """
    shape = _shape(request.highlights)
    marks = _marks(request, schema)

    def made(payload: bytes) -> bytes:
        if time.monotonic() > deadline:
            raise DeadlineExceeded(
                "the deadline passed while words were highlighted",
                hint="ask for fewer hits, or for highlights of fewer fields",
            )
        hit, parsed = pb.Hit(), parse(payload)
        for one in marks:
            if fragments := highlighted(parsed, one, shape):
                message = hit.highlights.add(field=one.field.path)
                message.fragments.extend(map(_message, fragments))
        encoded: bytes = hit.SerializeToString()
        return encoded

    return made


def _shape(message: pb.Highlights) -> Shape:
    low, high = CHARACTERS_BOUNDS
    if message.fragments > FRAGMENTS_MAX:
        raise LimitExceeded(
            f"{message.fragments} fragments of a field, the limit is {FRAGMENTS_MAX}",
            field="highlights.fragments",
        )
    if message.characters and not low <= message.characters <= high:
        raise LimitExceeded(
            f"a fragment has {low} to {high} characters, got {message.characters}",
            field="highlights.characters",
        )
    return Shape(message.fragments or FRAGMENTS, message.characters or CHARACTERS)


def _marks(request: pb.QueryRequest, schema: Schema) -> list[Marks]:
    """Return what is marked in which field, in the order of the collection's fields."""
    asked: dict[str, list[tuple[str, Match]]] = {text.path: [] for text in schema.text_fields}
    for at, path in enumerate(request.highlights.fields):
        check_field(path, schema, f"highlights.fields[{at}]")
    for leg in request.legs:
        if leg.WhichOneof("kind") == "keyword":
            for path in leg.keyword.fields or asked:
                asked.get(path, []).append((leg.keyword.text, match_of(leg.keyword.mode, "mode")))
    filters = [leg.filter for leg in request.legs if leg.HasField("filter")]
    filters += [request.filter] if request.HasField("filter") else []
    for condition in (text for one in filters for text in asked_texts(filter_of(one))):
        asked.get(condition.path, []).append((condition.text, condition.match))
    chosen = list(request.highlights.fields) or [path for path, texts in asked.items() if texts]
    for at, path in enumerate(request.highlights.fields):
        if not asked[path]:
            raise InvalidArgument(
                f"no words are asked for in text field {path!r}: there is nothing to highlight",
                field=f"highlights.fields[{at}]",
            )
    if not chosen:
        raise InvalidArgument(
            "no words are asked for: highlights are of keyword legs, and of text conditions of "
            "filters",
            field="highlights",
        )
    return [marks_of(text, asked[text.path]) for text in schema.text_fields if text.path in chosen]


def _message(fragment: Fragment) -> pb.Fragment:
    words = [pb.Span(start=start, end=end) for start, end in fragment.words]
    return pb.Fragment(text=fragment.text, value=fragment.value, start=fragment.start, words=words)
