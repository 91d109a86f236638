"""Which points to consider: ``F("year") >= 1900`` and friends, typed, built into messages.

A path names a field of the payload; dots step into objects, arrays are looked through. Conditions
combine with ``&``, ``|`` and ``~``, each in its own parentheses. What a filter matches is the
server's to say.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final, NoReturn, TypeAlias

from vecdb_client.errors import InvalidArgument
from vecdb_client.pb import common_pb2 as pb

FilterValue: TypeAlias = str | int | float | bool

_INT64_MAX: Final = (1 << 63) - 1
_SIGNS: Final = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<="}


class Filter:
    """A condition on points. Immutable; made by F, combined with & | ~."""

    __slots__ = ("_text", "message")

    def __init__(self, message: pb.Filter, text: str) -> None:
        self.message: Final = message
        self._text: Final = text

    def __and__(self, other: Filter) -> Filter:
        return _join("and", " & ", self, other)

    def __or__(self, other: Filter) -> Filter:
        return _join("or", " | ", self, other)

    def __invert__(self) -> Filter:
        return Filter(_message("not", self.message), f"~{self._text}")

    def __bool__(self) -> NoReturn:
        raise TypeError(
            "a filter is neither true nor false: combine with & | ~ (not `and`, `or`, `not`), and "
            'write F("year").between(a, b) for `a <= F("year") <= b`; to ask whether there is one: '
            "`filter is not None`"
        )

    def __repr__(self) -> str:
        return self._text


class F:
    """A field of the payload, by its path: compare it, and a Filter comes out."""

    __slots__ = ("path",)

    def __init__(self, path: str) -> None:
        if not isinstance(path, str) or not path:
            raise _bad(f'a path is text such as "author.name", got {path!r}')
        self.path: Final = path

    def __eq__(self, value: object) -> Filter:  # type: ignore[override]  # a filter is the point
        return Filter(
            pb.Filter(equals=pb.Equals(path=self.path, value=_value(value))),
            f"({self!r} == {value!r})",
        )

    def __ne__(self, value: object) -> Filter:  # type: ignore[override]
        """Return a filter of the points whose field is another, or that have no such field."""
        return ~(self == value)

    __hash__ = None  # type: ignore[assignment]  # == makes a filter, so no set can hold a field

    def __gt__(self, value: float) -> Filter:
        return self._range(gt=value)

    def __ge__(self, value: float) -> Filter:
        return self._range(gte=value)

    def __lt__(self, value: float) -> Filter:
        return self._range(lt=value)

    def __le__(self, value: float) -> Filter:
        return self._range(lte=value)

    def between(self, low: float, high: float) -> Filter:
        """Return a filter for low <= field <= high, both included."""
        return self._range(gte=low, lte=high)

    def isin(self, values: Iterable[FilterValue]) -> Filter:
        """Return a filter of the points whose field equals one of the values; at least one."""
        if isinstance(values, (str, bytes)):
            raise _bad(f"{self!r}.isin() takes a list of values, got the text {values!r}")
        listed = list(values)
        if not listed:
            raise _bad(f"{self!r}.isin() got no values: it would match nothing")
        message = pb.In(path=self.path, values=[_value(value) for value in listed])
        return Filter(_message("in", message), f"{self!r}.isin({listed!r})")

    def __repr__(self) -> str:
        return f'F("{self.path}")'

    def _range(self, **bounds: float) -> Filter:
        message = pb.Range(path=self.path)
        for name, bound in bounds.items():
            value = _value(bound)
            if value.WhichOneof("kind") not in ("int64", "double"):
                raise _bad(
                    f"ranges are of numbers, got {bound!r} for {self!r}; store times as numbers, "
                    "seconds since 1970 for example"
                )
            getattr(message, name).CopyFrom(value)
        text = " & ".join(f"{self!r} {_SIGNS[name]} {bound!r}" for name, bound in bounds.items())
        return Filter(pb.Filter(range=message), f"({text})")


def filter_message(filter: Filter | None) -> pb.Filter | None:
    """Return the message of a filter. Raises InvalidArgument (BAD_FILTER) for what is none."""
    if filter is None:
        return None
    if isinstance(filter, Filter):
        return filter.message
    hint = "; compare it with something" if isinstance(filter, F) else ""
    raise _bad(f'a filter is made like F("year") >= 1900, got {filter!r}{hint}')


def _join(kind: str, sign: str, left: Filter, right: Filter) -> Filter:
    """Return both filters in one list; lists of the same kind are merged, to keep depth small."""
    if not isinstance(right, Filter):
        return NotImplemented
    parts: list[pb.Filter] = []
    texts: list[str] = []
    for side in (left, right):
        if side.message.WhichOneof("kind") == kind:
            parts += getattr(side.message, kind).filters
            texts.append(repr(side)[1:-1])
        else:
            parts.append(side.message)
            texts.append(repr(side))
    return Filter(_message(kind, pb.FilterList(filters=parts)), f"({sign.join(texts)})")


def _message(kind: str, part: pb.Filter | pb.FilterList | pb.In) -> pb.Filter:
    """Return a filter of a kind whose name is a keyword of Python: and, or, not, in."""
    message = pb.Filter()
    getattr(message, kind).CopyFrom(part)
    return message


def _value(value: object) -> pb.Value:
    """Return a typed value. numpy's scalars become plain ones."""
    item = getattr(value, "item", None)
    if item is not None and not isinstance(value, (str, int, float)):
        value = item()
    if isinstance(value, bool):  # before int, of which it is one
        return pb.Value(bool=value)
    if isinstance(value, int):
        if not -_INT64_MAX - 1 <= value <= _INT64_MAX:
            raise _bad(f"{value} does not fit 64 bits")
        return pb.Value(int64=value)
    if isinstance(value, float):
        if math.isnan(value):
            raise _bad("NaN equals nothing and is in no range")
        return pb.Value(double=value)
    if isinstance(value, str):
        try:
            return pb.Value(string=value)
        except ValueError as error:
            raise _bad(str(error)) from None
    raise _bad(f"a value is str, int, float or bool, got {value!r}")


def _bad(why: str) -> InvalidArgument:
    return InvalidArgument(f"bad filter: {why}", reason="BAD_FILTER")
