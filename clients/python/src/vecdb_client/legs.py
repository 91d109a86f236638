"""The legs of a search, near to a vector, by words ..., and how several are fused. Data only."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, cast

from vecdb_client.errors import InvalidArgument
from vecdb_client.filters import Filter
from vecdb_client.images import ImageFile, ImageLike
from vecdb_client.multi import MultiLike
from vecdb_client.types import Match, PointId
from vecdb_client.vectors import Numbers, SparseLike, VectorLike, sparse_of

Strategy: TypeAlias = Literal["average", "best_score"]
Normalization: TypeAlias = Literal["min_max", "z_score"]


@dataclass(frozen=True, slots=True)
class Near:
    """A leg: near to numbers (dim,), a text or ImageFile that its model encodes, or a stored point.

    Or to a sparse vector, where the space is sparse: a dict of index to value, or a Sparse; or to
    several vectors (q, dim) in a MultiDenseSpace.
    k: how many of its best enter the fusion; None for 100, more where the hits asked for need it.
    weight: of several legs; None for 1. filter: beside the search's. ef and exact: as for search().
    """

    query: VectorLike | MultiLike | PointId
    space: str = ""
    k: int | None = None
    weight: float | None = None
    filter: Filter | None = None
    ef: int | None = None
    exact: bool = False


@dataclass(frozen=True, slots=True)
class Keyword:
    """A leg: the points whose texts fit some words best. fields: paths; none for all.

    match: any of the words, all, or all side by side. k, weight, filter: as of Near.
    """

    text: str
    fields: Iterable[str] = ()
    match: Match = "any"
    k: int | None = None
    weight: float | None = None
    filter: Filter | None = None


@dataclass(frozen=True, slots=True)
class Recommend:
    """A leg: like some examples and unlike others: numbers, texts, ImageFiles, PointIds of points.

    Those points are not among the hits. "average" searches near to one vector, 2 * mean(positive) -
    mean(negative), and mean(positive) without negatives. "best_score" compares every candidate with
    every example: with those nearer to a positive than to any negative, by the best positive; the
    others come after them. The rest: as of Near.
    """

    positive: Iterable[VectorLike | PointId]
    negative: Iterable[VectorLike | PointId] = ()
    strategy: Strategy = "average"
    space: str = ""
    k: int | None = None
    weight: float | None = None
    filter: Filter | None = None
    ef: int | None = None
    exact: bool = False


@dataclass(frozen=True, slots=True)
class OrderBy:
    """A leg: points in the order of a payload field, numbers, times or strings.

    Points that hold nothing there are not found. k, weight, filter: as of Near.
    """

    path: str
    descending: bool = False
    k: int | None = None
    weight: float | None = None
    filter: Filter | None = None


Leg: TypeAlias = Near | Keyword | Recommend | OrderBy


@dataclass(frozen=True, slots=True)
class Rrf:
    """Reciprocal rank fusion: the sum over legs of weight / (k + rank), ranks from 1."""

    k: int = 60


@dataclass(frozen=True, slots=True)
class Weighted:
    """The sum over legs of weight * score, the scores of each leg made comparable first.

    "min_max": from 0 to 1, 0 for what a leg did not find. "z_score": in standard deviations from
    their mean, -3 or less for what a leg did not find.
    """

    normalization: Normalization = "min_max"


Fusion: TypeAlias = Rrf | Weighted


def asked_legs(
    query: Numbers | MultiLike | str | ImageFile | PointId | None,
    *,
    image: ImageLike | None,
    keyword: str | None,
    match: Match,
    fields: Iterable[str],
    sparse: SparseLike | None,
    space: str,
    ef: int | None,
    exact: bool,
    hybrid: bool,
    legs: Sequence[Leg] | None,
) -> Sequence[Leg]:
    """Return the legs that the arguments of a search mean. Raises InvalidArgument."""
    if legs is not None:
        others = (query, image, keyword, sparse, ef) != (None,) * 5 or fields or match != "any"
        if others or space or exact or hybrid:
            raise InvalidArgument("legs say all themselves: query, keyword, space ... go into them")
        if not legs:
            raise InvalidArgument("legs holds at least one leg, such as Near(...) or Keyword(...)")
        return legs
    if image is not None:
        query = _of_image(image, query)
    if hybrid:
        words = keyword if keyword is not None else query
        if query is None or sparse is not None or not isinstance(words, str):
            raise InvalidArgument(
                "hybrid takes a query that is a text, or numbers or an image with a keyword beside"
            )
        return [Near(query, space, ef=ef, exact=exact), Keyword(words, fields, match)]
    if sum(given is not None for given in (query, keyword, sparse)) != 1:
        raise InvalidArgument("search takes one of query, image, keyword and sparse")
    if keyword is not None:
        return [Keyword(keyword, fields, match)]
    if sparse is not None and sparse_of(sparse) is None:
        raise InvalidArgument(
            "sparse is a dict of index to value, or indices and values", reason="BAD_VECTOR"
        )
    return [Near(cast(Numbers, query if sparse is None else sparse), space, ef=ef, exact=exact)]


def _of_image(image: ImageLike, query: object) -> ImageFile:
    if query is not None:
        raise InvalidArgument("an image is a query of its own: give query, or image")
    return ImageFile(image)
