# Made from reads.py by scripts/make_async.py. Do not edit.
"""Points read by id, in order, counted and in sum: what a collection answers beside searches."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from typing import Final

from vecdb_client import replies, requests
from vecdb_client.aggregates import Aggregates, aggregate_request, aggregates
from vecdb_client.errors import DataLoss, VecdbError
from vecdb_client.aio.exports import exported
from vecdb_client.filters import Filter
from vecdb_client.protocol import AGGREGATE, COUNT, GET, LIST
from vecdb_client.status import over_limit
from vecdb_client.aio.transport import Transport
from vecdb_client.types import Changes, GetResult, Page, StoredPoint, WithPayload
from vecdb_client.aio.watch import follow

IDS_PER_GET: Final = 1_000
PAGE_SIZE_DEFAULT: Final = 1_000


class PointReads:
    """The half of AsyncCollection that reads points; searches are in AsyncCollection itself."""

    name: str
    _transport: Transport

    async def get(
        self,
        ids: str | Iterable[str],
        *,
        with_vectors: bool = False,
        with_texts: bool = False,
        with_payload: WithPayload = True,
        timeout_s: float | None = None,
    ) -> GetResult:
        """Return points by id, in the order asked. Missing and damaged ids are named.

        with_payload: in this call as in others, also a list of payload paths, or a Mask of some to
        include and some to exclude, of which the payloads are then made.
        Any number of ids: they are asked for in parts, each with a deadline of its own.
        """

        async def ask(part: list[str]) -> None:
            request = requests.get_request(
                self.name,
                part,
                with_vectors=with_vectors,
                with_texts=with_texts,
                with_payload=with_payload,
            )
            try:
                reply = await self._transport.call(GET, request, timeout_s=timeout_s)
            except VecdbError as error:
                if len(part) == 1 or not over_limit(error):
                    raise
                await ask(part[: len(part) // 2])
                await ask(part[len(part) // 2 :])
                return
            found.points.extend(map(replies.stored_point, reply.points))
            found.missing.extend(reply.missing)
            found.damaged.extend(reply.damaged)
            seqs.append(reply.commit_seq)

        listed = requests.text_list(ids, "an id")
        found = GetResult([], [], [], 0)
        seqs: list[int] = []
        for first in range(0, len(listed), IDS_PER_GET):
            await ask(listed[first : first + IDS_PER_GET])
        return GetResult(found.points, found.missing, found.damaged, min(seqs, default=0))

    async def count(self, filter: Filter | None = None, *, timeout_s: float | None = None) -> int:
        """Return the exact number of points that a filter matches; of all points without one."""
        request = requests.count_request(self.name, filter)
        return (await self._transport.call(COUNT, request, timeout_s=timeout_s)).count

    async def aggregate(
        self,
        filter: Filter | None = None,
        *,
        facets: str | Iterable[str] | Mapping[str, int] = (),
        numbers: str | Iterable[str] = (),
        times: str | Iterable[str] = (),
        timeout_s: float | None = None,
    ) -> Aggregates:
        """Return counts and sums over all points that a filter matches, or all; always exact.

        facets: payload paths whose values are counted, the ten of most points returned, or a
        mapping of paths to how many. numbers, times: paths of which count, least and greatest are
        wanted, and of numbers sum and average. Raises NotFound, InvalidArgument (BAD_FILTER ...).
        """
        request = aggregate_request(self.name, filter, facets, numbers, times)
        return aggregates(request, await self._transport.call(AGGREGATE, request, timeout_s=timeout_s))

    async def page(
        self,
        filter: Filter | None = None,
        *,
        page_size: int = PAGE_SIZE_DEFAULT,
        page_token: str = "",
        order_by: str | None = None,
        descending: bool = False,
        slice: tuple[int, int] | None = None,
        with_vectors: bool = False,
        with_texts: bool = False,
        with_payload: WithPayload = True,
        timeout_s: float | None = None,
    ) -> Page:
        """Return one page of points; see list() for their order.

        page_token: of the page before; "" for the first. The page has fewer points than asked where
        the server cannot send as many in one message.
        """
        while True:
            request = requests.list_request(
                self.name,
                filter,
                page_size=page_size,
                page_token=page_token,
                order_by=order_by,
                descending=descending,
                slice=slice,
                with_vectors=with_vectors,
                with_texts=with_texts,
                with_payload=with_payload,
            )
            try:
                reply = await self._transport.call(LIST, request, timeout_s=timeout_s)
                return replies.page(reply)
            except VecdbError as error:
                if page_size == 1 or not over_limit(error):
                    raise
                page_size //= 2

    async def list(
        self,
        filter: Filter | None = None,
        *,
        order_by: str | None = None,
        descending: bool = False,
        page_size: int = PAGE_SIZE_DEFAULT,
        with_vectors: bool = False,
        with_texts: bool = False,
        with_payload: WithPayload = True,
        on_damaged: Callable[[str], None] | None = None,
        timeout_s: float | None = None,
    ) -> AsyncIterator[StoredPoint]:
        """Yield the points that a filter matches, in the order of their ids, a page at a time.

        order_by: a payload path whose numbers, times or strings order the points instead; points
        that hold none are left out. To read all points, export() is made.
        on_damaged: is called with the id of a record that fails its checksum; without it DataLoss
        is raised after the other points of its page. timeout_s: of each page.
        """
        token = ""
        while True:
            page = await self.page(
                filter,
                page_size=page_size,
                page_token=token,
                order_by=order_by,
                descending=descending,
                with_vectors=with_vectors,
                with_texts=with_texts,
                with_payload=with_payload,
                timeout_s=timeout_s,
            )
            for one in page.points:
                yield one
            _tell(page.damaged, on_damaged)
            token = page.next_page_token
            if not token:
                return

    async def export(
        self,
        filter: Filter | None = None,
        *,
        slice: tuple[int, int] | None = None,
        with_vectors: bool = False,
        with_texts: bool = False,
        with_payload: WithPayload = True,
        on_damaged: Callable[[str], None] | None = None,
    ) -> AsyncIterator[StoredPoint]:
        """Yield all points that a filter matches, over one stream, in the order of their ids.

        slice: (i, n) for the i-th of n exports, from 0 on, that together hold every point once: to
        be read side by side. on_damaged: as of list(). Where the server goes away, it is looked
        for, until the client's timeout_s has passed, and the export goes on where it was.
        """
        async for page in self.export_pages(
            filter,
            slice=slice,
            with_vectors=with_vectors,
            with_texts=with_texts,
            with_payload=with_payload,
        ):
            for one in page.points:
                yield one
            _tell(page.damaged, on_damaged)

    def export_pages(
        self,
        filter: Filter | None = None,
        *,
        page_token: str = "",
        slice: tuple[int, int] | None = None,
        with_vectors: bool = False,
        with_texts: bool = False,
        with_payload: WithPayload = True,
    ) -> AsyncIterator[Page]:
        """Yield what export() does, as it comes: for who goes on another day from a page's token.

        page_token: the next_page_token of a page of the same export. A page has up to 1,000 points,
        about a megabyte, or none where few match.
        """
        request = requests.export_request(
            self.name,
            filter,
            slice=slice,
            page_token=page_token,
            with_vectors=with_vectors,
            with_texts=with_texts,
            with_payload=with_payload,
        )
        return exported(self._transport, request)

    def watch(
        self,
        after_seq: int | None = None,
        *,
        with_vectors: bool = False,
        with_texts: bool = False,
        with_payload: WithPayload = True,
    ) -> AsyncIterator[Changes]:
        """Yield what writes change, as it happens, until the caller stops asking.

        after_seq: what was written after it comes; None for what is written from now on. The first
        is empty and says where it begins. Where the server goes away, it is looked for, until
        the client's timeout_s has passed, and nothing is missed; what was not complete comes
        anew. Raises OutOfRange when so much was written since that the points must be listed anew.
        """
        request = requests.watch_request(
            self.name,
            after_seq,
            with_vectors=with_vectors,
            with_texts=with_texts,
            with_payload=with_payload,
        )
        return follow(self._transport, request)


def _tell(damaged: Iterable[str], on_damaged: Callable[[str], None] | None) -> None:
    """Name the records that fail their checksum. Raises DataLoss where nobody asks for them."""
    for id in damaged:
        if on_damaged is None:
            raise DataLoss(
                f"the record of {id!r} is damaged; `vecdb check` says more, and "
                "on_damaged=... goes on",
                reason="CORRUPT",
            )
        on_damaged(id)
