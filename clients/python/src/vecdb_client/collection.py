"""One collection: what is written to it and read from it. A handle; making one calls nobody."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, Literal, overload

from vecdb_client import replies, requests
from vecdb_client.descriptions import CollectionInfo, CollectionStats, RecallReport
from vecdb_client.errors import VecdbError
from vecdb_client.explanations import Explanation, explanation
from vecdb_client.filters import Filter
from vecdb_client.highlights import Highlights
from vecdb_client.images import ImageFile, ImageLike
from vecdb_client.legs import Fusion, Leg
from vecdb_client.multi import MultiLike
from vecdb_client.protocol import (
    COMPACT,
    ESTIMATE_RECALL,
    EXPLAIN,
    GET_COLLECTION,
    QUERY,
    QUERY_BATCH,
    STATS,
)
from vecdb_client.ranking import Boost, Mmr
from vecdb_client.reembeds import ModelMoves
from vecdb_client.rerank import Rerank
from vecdb_client.searches import (
    Search,
    batch_request,
    batch_results,
    one_request,
    search_request,
)
from vecdb_client.table_reads import TableReads
from vecdb_client.transport import Transport
from vecdb_client.types import Match, OnError, PointId, SearchResult, WithPayload
from vecdb_client.vectors import Numbers, SparseLike
from vecdb_client.writes import Writes

COMPACT_POLL_S: Final = 0.1


class Collection(TableReads, Writes, ModelMoves):
    """A collection of points, by name. Threads may share it. Made by Client."""

    def __init__(self, transport: Transport, name: str, message_bytes: int) -> None:
        self.name = requests.checked_text(name, "a collection's name")
        self._transport = transport
        self._message_bytes = message_bytes

    def __repr__(self) -> str:
        return f"Collection({self.name!r} at {self._transport.address!r})"

    def info(self, *, timeout_s: float | None = None) -> CollectionInfo:
        """Return the collection's description. Raises NotFound."""
        request = GET_COLLECTION.request(name=self.name)
        reply = self._transport.call(GET_COLLECTION, request, timeout_s=timeout_s)
        return replies.collection_info(reply.collection)

    def stats(self, *, timeout_s: float | None = None) -> CollectionStats:
        """Return the collection's sizes and state. Raises NotFound, DataLoss."""
        request = STATS.request(name=self.name)
        return replies.collection_stats(self._transport.call(STATS, request, timeout_s=timeout_s))

    def estimate_recall(
        self,
        *,
        space: str = "",
        k: int = 10,
        samples: int = 100,
        efs: Iterable[int] = (),
        timeout_s: float | None = None,
    ) -> RecallReport:
        """Return how many of the true neighbours searches find, now and with each ef given.

        Some queries are searched twice, as always and exactly: those asked lately, and where they
        are too few stored vectors mixed with one another. Raises NotFound, InvalidArgument.
        """
        request = ESTIMATE_RECALL.request(
            collection=self.name, space=space, k=k, samples=samples, efs=efs
        )
        reply = self._transport.call(ESTIMATE_RECALL, request, timeout_s=timeout_s)
        return replies.recall_report(reply)

    def compact(self, *, wait: bool = True, timeout_s: float | None = None) -> None:
        """Merge everything into as few segments as can be, and give back deleted points' space.

        wait: return once it is done; stats() then says how far it is meanwhile. Raises NotFound.
        """
        request = COMPACT.request(name=self.name)
        self._transport.call(COMPACT, request, timeout_s=timeout_s)
        while wait:
            stats = self.stats(timeout_s=timeout_s)
            if not stats.compacting:
                return
            self._transport.wait(COMPACT_POLL_S)

    def search(
        self,
        query: Numbers | MultiLike | str | ImageFile | PointId | None = None,
        *,
        image: ImageLike | None = None,
        keyword: str | None = None,
        match: Match = "any",
        fields: Iterable[str] = (),
        sparse: SparseLike | None = None,
        k: int = 10,
        space: str = "",
        filter: Filter | None = None,
        with_vectors: bool = False,
        with_texts: bool = False,
        with_payload: WithPayload = True,
        min_commit_seq: int = 0,
        ef: int | None = None,
        exact: bool = False,
        hybrid: bool = False,
        legs: Sequence[Leg] | None = None,
        fusion: Fusion | None = None,
        offset: int = 0,
        page_token: str | None = None,
        min_score: float | None = None,
        boost: Boost | None = None,
        mmr: Mmr | None = None,
        rerank: Rerank | None = None,
        group: str | None = None,
        group_size: int = 1,
        highlights: Highlights | bool = False,
        timeout_s: float | None = None,
    ) -> SearchResult:
        """Return the k points nearest to the query, best first: all that match, when fewer do.

        query: numbers (dim,), a text for the space's model, the PointId of a stored point, or, in a
        MultiDenseSpace, vectors (q, dim). In its place: image, a file's bytes or its Path, for the
        space's model; sparse; or keyword, words in text fields, by match any, all, or a phrase.
        hybrid: both: query is a text, or numbers or an image beside keyword.
        legs: in place of all that, such as Near and Keyword, fused by fusion, or Rrf(). rerank:
        order the best by MaxSim or a CrossEncoder. boost, mmr: add by payload; choose hits that
        differ. group: a path: k groups that share its value, group_size of each. highlights: words
        that matched.
        offset: hits to skip. ef: points that a walk keeps in sight. exact: judge all points.
        page_token: "", and then next_page_token of the result before, for page after page.
        Raises NotFound, InvalidArgument (BAD_FILTER ...), FailedPrecondition (NO_MODEL).
        """
        by = Search(query=query, image=image, keyword=keyword, match=match, fields=fields)
        how = Search(space=space, ef=ef, exact=exact, hybrid=hybrid, legs=legs, fusion=fusion)
        then = Search(rerank=rerank, boost=boost, mmr=mmr, group=group, group_size=group_size)
        which = Search(k=k, sparse=sparse, filter=filter, min_score=min_score)
        page = Search(offset=offset, page_token=page_token, highlights=highlights)
        sent = Search(with_vectors=with_vectors, with_texts=with_texts, with_payload=with_payload)
        search = by | how | then | which | page | sent
        request = search_request(self.name, **search, min_commit_seq=min_commit_seq)
        return replies.search_result(self._transport.call(QUERY, request, timeout_s=timeout_s))

    def explain(self, search: Search, *, timeout_s: float | None = None) -> Explanation:
        """Return what a search finds and how: each leg's own list, parts of the collection, times.

        search: a dict of the arguments of search().
        """
        request = EXPLAIN.request(query=one_request(self.name, search, "search"))
        return explanation(self._transport.call(EXPLAIN, request, timeout_s=timeout_s))

    @overload
    def search_batch(
        self,
        searches: Iterable[Search],
        *,
        on_error: Literal["raise"] = "raise",
        min_commit_seq: int = 0,
        timeout_s: float | None = None,
    ) -> list[SearchResult]: ...
    @overload
    def search_batch(
        self,
        searches: Iterable[Search],
        *,
        on_error: OnError,
        min_commit_seq: int = 0,
        timeout_s: float | None = None,
    ) -> list[SearchResult | VecdbError]: ...
    def search_batch(
        self,
        searches: Iterable[Search],
        *,
        on_error: OnError = "raise",
        min_commit_seq: int = 0,
        timeout_s: float | None = None,
    ) -> list[SearchResult] | list[SearchResult | VecdbError]:
        """Return what each of some searches finds, all of one state, in one call.

        searches: dicts of the arguments of search(). They share work: equal filters are evaluated
        once, texts encoded together, and vectors that are searched for alike go side by side.
        on_error: "raise" the first error of a search, or "collect": it stands in its place.
        """
        request = batch_request(self.name, searches, min_commit_seq)
        found = batch_results(self._transport.call(QUERY_BATCH, request, timeout_s=timeout_s))
        if on_error == "raise":
            for one in found:
                if isinstance(one, VecdbError):
                    raise one
        return found
