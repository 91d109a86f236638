"""Payloads as dataclasses: the fields of an object, and an object of a class from a JSON object."""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from datetime import date, datetime
from enum import Enum
from functools import cache
from typing import Any, Final, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from vecdb_client.errors import InvalidArgument

Kind = TypeVar("Kind")
_PLAIN: Final = {type(None): "null", bool: "bool", int: "int", float: "float", str: "str"}


def fields_of(value: object) -> dict[str, Any] | None:
    """Return a dataclass instance's fields by name, None for any other value."""
    if not is_dataclass(value) or isinstance(value, type):
        return None
    return {one.name: getattr(value, one.name) for one in fields(value)}


def object_of(payload: Mapping[str, Any], kind: type[Kind], what: str) -> Kind:
    """Return a payload as an object of a dataclass. Fields that the class does not name are left.

    Its fields may be of the types that JSON has, datetime and date, enums, Literal, Any, other
    dataclasses, and lists, tuples, dicts by str and unions of all these; the types are checked. A
    field without a value has to have a default. what: whose payload, for messages.
    Raises InvalidArgument (PAYLOAD_MISMATCH) that names the field.
    """
    if not (isinstance(kind, type) and is_dataclass(kind)):
        raise InvalidArgument(f"expected a dataclass, got {kind!r}")
    try:
        made: Kind = _object(payload, kind)
    except _Mismatch as error:
        raise InvalidArgument(
            f"the payload of {what} is no {kind.__name__}: {error.shown()}",
            reason="PAYLOAD_MISMATCH",
        ) from None
    return made


class _Mismatch(Exception):
    """A value that does not fit. path: of the field, filled on the way out."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why
        self.path: tuple[str, ...] = ()

    def shown(self) -> str:
        return f"{'.'.join(self.path)}: {self.why}" if self.path else self.why


def _object(value: object, kind: Any) -> Any:  # noqa: ANN401 - a class, an object of it
    if not isinstance(value, Mapping):
        raise _wrong(value, "an object")
    given: dict[str, Any] = {}
    for name, (hint, required) in _hints(kind).items():
        if name in value:
            given[name] = _inner(name, value[name], hint)
        elif required:
            raise _Mismatch(f"there is no {name!r}, which has no default")
    try:
        return kind(**given)
    except (TypeError, ValueError) as error:  # of its own __post_init__
        raise _Mismatch(str(error)) from error


@cache
def _hints(kind: type[Any]) -> dict[str, tuple[Any, bool]]:
    """Return the type of each field of a dataclass that its constructor takes, and if it has to."""
    try:
        hints = get_type_hints(kind)
    except NameError as error:
        raise InvalidArgument(
            f"the types of {kind.__name__} cannot be read: {error}; define what they name where "
            "the class is defined, at the top of a module"
        ) from None
    return {
        one.name: (hints[one.name], one.default is MISSING and one.default_factory is MISSING)
        for one in fields(kind)
        if one.init
    }


def _inner(name: str, value: object, hint: Any) -> Any:  # noqa: ANN401 - of any type
    try:
        return _value(value, hint)
    except _Mismatch as error:
        error.path = (name, *error.path)
        raise


def _value(value: object, hint: Any) -> Any:  # noqa: ANN401 - of any type
    """Return a value of JSON as a value of a type. Raises _Mismatch."""
    origin = get_origin(hint)
    if hint is Any or hint is object:
        return value
    if origin in (Union, types.UnionType):
        return _of_union(value, get_args(hint))
    if origin is Literal:
        if value not in get_args(hint):
            raise _Mismatch(f"expected one of {get_args(hint)}, got {value!r}")
        return value
    if origin is not None or hint in (list, tuple, dict):
        return _collection(value, origin or hint, get_args(hint), hint)
    return _single(value, hint)


def _single(value: object, hint: Any) -> Any:  # noqa: ANN401 - of any type
    if hint is float and type(value) is int:
        return float(value)
    if hint in _PLAIN:
        if type(value) is not hint:
            raise _wrong(value, _PLAIN[hint])
        return value
    if isinstance(hint, type):
        if is_dataclass(hint):
            return _object(value, hint)
        if issubclass(hint, datetime):
            return _parsed(hint.fromisoformat, value, "a time in RFC 3339")
        if issubclass(hint, date):
            return _parsed(hint.fromisoformat, value, "a date, such as 2024-05-01")
        if issubclass(hint, Enum):
            return _parsed(hint, value, f"a value of {hint.__name__}")
    raise InvalidArgument(f"a payload cannot fill a field of type {hint!r}")


def _of_union(value: object, choices: Sequence[Any]) -> Any:  # noqa: ANN401 - of any type
    """Return the value as the first type that it fits; text as text, where that is one of them."""
    why: list[str] = []
    for choice in sorted(choices, key=lambda one: one is not type(value)):
        try:
            return _value(value, choice)
        except _Mismatch as error:
            why.append(error.shown())
    raise _Mismatch("; ".join(why))


def _collection(value: object, origin: Any, inner: tuple[Any, ...], hint: object) -> Any:  # noqa: ANN401
    if isinstance(origin, type) and issubclass(dict, origin):
        if not isinstance(value, Mapping):
            raise _wrong(value, "an object")
        of = inner[1] if inner else Any
        return {key: _inner(key, each, of) for key, each in value.items()}
    if not (isinstance(origin, type) and (issubclass(list, origin) or origin is tuple)):
        raise InvalidArgument(f"a payload cannot fill a field of type {hint!r}")
    if not isinstance(value, list):
        raise _wrong(value, "an array")
    if origin is tuple and inner and inner[-1] is not Ellipsis:
        if len(inner) != len(value):
            raise _Mismatch(f"expected {len(inner)} values, got {len(value)}")
        return tuple(_inner(f"[{i}]", each, inner[i]) for i, each in enumerate(value))
    of = inner[0] if inner else Any
    found = [_inner(f"[{i}]", each, of) for i, each in enumerate(value)]
    return tuple(found) if origin is tuple else found


def _parsed(parse: Callable[[Any], Any], value: object, what: str) -> Any:  # noqa: ANN401
    try:
        return parse(value)
    except (TypeError, ValueError):
        raise _wrong(value, what) from None


def _wrong(value: object, what: str) -> _Mismatch:
    shown = repr(value)
    return _Mismatch(f"expected {what}, got {shown if len(shown) <= 40 else shown[:37] + '...'}")
