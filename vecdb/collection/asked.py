"""What one query asks of a snapshot: its legs, and what is done with what they find. Data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

from vecdb.collection.cross import CrossEncoding
from vecdb.collection.paging import Tokens
from vecdb.multi import MultiQuery, Rerank
from vecdb.query.boost import Boost
from vecdb.query.fusion import Fusion, Rrf
from vecdb.query.mmr import Mmr
from vecdb.query.order import OrderQuery
from vecdb.query.recommend import BestScoreQuery
from vecdb.types import Filter, KeywordQuery, Query, SparseQuery

OneSearch: TypeAlias = Query | SparseQuery | KeywordQuery
"""What one search of the parts answers."""
AnyQuery: TypeAlias = OneSearch | MultiQuery | BestScoreQuery | OrderQuery
"""What a leg may be."""


class GroupBy(NamedTuple):
    """Hits by the values of a payload path, up to `size` of each.

    leg_k_max: the most that each of several legs gives to the fusion until there are k groups.
    """

    path: str
    size: int
    leg_k_max: int


class Asked(NamedTuple):
    """What is asked of a snapshot: hits offset to offset + k of what the legs find.

    legs: each with its own k, which of one leg is offset + k. filter: of all legs; that of a leg
    narrows it further, unless it is the same object. min_score: of hits, the fused one where there
    are several legs, with what a boost adds. fusion and weights, one a leg: of several. rerank: a
    second look at what is found, whose score takes the place of the legs'. boost and mmr order the
    best of that anew. No leg has a smaller k than any of the three has candidates. group: k and
    offset count groups; without mmr. tokens: of the texts that vectors were made from. pages:
    what makes the token of the next page, where one is wanted; one leg has a k larger by one then.
    """

    legs: Sequence[AnyQuery]
    k: int
    filter: Filter | None = None
    offset: int = 0
    min_score: float | None = None
    fusion: Fusion = Rrf()
    weights: Sequence[float] = ()
    rerank: Rerank | CrossEncoding | None = None
    boost: Boost | None = None
    mmr: Mmr | None = None
    group: GroupBy | None = None
    tokens: int = 0
    pages: Tokens | None = None

    @property
    def ahead(self) -> int:
        """How many are looked for beyond the page, to know whether it is the last."""
        return int(self.pages is not None)

    def token(self, found: int, *, more: bool) -> str:
        """Return the token of the next page, "" for none. found: how many are on this one."""
        if self.pages is None or not more:
            return ""
        return self.pages.token(b"%d" % (self.offset + found))

    @classmethod
    def one(cls, query: AnyQuery) -> Asked:
        """Return what a query by itself asks for."""
        return cls((query,), query.k, query.filter)
