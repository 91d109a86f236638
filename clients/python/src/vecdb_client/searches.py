"""Searches as people write them, as requests; many of them in one call. Data, no transport."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypedDict

from vecdb_client import replies, requests
from vecdb_client.arguments import count, number
from vecdb_client.errors import InvalidArgument, VecdbError
from vecdb_client.filters import Filter, filter_message
from vecdb_client.highlights import Highlights
from vecdb_client.images import ImageFile, ImageLike
from vecdb_client.leg_messages import fill_fusion, fill_highlights, fill_leg
from vecdb_client.legs import Fusion, Leg, asked_legs
from vecdb_client.multi import MultiLike
from vecdb_client.pb import errors_pb2, search_pb2
from vecdb_client.protocol import QUERY_BATCH
from vecdb_client.ranking import Boost, Mmr, fill_boost, fill_mmr
from vecdb_client.rerank import Rerank, fill_rerank
from vecdb_client.status import build_error, code_name
from vecdb_client.types import Match, PointId, SearchResult, WithPayload
from vecdb_client.vectors import Numbers, SparseLike


class Search(TypedDict, total=False):
    """One search of several: the arguments of Collection.search."""

    query: Numbers | MultiLike | str | ImageFile | PointId | None
    image: ImageLike | None
    keyword: str | None
    match: Match
    fields: Iterable[str]
    sparse: SparseLike | None
    k: int
    space: str
    filter: Filter | None
    with_vectors: bool
    with_texts: bool
    with_payload: WithPayload
    ef: int | None
    exact: bool
    hybrid: bool
    legs: Sequence[Leg] | None
    fusion: Fusion | None
    offset: int
    page_token: str | None
    min_score: float | None
    group: str | None
    group_size: int
    boost: Boost | None
    mmr: Mmr | None
    rerank: Rerank | None
    highlights: Highlights | bool


def search_request(
    collection: str,
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
    group: str | None = None,
    group_size: int = 1,
    boost: Boost | None = None,
    mmr: Mmr | None = None,
    rerank: Rerank | None = None,
    highlights: Highlights | bool = False,
) -> search_pb2.QueryRequest:
    """Return the request of a search; see Collection.search. Raises InvalidArgument."""
    request = search_pb2.QueryRequest(
        collection=collection,
        k=count(k, "k"),
        filter=filter_message(filter),
        with_vectors=with_vectors,
        with_texts=with_texts,
        **requests.payload_parts(with_payload),
        min_commit_seq=min_commit_seq,
        page_token=page_token,
    )
    for leg in asked_legs(
        query,
        image=image,
        keyword=keyword,
        match=match,
        fields=fields,
        sparse=sparse,
        space=space,
        ef=ef,
        exact=exact,
        hybrid=hybrid,
        legs=legs,
    ):
        fill_leg(request.legs.add(), leg)
    if fusion is not None:
        fill_fusion(request.fusion, fusion)
    if offset != 0:
        request.offset = count(offset, "offset")
    if min_score is not None:
        request.min_score = number(min_score, "min_score")
    _fill_reorder(request, rerank, boost, mmr)
    if highlights is not False:
        fill_highlights(request.highlights, highlights)
    _fill_group(request, group, group_size)
    return request


def _fill_reorder(
    request: search_pb2.QueryRequest, rerank: Rerank | None, boost: Boost | None, mmr: Mmr | None
) -> None:
    if rerank is not None:
        fill_rerank(request.rerank, rerank)
    if boost is not None:
        fill_boost(request.boost, boost)
    if mmr is not None:
        fill_mmr(request.mmr, mmr)


def _fill_group(request: search_pb2.QueryRequest, group: str | None, size: int) -> None:
    if group is not None:
        request.group.path = requests.checked_text(group, "group")
        request.group.size = count(size, "group_size")
    elif size != 1:
        raise InvalidArgument("group_size goes with group, a payload path")


def batch_request(
    collection: str, searches: Iterable[Search], min_commit_seq: int
) -> search_pb2.QueryBatchRequest:
    """Return the request of some searches. Raises InvalidArgument."""
    request = search_pb2.QueryBatchRequest(collection=collection, min_commit_seq=min_commit_seq)
    for at, one in enumerate(searches):
        request.queries.append(one_request("", one, f"searches[{at}]"))
    return request


def one_request(collection: str, search: Search, what: str) -> search_pb2.QueryRequest:
    """Return the request of a search; what: as errors call it. Raises InvalidArgument."""
    if not isinstance(search, Mapping):
        raise InvalidArgument(f"{what} is a dict of the arguments of search(), got {search!r}")
    arguments: Mapping[str, Any] = search
    unknown = arguments.keys() - Search.__annotations__.keys()
    if unknown:
        raise InvalidArgument(f"{what}: search() takes no {', '.join(sorted(unknown))}")
    return search_request(collection, **arguments)


def batch_results(reply: search_pb2.QueryBatchResponse) -> list[SearchResult | VecdbError]:
    """Return what each search found, or its error."""
    return [
        _error(result.error)
        if result.WhichOneof("result") == "error"
        else replies.search_result(result.response)
        for result in reply.results
    ]


def _error(status: errors_pb2.Status) -> VecdbError:
    return build_error(code_name(status.code), status.message, status, QUERY_BATCH.name)
