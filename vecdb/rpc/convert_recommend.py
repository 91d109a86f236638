"""A recommend leg as the wire has it, and the query that it becomes. Raises InvalidArgument."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from vecdb.collection.snapshot import Snapshot
from vecdb.errors import InvalidArgument, LimitExceeded
from vecdb.query.recommend import EXAMPLES_MAX, BestScoreQuery, averaged
from vecdb.rpc.convert import content_of, vector_array
from vecdb.rpc.pb import common_pb2, ranking_pb2
from vecdb.types import F32, And, Filter, HasId, Not, Query, Space
from vecdb.write.prepare import check_vector

_STRATEGIES = (
    ranking_pb2.RECOMMEND_STRATEGY_AVERAGE,
    ranking_pb2.RECOMMEND_STRATEGY_BEST_SCORE,
)


class Recommended(NamedTuple):
    """A recommend leg. positive and negative: vectors, and the ids of points whose vector it is.

    field: the leg's path in the request.
    """

    positive: Sequence[F32 | str]
    negative: Sequence[F32 | str]
    space: Space
    is_average: bool
    field: str

    def query(
        self, snapshot: Snapshot, k: int, own: Filter | None, ef: int, exact: bool
    ) -> Query | BestScoreQuery:
        """Return what to ask for. own: the leg's own filter. Raises NotFound."""
        names = [one for one in (*self.positive, *self.negative) if isinstance(one, str)]
        stored = snapshot.examples(names, self.space.name, self.field)
        positive, negative = (
            tuple(stored[one] if isinstance(one, str) else one for one in kind)
            for kind in (self.positive, self.negative)
        )
        if names:
            others = Not(HasId(tuple(stored)))
            own = others if own is None else And((own, others))
        name = self.space.name
        if not self.is_average:
            return BestScoreQuery(positive, negative, k, name, own, ef, exact)
        vector = averaged(positive, negative, self.space.metric)
        return Query(vector, k, name, own, ef, exact)


def recommended(
    message: ranking_pb2.Recommend,
    space: Space,
    field: str,
    encode: Callable[[list[str | bytes]], Iterable[F32]],
) -> Recommended:
    """Return a recommend leg, its texts encoded together, and so its images."""
    count = len(message.positive) + len(message.negative)
    if not message.positive:
        raise InvalidArgument("expected at least one positive example", field=f"{field}.positive")
    if count > EXAMPLES_MAX:
        raise LimitExceeded(f"{count} examples, the limit is {EXAMPLES_MAX}", field=field)
    if message.strategy not in _STRATEGIES:
        raise InvalidArgument("expected strategy average or best_score", field=f"{field}.strategy")
    examples: list[F32 | str] = []
    contents: dict[str, dict[int, str | bytes]] = {"text": {}, "image": {}}
    for at, vector in enumerate((*message.positive, *message.negative)):
        negative = at - len(message.positive)
        place = f"positive[{at}]" if negative < 0 else f"negative[{negative}]"
        kind = vector.WhichOneof("kind")
        if kind in contents:
            contents[kind][at] = content_of(vector, f"{field}.{place}")
            examples.append("")  # until it is encoded
        else:
            examples.append(_example(vector, space, f"{field}.{place}"))
    for found in contents.values():
        if found:
            for at, encoded in zip(found, encode(list(found.values())), strict=True):
                examples[at] = encoded
    cut = len(message.positive)
    is_average = message.strategy == ranking_pb2.RECOMMEND_STRATEGY_AVERAGE
    return Recommended(examples[:cut], examples[cut:], space, is_average, field)


def _example(vector: common_pb2.Vector, space: Space, field: str) -> F32 | str:
    """Return numbers, or the id of a point."""
    kind = vector.WhichOneof("kind")
    if kind == "sparse":
        raise InvalidArgument(
            f"space {space.name!r} is dense: it takes {space.dim} numbers, not indices", field=field
        )
    if kind == "point":
        return str(vector.point)
    numbers = vector_array(vector, field)
    check_vector(numbers, space, field)
    return numbers
