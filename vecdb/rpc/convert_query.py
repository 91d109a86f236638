"""What a QueryRequest asks beside its vectors and words: sizes, weights, fusion. All checked."""

from __future__ import annotations

import math

from vecdb.collection.asked import GroupBy
from vecdb.collection.paging import Tokens, foreign
from vecdb.config import LimitsConfig
from vecdb.errors import InvalidArgument, LimitExceeded
from vecdb.query.fusion import (
    RRF_K,
    RRF_K_MAX,
    WEIGHT_MAX,
    Fusion,
    Normalization,
    Rrf,
    Weighted,
)
from vecdb.rpc.convert_aggregate import checked_path
from vecdb.rpc.convert_reorder import ahead_of, doubled, hits_needed
from vecdb.rpc.pb import search_pb2 as pb

OF_QUERY = "query: collection and request must be the same, but for k and the parts of points"
OFFSET_DIGITS_MAX = 9
_OF_ONE_PAGE = (
    "page_token",
    "k",
    "min_commit_seq",
    "with_vectors",
    "with_texts",
    "without_payload",
    "payload_mask",
    "highlights",
)
"""What may differ from page to page."""

_NORMALIZATIONS = {
    pb.NORMALIZATION_MIN_MAX: Normalization.MIN_MAX,
    pb.NORMALIZATION_Z_SCORE: Normalization.Z_SCORE,
}


def paged(request: pb.QueryRequest, uuid: str) -> tuple[pb.QueryRequest, Tokens]:
    """Return a request for a page with the offset of the page, and what makes the next token.

    uuid: of the collection. Raises InvalidArgument. Only queries that ask for it come here: the
    rest pays nothing for tokens, which are bound to all that the query says.
    """
    if request.offset:
        raise InvalidArgument(
            "page_token says where the page begins: leave it out, or offset", field="offset"
        )
    asked = pb.QueryRequest()
    asked.CopyFrom(request)
    for part in _OF_ONE_PAGE:
        asked.ClearField(part)
    asked.collection = uuid
    tokens = Tokens(asked.SerializeToString(deterministic=True), OF_QUERY)
    page = pb.QueryRequest()
    page.CopyFrom(request)
    if request.page_token:
        mark = tokens.mark(request.page_token)
        if not (mark.isdigit() and len(mark) <= OFFSET_DIGITS_MAX):
            raise foreign(OF_QUERY)
        page.offset = int(mark)
    return page, tokens


def check_query(request: pb.QueryRequest, limits: LimitsConfig) -> None:
    """Raise InvalidArgument or LimitExceeded for numbers that cannot be, or contradict."""
    count = len(request.legs)
    if not count:
        raise InvalidArgument(
            f"expected 1 to {limits.legs} legs, such as near or keyword; got none", field="legs"
        )
    if count > limits.legs:
        raise LimitExceeded(
            f"the query has {count} legs, the limit is {limits.legs}",
            field="legs",
            hint="raise limits.legs, or ask for fewer legs",
        )
    if request.k < 1:
        raise InvalidArgument(
            f"k is {request.k}, expected 1 to {limits.k}", field="k", got=request.k
        )
    if request.k > limits.k:
        raise LimitExceeded(
            f"k is {request.k}, the limit is {limits.k}",
            field="k",
            hint="raise limits.k, or page through the points with List",
        )
    if request.offset + request.k > limits.k:
        raise LimitExceeded(
            f"offset + k is {request.offset + request.k}, the limit is {limits.k}",
            field="page_token" if request.HasField("page_token") else "offset",
            hint="raise limits.k, or page through the points with List",
        )
    if request.HasField("group"):
        _check_group(request, limits)
    if not math.isfinite(request.min_score):
        raise InvalidArgument(
            f"min_score is {request.min_score}, expected a finite number", field="min_score"
        )
    if count == 1:
        _check_alone(request, request.legs[0])
    for at, leg in enumerate(request.legs):
        _check_leg(leg, at, limits)


def _check_group(request: pb.QueryRequest, limits: LimitsConfig) -> None:
    checked_path(request.group.path, "group.path")
    if request.HasField("mmr"):
        raise InvalidArgument(
            "mmr makes one list of hits unlike one another, group many of hits that share a value: "
            "leave out one of them",
            field="mmr",
        )
    groups = request.offset + request.k
    if groups > limits.groups:
        raise LimitExceeded(
            f"offset + k is {groups} groups, the limit is {limits.groups}",
            field="k",
            hint="raise limits.groups, or ask for fewer groups",
        )
    hits = hits_needed(request)
    if hits > limits.k:
        raise LimitExceeded(
            f"(offset + k) * size is {hits} hits, the limit is {limits.k}",
            field="group.size",
            hint="raise limits.k, or ask for fewer hits of each group",
        )


