"""Boost and mmr as the wire has them, and as the rooms below do. Raises InvalidArgument."""

from __future__ import annotations

import math

from vecdb.config import LimitsConfig
from vecdb.errors import InvalidArgument, LimitExceeded, VecdbError
from vecdb.query.boost import ADJUSTMENTS_MAX, DECAY, Adjustment, Boost, Curve, Decay, Moment, Place
from vecdb.query.filter_check import check_filter
from vecdb.query.mmr import CANDIDATES_MAX, Mmr
from vecdb.rpc.convert_aggregate import checked_path
from vecdb.rpc.convert_filter import filter_of
from vecdb.rpc.pb import ranking_pb2, search_pb2
from vecdb.segment.geo import is_place
from vecdb.segment.times import microseconds

CANDIDATES = 100
"""What is looked at unless more is asked for."""
WEIGHT_MAX = 1_000_000

_CURVES = {
    ranking_pb2.DECAY_CURVE_EXP: Curve.EXP,
    ranking_pb2.DECAY_CURVE_GAUSS: Curve.GAUSS,
    ranking_pb2.DECAY_CURVE_LINEAR: Curve.LINEAR,
}


def doubled(need: int, most: int) -> int:
    """Return 100, or the next of 200, 400, 800 ... that is enough, so that pages share a list."""
    count = CANDIDATES
    while count < need:
        count *= 2
    return min(count, most)


def ahead_of(request: search_pb2.QueryRequest) -> int:
    """Return how many hits are looked for beyond a page, to know whether it is the last."""
    return int(request.HasField("page_token"))


def hits_needed(request: search_pb2.QueryRequest) -> int:
    """Return how many hits a request asks for, those that it skips included."""
    return int(request.offset + request.k) * max(int(request.group.size), 1)


def mmr_of(request: search_pb2.QueryRequest, limits: LimitsConfig) -> Mmr | None:
    """Return the mmr of a request whose k and offset were checked, or None."""
    if not request.HasField("mmr"):
        return None
    message, need = request.mmr, request.offset + request.k
    if not (message.HasField("lambda") and 0 <= getattr(message, "lambda") <= 1):  # nor NaN
        raise InvalidArgument("expected lambda, 0 to 1", field="mmr.lambda")
    most = min(CANDIDATES_MAX, limits.k)
    if need > most:
        raise LimitExceeded(
            f"mmr chooses among {most} candidates at most, offset + k is {need}", field="mmr"
        )
    _check_candidates(message.candidates, need, most, "mmr.candidates")
    candidates = message.candidates or doubled(need + ahead_of(request), most)
    return Mmr(message.space, getattr(message, "lambda"), candidates)


def _check_candidates(candidates: int, need: int, most: int, field: str) -> None:
    if candidates > most:
        raise LimitExceeded(
            f"{candidates} candidates, the limit is {most}",
            field=field,
            hint="look at fewer candidates",
        )
    if candidates and candidates < need:
        raise InvalidArgument(
            f"{candidates} candidates, expected at least the {need} that are needed: "
            "offset + k, of groups times their size, and as many as mmr chooses from",
            field=field,
        )


def boost_of(
    request: search_pb2.QueryRequest, mmr: Mmr | None, limits: LimitsConfig
) -> Boost | None:
    """Return the boost of a request whose k and offset were checked, or None."""
    if not request.HasField("boost"):
        return None
    message = request.boost
    count = len(message.adjustments)
    if not count:
        raise InvalidArgument("the boost is empty", field="boost.adjustments")
    if count > ADJUSTMENTS_MAX:
        raise LimitExceeded(
            f"{count} adjustments, the limit is {ADJUSTMENTS_MAX}", field="boost.adjustments"
        )
    need = hits_needed(request)
    if mmr is not None:
        need = max(need, mmr.candidates)
    _check_candidates(message.candidates, need, limits.k, "boost.candidates")
    made: list[Adjustment] = []
    for at, adjustment in enumerate(message.adjustments):
        field = f"boost.adjustments[{at}]"
        try:
            made.append(_adjustment(adjustment, limits))
        except VecdbError as error:
            error.field = f"{field}.{error.field}" if error.field else field
            raise
    return Boost(tuple(made), message.candidates or doubled(need + ahead_of(request), limits.k))


def _adjustment(message: ranking_pb2.Adjustment, limits: LimitsConfig) -> Adjustment:
    weight, kind = message.weight, message.WhichOneof("kind")
    if not 0 < abs(weight) <= WEIGHT_MAX:  # nor NaN
        raise InvalidArgument(
            f"weight is {weight}, expected another number than 0, at most {WEIGHT_MAX} either way",
            field="weight",
        )
    if kind is None:
        raise InvalidArgument("the adjustment is empty: expected filter or decay")
    if kind == "decay":
        return Adjustment(_decay(message.decay), weight)
    chosen = filter_of(message.filter)
    check_filter(chosen, limits)
    return Adjustment(chosen, weight)


def _decay(message: ranking_pb2.Decay) -> Decay:
    curve = _CURVES.get(message.curve)
    if curve is None:
        raise InvalidArgument("expected curve exp, gauss or linear", field="decay.curve")
    decay = message.decay if message.HasField("decay") else DECAY
    for name, value, sound, expected in (
        ("scale", message.scale, 0 < message.scale < math.inf, "a number above 0"),
        ("offset", message.offset, 0 <= message.offset < math.inf, "0 or more"),
        ("decay", decay, 0 < decay < 1, "more than 0 and less than 1"),
    ):
        if not sound:
            raise InvalidArgument(f"{name} is {value}, expected {expected}", field=f"decay.{name}")
    path = checked_path(message.path, "decay.path")
    return Decay(path, curve, _origin(message), message.scale, message.offset, decay)


def _origin(message: ranking_pb2.Decay) -> float | Moment | Place:
    kind = message.WhichOneof("origin")
    if kind == "time":
        time = microseconds(message.time)
        if time is None:
            raise InvalidArgument(
                "expected an RFC 3339 time such as 2024-02-29T12:30:00Z, "
                f"got {message.time[:40]!r}",
                field="decay.time",
            )
        return Moment(time)
    if kind == "place":
        place = message.place
        if not (place.HasField("lat") and place.HasField("lon") and is_place(place.lat, place.lon)):
            raise InvalidArgument(
                "expected a latitude of -90 to 90 and a longitude of -180 to 180",
                field="decay.place",
            )
        return Place(place.lat, place.lon)
    if kind is None or not math.isfinite(message.number):
        raise InvalidArgument(
            "expected an origin: a finite number, a time or a place", field="decay.number"
        )
    return float(message.number)
