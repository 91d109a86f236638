"""One collection: what is written to it and read from it. A handle; making one calls nobody."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final

from vecdb_client import replies, requests
from vecdb_client.errors import DataLoss, VecdbError
from vecdb_client.filters import Filter
from vecdb_client.protocol import (
    COMPACT,
    COUNT,
    ESTIMATE_RECALL,
    GET,
    GET_COLLECTION,
    LIST,
    QUERY,
    STATS,
)
from vecdb_client.status import over_limit
from vecdb_client.transport import Transport
from vecdb_client.types import (
    Changes,
    CollectionInfo,
    CollectionStats,
    GetResult,
    Match,
    Page,
    PointId,
    RecallReport,
    SearchResult,
    StoredPoint,
)
from vecdb_client.vectors import Numbers, SparseLike
from vecdb_client.watch import follow
from vecdb_client.writes import Writes

IDS_PER_GET: Final = 1_000
PAGE_SIZE_DEFAULT: Final = 1_000
COMPACT_POLL_S: Final = 0.1


class Collection(Writes):
    """A collection of points, by name. Threads may share it. Made by Client."""

    def __init__(self, transport: Transport, name: str, message_bytes: int) -> None:
        self.name: Final = requests.checked_text(name, "a collection's name")
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

    def get(
        self,
        ids: str | Iterable[str],
        *,
        with_vectors: bool = False,
        with_texts: bool = False,
        with_payload: bool = True,
        timeout_s: float | None = None,
    ) -> GetResult:
        """Return points by id, in the order asked. Missing and damaged ids are named.

        Any number of ids: they are asked for in parts, each with a deadline of its own.
        """

        def ask(part: list[str]) -> None:
            request = requests.get_request(
                self.name,
                part,
                with_vectors=with_vectors,
                with_texts=with_texts,
                with_payload=with_payload,
            )
            try:
                reply = self._transport.call(GET, request, timeout_s=timeout_s)
            except VecdbError as error:
                if len(part) == 1 or not over_limit(error):
                    raise
                ask(part[: len(part) // 2])
                ask(part[len(part) // 2 :])
                return
            found.points.extend(map(replies.stored_point, reply.points))
            found.missing.extend(reply.missing)
            found.damaged.extend(reply.damaged)
            seqs.append(reply.commit_seq)

        listed = requests.text_list(ids, "an id")
        found = GetResult([], [], [], 0)
        seqs: list[int] = []
        for first in range(0, len(listed), IDS_PER_GET):
            ask(listed[first : first + IDS_PER_GET])
        return GetResult(found.points, found.missing, found.damaged, min(seqs, default=0))

    def count(self, filter: Filter | None = None, *, timeout_s: float | None = None) -> int:
        """Return the exact number of points that a filter matches; of all points without one."""
        request = requests.count_request(self.name, filter)
        return self._transport.call(COUNT, request, timeout_s=timeout_s).count

    def page(
        self,
        filter: Filter | None = None,
        *,
        page_size: int = PAGE_SIZE_DEFAULT,
        page_token: str = "",
        with_vectors: bool = False,
        with_texts: bool = False,
        with_payload: bool = True,
        timeout_s: float | None = None,
    ) -> Page:
        """Return one page of points in the order of their ids.

        page_token: of the page before; "" for the first. The page has fewer points than asked where
        the server cannot send as many in one message.
        """
        while True:
            request = requests.list_request(
                self.name,
                filter,
                page_size=page_size,
                page_token=page_token,
                with_vectors=with_vectors,
                with_texts=with_texts,
                with_payload=with_payload,
            )
            try:
                return replies.page(self._transport.call(LIST, request, timeout_s=timeout_s))
            except VecdbError as error:
                if page_size == 1 or not over_limit(error):
                    raise
                page_size //= 2

    def list(
        self,
        filter: Filter | None = None,
        *,
        page_size: int = PAGE_SIZE_DEFAULT,
        with_vectors: bool = False,
        with_texts: bool = False,
        with_payload: bool = True,
        on_damaged: Callable[[str], None] | None = None,
        timeout_s: float | None = None,
    ) -> Iterator[StoredPoint]:
        """Yield all points that a filter matches, in the order of their ids, a page at a time.

        on_damaged: is called with the id of a record that fails its checksum; without it DataLoss
        is raised after the other points of its page. timeout_s: of each page.
        """
        token = ""
        while True:
            page = self.page(
                filter,
                page_size=page_size,
                page_token=token,
                with_vectors=with_vectors,
                with_texts=with_texts,
                with_payload=with_payload,
                timeout_s=timeout_s,
            )
            yield from page.points
            for id in page.damaged:
                if on_damaged is None:
                    raise DataLoss(
                        f"the record of {id!r} is damaged; `vecdb check` says more, and "
                        "list(on_damaged=...) goes on",
                        reason="CORRUPT",
                    )
                on_damaged(id)
            token = page.next_page_token
            if not token:
                return

    def watch(
        self,
        after_seq: int | None = None,
        *,
        with_vectors: bool = False,
        with_texts: bool = False,
        with_payload: bool = True,
    ) -> Iterator[Changes]:
        """Yield what writes change, as it happens, until the caller stops asking.

        after_seq: what was written after it comes; None for what is written from now on. The first
        is empty and says where it begins. Where the server goes away, it is looked for, until
        the client's timeout_s has passed, and nothing is missed; what was not complete comes
        anew. Raises OutOfRange when so much was written since that the points must be listed anew.
        """
        return follow(
            self._transport,
            self.name,
            after_seq,
            with_vectors=with_vectors,
            with_texts=with_texts,
            with_payload=with_payload,
        )

    def search(
        self,
        query: Numbers | str | PointId | None = None,
        *,
        keyword: str | None = None,
        match: Match = "any",
        fields: Iterable[str] = (),
        sparse: SparseLike | None = None,
        k: int = 10,
        space: str = "",
        filter: Filter | None = None,
        with_vectors: bool = False,
        with_texts: bool = False,
        with_payload: bool = True,
        min_commit_seq: int = 0,
        ef: int | None = None,
        exact: bool = False,
        timeout_s: float | None = None,
    ) -> SearchResult:
        """Return the k points nearest to the query, best first: all that match, when fewer do.

        query: numbers (dim,), a text that the space's model encodes, or the PointId of a stored
        point. Or, in its place: sparse, a vector for a sparse space, which finds the points that
        share an index with it; or keyword, a text whose words are searched in the text fields, any,
        all, or as a phrase by match, in the fields of these paths or, without, in all.
        min_commit_seq: answer from a state at least this new, a write report's commit_seq.
        ef: points that a walk over a graph keeps in sight; None for what the space's target_recall
        needs. exact: judge every point instead, which finds the true neighbours.
        Raises NotFound, InvalidArgument (DIMENSION_MISMATCH, BAD_FILTER ...), FailedPrecondition
        (NO_MODEL).
        """
        request = requests.query_request(
            self.name,
            query,
            keyword=keyword,
            match=match,
            fields=fields,
            sparse=sparse,
            k=k,
            space=space,
            filter=filter,
            with_vectors=with_vectors,
            with_texts=with_texts,
            with_payload=with_payload,
            min_commit_seq=min_commit_seq,
            ef=ef,
            exact=exact,
        )
        return replies.search_result(self._transport.call(QUERY, request, timeout_s=timeout_s))
