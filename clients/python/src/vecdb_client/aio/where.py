# Made from where.py by scripts/make_async.py. Do not edit.
"""Changing all points that a filter matches: asked for part by part, each at most once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeAlias

from vecdb_client import requests
from vecdb_client.errors import InvalidArgument, VecdbError
from vecdb_client.filters import Filter, filter_message
from vecdb_client.operations import PatchOp
from vecdb_client.pb import points_pb2 as pb
from vecdb_client.progress import Progress
from vecdb_client.protocol import COUNT, DELETE_WHERE, PATCH_WHERE
from vecdb_client.status import code_name
from vecdb_client.aio.transport import Transport
from vecdb_client.types import ItemFailure, TruncatedText, WriteReport

_Part: TypeAlias = tuple[int, pb.WhereProgress]
"""What one request changed, and how far it came."""


class WhereWrite:
    """One such change under way, of one collection. timeout_s: of each request."""

    def __init__(
        self,
        transport: Transport,
        collection: str,
        filter: Filter,
        progress: Progress | None,
        timeout_s: float | None,
    ) -> None:
        if not isinstance(filter, Filter):
            raise InvalidArgument(
                f"filter says which points, got {filter!r}; AsyncClient.truncate_collection empties a "
                "collection"
            )
        self._transport = transport
        self._collection = collection
        self._filter = filter
        self._progress = progress
        self._timeout_s = timeout_s
        self._report = WriteReport()

    async def delete(self) -> WriteReport:
        """Delete until none matches that was there when this began, or was written since."""

        async def part(after: int, upto: int) -> _Part:
            request = DELETE_WHERE.request(
                collection=self._collection,
                filter=filter_message(self._filter),
                after_version=after,
                max_version=upto,
            )
            reply = await self._transport.call(DELETE_WHERE, request, timeout_s=self._timeout_s)
            return reply.deleted, reply.progress

        again = True
        while again:  # what others changed before its turn is looked at once more
            again = await self._round(part)
        return self._report

    async def patch(self, op: PatchOp) -> WriteReport:
        """Patch each point that matches as it was when this began."""

        async def part(after: int, upto: int) -> _Part:
            request = PATCH_WHERE.request(
                collection=self._collection,
                filter=filter_message(self._filter),
                after_version=after,
                max_version=upto,
            )
            op.fill(request.patch)
            reply = await self._transport.call(PATCH_WHERE, request, timeout_s=self._timeout_s)
            self._report.failures += [
                ItemFailure(
                    len(self._report.failures) + at,
                    failure.id,
                    code_name(failure.result.code),
                    failure.result.reason,
                    failure.result.message,
                    failure.result.version,
                )
                for at, failure in enumerate(reply.failures)
            ]
            if reply.truncated and reply.patched:
                self._report.truncated = [TruncatedText(0, "", tuple(reply.truncated))]
                self._report.truncated_total += reply.patched
            return reply.patched, reply.progress

        await self._round(part)
        return self._report

    async def _round(self, part: Callable[[int, int], Awaitable[_Part]]) -> bool:
        """Change what is there now; return whether others have changed some of it first.

        Each request names the version that the first look saw: repeated after a failure, it changes
        what is left.
        """
        report = self._report
        count = await self._transport.call(
            COUNT, requests.count_request(self._collection, self._filter), timeout_s=self._timeout_s
        )
        before, failed = report.written, len(report.failures)
        after, damaged, complete = 0, 0, count.count == 0
        try:
            while not complete:
                changed, progress = await part(after, count.commit_seq)
                report.written += changed
                report.found = report.written
                report.commit_seq = max(report.commit_seq, progress.commit_seq)
                damaged += progress.damaged
                after, complete = progress.after_version, progress.complete
                if self._progress is not None:
                    self._progress(report.total, before + failed + count.count)
        except VecdbError as error:
            error.report = report
            raise
        answered = report.total - before - failed
        report.damaged = damaged
        report.skipped = max(0, count.count - answered - damaged)
        return report.skipped > 0
