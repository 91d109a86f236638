"""What is written to a collection: points, changes, deletes, in any number."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, overload

from vecdb_client import ingest
from vecdb_client.batches import BATCH_POINTS_DEFAULT, atomic_batch, batches
from vecdb_client.errors import InvalidArgument, WriteFailed
from vecdb_client.expiry import expiry_of
from vecdb_client.filters import Filter
from vecdb_client.images import ImageLike
from vecdb_client.operations import (
    Op,
    checked_version,
    column_ops,
    delete_ops,
    patch_op,
    point_ops,
    write_ops,
)
from vecdb_client.payloads import Payload
from vecdb_client.progress import Progress, shown
from vecdb_client.tables import Table
from vecdb_client.transport import Transport
from vecdb_client.types import Delete, OnError, Patch, Point, WriteReport
from vecdb_client.vectors import SupportsArray, VectorLike
from vecdb_client.where import WhereWrite
from vecdb_client.write_stream import write_stream

PARALLEL_DEFAULT: Final = 2
KEY_BYTES_MAX: Final = 200


class Writes:
    """The half of Collection that writes."""

    name: str
    _transport: Transport
    _message_bytes: int

    @overload
    def upsert(
        self,
        points: Iterable[Point | Mapping[str, Any]] | Table,
        *,
        if_version: int | None = ...,
        ttl_s: float | None = ...,
        atomic: bool = ...,
        batch_size: int = ...,
        parallel: int = ...,
        progress: Progress | bool | None = ...,
        on_error: OnError = ...,
        idempotency_key: str = ...,
        timeout_s: float | None = ...,
    ) -> WriteReport: ...
    @overload
    def upsert(
        self,
        *,
        ids: Iterable[str],
        vectors: Iterable[VectorLike]
        | SupportsArray
        | Mapping[str, Iterable[VectorLike] | SupportsArray]
        | None = ...,
        texts: Iterable[str] | None = ...,
        payloads: Iterable[Payload | None] | None = ...,
        if_version: int | None = ...,
        ttl_s: float | None = ...,
        atomic: bool = ...,
        batch_size: int = ...,
        parallel: int = ...,
        progress: Progress | bool | None = ...,
        on_error: OnError = ...,
        idempotency_key: str = ...,
        timeout_s: float | None = ...,
    ) -> WriteReport: ...
    def upsert(
        self,
        points: Iterable[Point | Mapping[str, Any]] | Table | None = None,
        *,
        ids: Iterable[str] | None = None,
        vectors: object = None,
        texts: Iterable[str] | None = None,
        payloads: Iterable[Payload | None] | None = None,
        if_version: int | None = None,
        ttl_s: float | None = None,
        atomic: bool = False,
        batch_size: int = BATCH_POINTS_DEFAULT,
        parallel: int = PARALLEL_DEFAULT,
        progress: Progress | bool | None = None,
        on_error: OnError = "raise",
        idempotency_key: str = "",
        timeout_s: float | None = None,
    ) -> WriteReport:
        """Return what was written: points stored, each replacing the one of its id.

        points: dicts or Points, from any iterable; a generator is never held as a whole. Or a table
        of Arrow, pandas or Polars, whose columns tables.py describes (needs pyarrow). Or
        columns: ids (n), vectors (n, dim) or a mapping of space names to such, texts (n) for the
        default space, payloads (n).
        if_version: store a point only while the one of its id has this version, 0 for no such
        point: an insert; else it fails with VERSION_MISMATCH. A point's own comes first.
        ttl_s: seconds that the points are there, math.inf for ever, None for as long as the
        collection says. A point's own ttl_s or expires_at comes first.
        atomic: all or nothing, in one request: what is wrong with the first point that cannot be
        stored is raised, the server's words beginning with "operation" and its position, and no
        point is. At most a message and what the server's limits.batch_items (10,000) allows.
        batch_size: points of one request, fewer where bytes or texts say so. parallel: requests in
        flight. timeout_s: of each request. idempotency_key: "" makes one up; give your own, of at
        most 200 bytes, to run the very same write again after a crash without applying twice.
        progress: is called with the points that have an answer, and the total or None; True shows a
        bar on stderr (needs rich).

        Of an id that comes twice the last one stays. A point that cannot be stored does not sink
        the others: all are tried, then WriteFailed is raised, or with on_error="collect" the
        failures are only reported. A call that fails as a whole raises its own error at once
        (NotFound, Unavailable after the retries ...), with the `report` so far.
        """
        ops: Iterator[Op]
        source: object
        checked_version(if_version)
        expiry = expiry_of(ttl_s, None)
        if points is not None:
            if not (ids is None and vectors is None and texts is None and payloads is None):
                raise InvalidArgument("give either points, or ids with vectors, texts, payloads")
            ops, source = point_ops(points, if_version, expiry), points
        elif ids is not None:
            ops, source = column_ops(ids, vectors, texts, payloads, if_version, expiry), ids
        else:
            raise InvalidArgument("upsert takes points, or ids with vectors, texts and payloads")
        return self._write(
            ops,
            source,
            atomic,
            batch_size,
            parallel,
            progress,
            on_error,
            idempotency_key,
            timeout_s,
        )

    def delete(
        self,
        ids: str | Iterable[str],
        *,
        if_version: int | None = None,
        atomic: bool = False,
        batch_size: int = BATCH_POINTS_DEFAULT,
        parallel: int = PARALLEL_DEFAULT,
        progress: Progress | bool | None = None,
        on_error: OnError = "raise",
        idempotency_key: str = "",
        timeout_s: float | None = None,
    ) -> WriteReport:
        """Return what was deleted; `found` counts the points that were there.

        To delete what is not there is no error. Options and errors are those of upsert.
        """
        listed = [ids] if isinstance(ids, str) else ids
        return self._write(
            delete_ops(listed, checked_version(if_version)),
            listed,
            atomic,
            batch_size,
            parallel,
            progress,
            on_error,
            idempotency_key,
            timeout_s,
        )

    def patch(
        self,
        id: str,
        *,
        set: Payload | None = None,
        unset: str | Sequence[str] = (),
        append: Payload | None = None,
        remove: Payload | None = None,
        vector: VectorLike | None = None,
        text: str | None = None,
        image: ImageLike | None = None,
        vectors: Mapping[str, VectorLike | None] | None = None,
        if_version: int | None = None,
        ttl_s: float | None = None,
        expires_at: datetime | None = None,
        on_error: OnError = "raise",
        idempotency_key: str = "",
        timeout_s: float | None = None,
    ) -> WriteReport:
        """Change parts of a stored point and leave the rest as it is; `Patch` says what each does.

        The point's new version is the report's commit_seq. Raises WriteFailed with the reason
        POINT_NOT_FOUND, VERSION_MISMATCH (the failure has the actual `version`), PATH_CLASH ...
        Many patches, in batches, are write's.
        """
        patch = Patch(
            id,
            set,
            unset,
            append,
            remove,
            vector,
            text,
            vectors,
            if_version,
            ttl_s,
            expires_at,
            image,
        )
        return self.write(
            [patch], on_error=on_error, idempotency_key=idempotency_key, timeout_s=timeout_s
        )

    def delete_where(
        self,
        filter: Filter,
        *,
        progress: Progress | bool | None = None,
        timeout_s: float | None = None,
    ) -> WriteReport:
        """Delete all points that a filter matches; `written` counts them.

        Done in parts, each of which is durable when an error or a signal ends the call: start it
        again for the rest. Points that others change or add meanwhile are deleted as well if they
        match then: there was a moment during the call at which none matched, but for `damaged`
        ones. progress: called with the points deleted and about how many there are, or
        True for a bar.
        timeout_s: of each request. Raises NotFound, InvalidArgument (BAD_FILTER ...).
        """
        with shown(progress, self.name) as told:
            where = WhereWrite(self._transport, self.name, filter, told, timeout_s)
            return where.delete()

    def patch_where(
        self,
        filter: Filter,
        *,
        set: Payload | None = None,
        unset: str | Sequence[str] = (),
        append: Payload | None = None,
        remove: Payload | None = None,
        vector: VectorLike | None = None,
        text: str | None = None,
        image: ImageLike | None = None,
        vectors: Mapping[str, VectorLike | None] | None = None,
        ttl_s: float | None = None,
        expires_at: datetime | None = None,
        progress: Progress | bool | None = None,
        on_error: OnError = "raise",
        timeout_s: float | None = None,
    ) -> WriteReport:
        """Patch all points that a filter matches, each at most once; `written` counts them.

        What is changed is said as in patch. A point that another write changes or deletes before
        its turn is left as that leaves it, and counted in `skipped`, as are those whose answer was
        lost on the way. Done in parts, each of which stays when an error ends the call; one that is
        started again patches whatever matches then. Points that cannot be patched (PATH_CLASH ...)
        do not sink the others: WriteFailed names them after all are tried, or with
        on_error="collect" the report alone.
        progress, timeout_s: as in delete_where.
        """
        _check_on_error(on_error)
        op = patch_op(
            Patch(
                "",
                set,
                unset,
                append,
                remove,
                vector,
                text,
                vectors,
                ttl_s=ttl_s,
                expires_at=expires_at,
                image=image,
            )
        )
        with shown(progress, self.name) as told:
            where = WhereWrite(self._transport, self.name, filter, told, timeout_s)
            report = where.patch(op)
        if report.failures and on_error == "raise":
            raise WriteFailed(report)
        return report

    def write(
        self,
        operations: Iterable[Point | Mapping[str, Any] | Patch | Delete],
        *,
        atomic: bool = False,
        batch_size: int = BATCH_POINTS_DEFAULT,
        parallel: int = PARALLEL_DEFAULT,
        progress: Progress | bool | None = None,
        on_error: OnError = "raise",
        idempotency_key: str = "",
        timeout_s: float | None = None,
    ) -> WriteReport:
        """Return what was written: points stored, and `Patch` and `Delete` objects, mixed.

        Operations on one id are applied in their order. Options and errors are those of upsert.
        """
        return self._write(
            write_ops(operations),
            operations,
            atomic,
            batch_size,
            parallel,
            progress,
            on_error,
            idempotency_key,
            timeout_s,
        )

    def write_stream(
        self,
        operations: Iterable[Point | Mapping[str, Any] | Patch | Delete],
        *,
        batch_size: int = BATCH_POINTS_DEFAULT,
    ) -> Iterator[WriteReport]:
        """Yield a report for each batch of operations as it is durable, in their order.

        For a source that goes on: a queue whose messages are acknowledged once they are stored, up
        to `settled`, with batch_size=1 where none is to wait for others. Operations are read in
        another thread, some batches ahead, as far as the server keeps up; the stream is given up
        when the caller stops asking. What is refused is in `failures`, and raises nothing. Nothing
        is tried again: after an error (Unavailable ...) go on from the last `settled`; some of what
        follows may have been done.
        """
        if batch_size < 1:
            raise InvalidArgument("batch_size is at least 1")
        sent = batches(
            write_ops(operations),
            collection=self.name,
            key=uuid.uuid4().hex,
            points_max=batch_size,
            message_bytes=self._message_bytes,
        )
        return write_stream(self._transport, sent)

    def _write(
        self,
        ops: Iterator[Op],
        source: object,
        atomic: bool,
        batch_size: int,
        parallel: int,
        progress: Progress | bool | None,
        on_error: OnError,
        idempotency_key: str,
        timeout_s: float | None,
    ) -> WriteReport:
        _check_on_error(on_error)
        if batch_size < 1 or parallel < 1:
            raise InvalidArgument("batch_size and parallel are at least 1")
        if len(idempotency_key.encode()) > KEY_BYTES_MAX:
            raise InvalidArgument(f"idempotency_key is at most {KEY_BYTES_MAX} bytes")
        key, most = idempotency_key or uuid.uuid4().hex, self._message_bytes
        if atomic:
            if on_error == "collect":
                raise InvalidArgument(
                    'an atomic write fails as a whole: on_error="collect" does not go with it'
                )
            one = atomic_batch(ops, collection=self.name, key=key, message_bytes=most)
            sent = iter([one] if one else [])
        else:
            sent = batches(
                ops, collection=self.name, key=key, points_max=batch_size, message_bytes=most
            )
        with shown(progress, self.name) as told:
            report = ingest.write(
                self._transport,
                sent,
                parallel=parallel,
                progress=told,
                total=len(source) if hasattr(source, "__len__") else None,
                timeout_s=timeout_s,
            )
        if report.failures and on_error == "raise":
            raise WriteFailed(report)
        return report


def _check_on_error(on_error: str) -> None:
    if on_error not in ("raise", "collect"):
        raise InvalidArgument(f'on_error is "raise" or "collect", got {on_error!r}')