def group_of(request: pb.QueryRequest, limits: LimitsConfig) -> GroupBy | None:
    """Return how the hits of a checked request are grouped, or None."""
    if not request.HasField("group"):
        return None
    return GroupBy(request.group.path, max(request.group.size, 1), limits.k)


def _check_alone(request: pb.QueryRequest, leg: pb.Leg) -> None:
    if request.HasField("fusion"):
        raise InvalidArgument("a fusion of one leg: there is nothing to fuse", field="fusion")
    if leg.k:
        raise InvalidArgument(
            "k of the only leg: k of the query says how many hits there are to be",
            field="legs[0].k",
        )
    if leg.HasField("weight"):
        raise InvalidArgument(
            "a weight of the only leg: there is nothing to weigh it against",
            field="legs[0].weight",
        )


def _check_leg(leg: pb.Leg, at: int, limits: LimitsConfig) -> None:
    if leg.WhichOneof("kind") is None:
        raise InvalidArgument(
            f"legs[{at}] is empty: expected near, keyword, recommend or order_by",
            field=f"legs[{at}]",
        )
    if leg.ef > limits.ef:
        raise LimitExceeded(
            f"ef is {leg.ef}, the limit is {limits.ef}",
            field=f"legs[{at}].ef",
            hint="raise limits.ef, or ask for exact",
        )
    if leg.k > limits.k:
        raise LimitExceeded(
            f"k of legs[{at}] is {leg.k}, the limit is {limits.k}",
            field=f"legs[{at}].k",
            hint="raise limits.k",
        )
    if leg.HasField("weight") and not 0 < leg.weight <= WEIGHT_MAX:  # nor NaN
        raise InvalidArgument(
            f"weight of legs[{at}] is {leg.weight}, expected more than 0, at most {WEIGHT_MAX}",
            field=f"legs[{at}].weight",
            hint="a leg that is not to count is left out",
        )


def leg_k(leg: pb.Leg, request: pb.QueryRequest, need: int, limits: LimitsConfig) -> int:
    """Return how many points a leg of a checked request is to find. need: of one leg alone."""
    if len(request.legs) == 1:
        return need
    return int(leg.k) or doubled(need, limits.k)


def candidates_of(request: pb.QueryRequest, need: int, limits: LimitsConfig) -> int:
    """Return how many points a re-ranking looks at. need: points that are asked of it.

    Raises InvalidArgument, LimitExceeded.
    """
    given = request.rerank.candidates
    if given > limits.k:
        raise LimitExceeded(
            f"candidates is {given}, the limit is {limits.k}",
            field="rerank.candidates",
            hint="raise limits.k",
        )
    if 0 < given < need:
        raise InvalidArgument(
            f"candidates is {given}, fewer than the {need} that are needed: offset + k, of groups "
            "times their size, and as many as boost and mmr look at",
            field="rerank.candidates",
            got=given,
        )
    return int(given) or doubled(need + ahead_of(request), limits.k)


def weights_of(request: pb.QueryRequest) -> list[float]:
    """Return the weight of each leg."""
    return [leg.weight if leg.HasField("weight") else 1.0 for leg in request.legs]


def fusion_of(request: pb.QueryRequest) -> Fusion:
    """Return how the legs are fused. Raises InvalidArgument."""
    kind = request.fusion.WhichOneof("kind")
    if kind == "weighted":
        how = _NORMALIZATIONS.get(request.fusion.weighted.normalization)
        if how is None:
            raise InvalidArgument(
                "expected normalization min_max or z_score",
                field="fusion.weighted.normalization",
            )
        return Weighted(how)
    if kind is None and request.HasField("fusion"):
        raise InvalidArgument("the fusion is empty: expected rrf or weighted", field="fusion")
    k: int = request.fusion.rrf.k
    if k > RRF_K_MAX:
        raise InvalidArgument(
            f"k of rrf is {k}, expected 1 to {RRF_K_MAX}, or 0 for {RRF_K}", field="fusion.rrf.k"
        )
    return Rrf(k or RRF_K)
