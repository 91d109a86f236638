"""What changes the order of the best hits: boosts by payload, and hits unlike one another."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final, Literal, TypeAlias

from vecdb_client.arguments import count, number
from vecdb_client.errors import InvalidArgument
from vecdb_client.filters import Filter, Place, filter_message, place_message, time_text
from vecdb_client.pb import ranking_pb2 as pb

Curve: TypeAlias = Literal["exp", "gauss", "linear"]

_CURVES: Final[dict[str, pb.DecayCurve]] = {
    "exp": pb.DECAY_CURVE_EXP,
    "gauss": pb.DECAY_CURVE_GAUSS,
    "linear": pb.DECAY_CURVE_LINEAR,
}


@dataclass(frozen=True, slots=True)
class Prefer:
    """Adds a weight to the scores of the points that match a filter; below 0 it marks them down."""

    filter: Filter
    weight: float


@dataclass(frozen=True, slots=True)
class Decay:
    """Adds a weight to the scores of points, the less the farther they are from an origin.

    All of it up to `offset` away, `decay` of it where it is `scale` farther, and on by the curve;
    none where the point holds nothing of that kind. origin: a number; a time (an aware datetime, a
    date, RFC 3339 text), scale and offset then seconds or a timedelta; or a place (lat, lon), scale
    and offset then metres.
    """

    path: str
    origin: float | date | str | Place
    scale: float | timedelta
    weight: float
    offset: float | timedelta = 0.0
    decay: float = 0.5
    curve: Curve = "gauss"


Adjustment: TypeAlias = Prefer | Decay


@dataclass(frozen=True, slots=True)
class Boost:
    """Adds to the scores of the best hits, and orders them anew; the sums are exact.

    candidates: how many of the best by their own score are looked at; what comes after them is not
    returned. None for 100, more where the hits asked for need it.
    """

    adjustments: Iterable[Adjustment]
    candidates: int | None = None


@dataclass(frozen=True, slots=True)
class Mmr:
    """Maximal marginal relevance: good hits that are unlike those before them.

    weight: lambda, of a hit's score beside its likeness to others; 1 changes nothing, 0 looks for
    difference alone. space: whose vectors are compared. candidates: as of Boost, at most 1,000.
    """

    weight: float = 0.5
    space: str = ""
    candidates: int | None = None


def fill_boost(message: pb.Boost, boost: Boost) -> None:
    """Fill in the message of a boost. Raises InvalidArgument."""
    if not isinstance(boost, Boost):
        raise InvalidArgument(f"boost is Boost([...]), got {boost!r}")
    if boost.candidates is not None:
        message.candidates = count(boost.candidates, "candidates of Boost")
    for one in boost.adjustments:
        if isinstance(one, Decay):
            _fill_decay(message.adjustments.add().decay, one)
        elif isinstance(one, Prefer) and (chosen := filter_message(one.filter)) is not None:
            message.adjustments.add().filter.CopyFrom(chosen)
        else:
            raise InvalidArgument(
                f"a boost is made of Prefer(filter, ...) and Decay(...), got {one!r}"
            )
        message.adjustments[-1].weight = number(one.weight, "a weight")


def _fill_decay(message: pb.Decay, decay: Decay) -> None:
    if decay.curve not in _CURVES:
        raise InvalidArgument(f"curve is one of {', '.join(_CURVES)}; got {decay.curve!r}")
    origin = decay.origin
    if isinstance(origin, str):
        message.time = origin
    elif isinstance(origin, date):
        message.time = time_text(origin)
    elif isinstance(origin, tuple):
        message.place.CopyFrom(place_message(origin))
    else:
        message.number = number(origin, "an origin")
    message.path = decay.path
    message.curve = _CURVES[decay.curve]
    message.scale = _extent(decay.scale, "scale")
    message.offset = _extent(decay.offset, "offset")
    message.decay = number(decay.decay, "decay")


def _extent(given: float | timedelta, what: str) -> float:
    return given.total_seconds() if isinstance(given, timedelta) else number(given, what)


def fill_mmr(message: pb.Mmr, mmr: Mmr) -> None:
    """Fill in the message of an mmr. Raises InvalidArgument."""
    if not isinstance(mmr, Mmr):
        raise InvalidArgument(f"mmr is Mmr(...), got {mmr!r}")
    message.space = mmr.space
    setattr(message, "lambda", number(mmr.weight, "the weight of Mmr"))
    if mmr.candidates is not None:
        message.candidates = count(mmr.candidates, "candidates of Mmr")
