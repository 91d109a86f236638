"""A collection as Arrow record batches, as an Arrow table, as a pandas.DataFrame."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from vecdb_client import replies
from vecdb_client.arguments import count
from vecdb_client.errors import InvalidArgument
from vecdb_client.filters import Filter
from vecdb_client.payloads import payload_of
from vecdb_client.protocol import GET_COLLECTION
from vecdb_client.reads import PAGE_SIZE_DEFAULT, PointReads
from vecdb_client.tables import Fields, arrow_library, batch_schema, record_batch
from vecdb_client.types import StoredPoint

if TYPE_CHECKING:
    import pandas
    import pyarrow


class TableReads(PointReads):
    """The part of Collection that reads points as tables."""

    def to_batches(
        self,
        filter: Filter | None = None,
        *,
        fields: Fields | None = None,
        with_vectors: bool = True,
        order_by: str | None = None,
        descending: bool = False,
        slice: tuple[int, int] | None = None,
        page_size: int = PAGE_SIZE_DEFAULT,
        timeout_s: float | None = None,
    ) -> Iterator[pyarrow.RecordBatch]:
        """Yield points as Arrow record batches of one schema, page_size rows each; needs pyarrow.

        Columns: id; payload, as JSON text, or in its place `fields`, payload paths and the types of
        their columns, null where a point has none; expires_at; vector, and vectors.NAME for named
        spaces. So upsert takes them back. filter, slice: as of export(); filter, order_by,
        timeout_s: as of list(), which takes its place where there is an order.
        Raises InvalidArgument (PAYLOAD_MISMATCH) for a value that its column cannot hold.
        """
        count(page_size, "page_size")
        reply = self._transport.call(
            GET_COLLECTION, GET_COLLECTION.request(name=self.name), timeout_s=timeout_s
        )
        spaces = replies.collection_info(reply.collection).own_spaces
        schema = batch_schema(spaces, fields, with_vectors)
        points: list[StoredPoint] = []
        begun = False
        for point in self._points(
            filter, order_by, descending, slice, page_size, with_vectors, timeout_s
        ):
            points.append(point)
            if len(points) >= page_size:
                yield record_batch(points, schema)
                points, begun = [], True
        if points or not begun:  # of nothing, the columns
            yield record_batch(points, schema)

    def _points(
        self,
        filter: Filter | None,
        order_by: str | None,
        descending: bool,
        slice: tuple[int, int] | None,
        page_size: int,
        with_vectors: bool,
        timeout_s: float | None,
    ) -> Iterator[StoredPoint]:
        if order_by is None and not descending:
            return self.export(filter, slice=slice, with_vectors=with_vectors)
        if slice is not None:
            raise InvalidArgument("slices go with the order of ids: leave out order_by or slice")
        return self.list(
            filter,
            order_by=order_by,
            descending=descending,
            page_size=page_size,
            with_vectors=with_vectors,
            timeout_s=timeout_s,
        )

    def to_arrow(
        self,
        filter: Filter | None = None,
        *,
        fields: Fields | None = None,
        with_vectors: bool = True,
        order_by: str | None = None,
        descending: bool = False,
        slice: tuple[int, int] | None = None,
        page_size: int = PAGE_SIZE_DEFAULT,
        timeout_s: float | None = None,
    ) -> pyarrow.Table:
        """Return points as one Arrow table, all in memory; to_batches says what is in it."""
        batches = []
        for batch in self.to_batches(
            filter,
            fields=fields,
            with_vectors=with_vectors,
            order_by=order_by,
            descending=descending,
            slice=slice,
            page_size=page_size,
            timeout_s=timeout_s,
        ):
            batches.append(batch)
        return arrow_library().Table.from_batches(batches)

    def to_pandas(
        self,
        filter: Filter | None = None,
        *,
        fields: Fields | None = None,
        with_vectors: bool = True,
        order_by: str | None = None,
        descending: bool = False,
        slice: tuple[int, int] | None = None,
        page_size: int = PAGE_SIZE_DEFAULT,
        timeout_s: float | None = None,
    ) -> pandas.DataFrame:
        """Return points as a DataFrame, all in memory; needs pandas and pyarrow.

        As to_arrow, but without `fields` every field of the payloads is a column, of the type that
        pandas makes of it; one that is named like another column is called payload.NAME.
        """
        table = self.to_arrow(
            filter,
            fields=fields,
            with_vectors=with_vectors,
            order_by=order_by,
            descending=descending,
            slice=slice,
            page_size=page_size,
            timeout_s=timeout_s,
        )
        return _frame(table, fields is None)


def _frame(table: pyarrow.Table, with_json: bool) -> pandas.DataFrame:
    try:
        import pandas
    except ImportError as error:
        raise ImportError("to_pandas needs pandas: pip install 'vecdb-client[pandas]'") from error
    frame = table.to_pandas()
    if not with_json:
        return frame
    payloads = pandas.DataFrame([payload_of(text.encode()) for text in frame.pop("payload")])
    taken = {name: f"payload.{name}" for name in payloads if name in frame}
    ids, vectors = frame[["id"]], frame.drop(columns="id")
    return pandas.concat([ids, payloads.rename(columns=taken), vectors], axis=1)
