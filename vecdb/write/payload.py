"""What a payload may be, and what becomes of one that is patched.

A patch takes apart only the objects that it steps through, in one pass over the text. Whatever
else a payload holds stays the text it is: numbers that no float can hold, escapes and spaces come
back as they were written.
"""

from __future__ import annotations

import json
import re
from collections.abc import Hashable, Iterable, Iterator
from typing import Any, TypeAlias

from vecdb.errors import BadPayload, InvalidArgument, LimitExceeded, PathClash
from vecdb.segment.fields import PATH_CHARACTERS_MAX
from vecdb.types import PayloadEdits

PAYLOAD_DEPTH_MAX = 200
"""Levels of objects and arrays in a payload."""

# Possessive, and with strings that do not end: one pass over whatever was sent.
_BRACKETS = re.compile(rb'"(?:[^"\\]|\\.)*+(?:"|\Z)|[\[\]{}]', re.DOTALL)
_BLANK = re.compile(r"[ \t\n\r]*")


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


# One decoder for all: json.loads with any option makes a new one for every payload.
JSON = json.JSONDecoder(parse_constant=_refuse_constant)

_Node: TypeAlias = "str | dict[str, _Node]"
"""A value as its JSON text, or an object that was taken apart into its members."""
_Steps: TypeAlias = "dict[str, _Steps]"
"""The objects that paths step through, by key, as a tree."""
_KINDS = {"{": "an object", "[": "an array", '"': "a string", "t": "a boolean", "f": "a boolean"}


# --- what is sent


def check_payload(payload: bytes, bytes_max: int, field: str) -> None:
    """Raise LimitExceeded or BadPayload unless it may be stored."""
    check_size(payload, bytes_max, field)
    json_object(payload, "the payload", field)


def check_size(payload: bytes, bytes_max: int, field: str) -> None:
    """Raise LimitExceeded for a payload of more than so many bytes."""
    if len(payload) > bytes_max:
        raise LimitExceeded(
            f"the payload has {len(payload)} bytes, the limit is {bytes_max}",
            field=field,
            hint="raise limits.payload_bytes, or keep large content elsewhere",
        )


def check_edits(edits: PayloadEdits) -> None:
    """Raise BadPayload or InvalidArgument unless the changes mean something."""
    for path in edits.unset:
        _check_path(path, "patch.unset")
    for what in ("set", "append", "remove"):
        content: bytes = getattr(edits, what)
        if not content:
            continue
        changes = json_object(content, what, f"patch.{what}")
        for path, value in changes.items():
            _check_path(path, f"patch.{what}")
            if what != "set" and not isinstance(value, list):
                raise BadPayload(
                    f"{what} {path!r}: expected an array of values, got {value!r:.40}",
                    field=f"patch.{what}",
                )
        if what != "remove":
            _check_nesting(changes, what)


def _check_nesting(changes: dict[str, Any], what: str) -> None:
    """Raise BadPayload where a value would stand too deep.

    What is stored is not too deep already, so nothing has to be counted when it is patched.
    """
    for path, value in changes.items():
        if path.count(".") + 1 + _depth(value) > PAYLOAD_DEPTH_MAX:
            raise BadPayload(
                f"{what} {path[:40]!r}: the payload would be nested deeper than "
                f"{PAYLOAD_DEPTH_MAX} levels",
                field=f"patch.{what}",
            )


def _depth(value: Any) -> int:  # noqa: ANN401 - any JSON
    inner = (
        value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    )
    return 0 if inner is None else 1 + max(map(_depth, inner), default=0)


def _check_path(path: str, field: str) -> None:
    if not 1 <= len(path) <= PATH_CHARACTERS_MAX:
        raise InvalidArgument(
            f"a path has 1 to {PATH_CHARACTERS_MAX} characters, got {len(path)}: {path[:40]!r}",
            field=field,
        )


def json_object(content: bytes, what: str, field: str) -> dict[str, Any]:
    """Return the members of a JSON object. Raises BadPayload."""
    _check_depth(content, what, field)
    try:
        value = JSON.decode(content.decode())
    except ValueError as error:
        raise BadPayload(f"{what} is not JSON: {error}", field=field) from None
    if not isinstance(value, dict):
        raise BadPayload(f"{what} must be a JSON object, got {type(value).__name__}", field=field)
    return value


def _check_depth(content: bytes, what: str, field: str) -> None:
    """Raise BadPayload for nesting that a parser might refuse later, on a deeper stack."""
    if content.count(b"{") + content.count(b"[") <= PAYLOAD_DEPTH_MAX:
        return
    depth = 0
    for token in _BRACKETS.finditer(content):
        mark = token[0][:1]
        depth += (mark in b"[{") - (mark in b"]}")
        if depth > PAYLOAD_DEPTH_MAX:
            raise BadPayload(
                f"{what} is nested deeper than {PAYLOAD_DEPTH_MAX} levels", field=field
            )


# --- what is stored


def edited(payload: bytes, edits: PayloadEdits, bytes_max: int) -> bytes:
    """Return a stored payload after changes that check_edits passed; nothing else is touched.

    Raises PathClash, and LimitExceeded when more than bytes_max bytes are left.
    """
    if edits == PayloadEdits():
        return payload
    to_set, to_append, to_remove = (
        _members(text.decode(), {}) for text in (edits.set, edits.append, edits.remove)
    )
    steps = _steps([*to_set, *edits.unset, *to_append, *to_remove])
    root = _members(payload.decode(), steps)
    for path, value in to_set.items():
        _place(root, steps, path, "set", make=True)[_last(path)] = value
    for path in edits.unset:
        _place(root, steps, path, "unset").pop(_last(path), None)
    for path, values in to_append.items():
        here = _place(root, steps, path, "append", make=True)
        here[_last(path)] = _joined(_array(here, path, "append") or "[]", values)
    for path, values in to_remove.items():
        here = _place(root, steps, path, "remove")
        held = _array(here, path, "remove")
        if held is not None:
            here[_last(path)] = _without(held, values)
    made = "".join(_written(root)).encode()
    check_size(made, bytes_max, "patch")
    return made


def _steps(paths: Iterable[str]) -> _Steps:
    steps: _Steps = {}
    for path in paths:
        here = steps
        for key in path.split(".")[:-1]:
            here = here.setdefault(key, {})
    return steps


def _members(text: str, steps: _Steps) -> dict[str, _Node]:
    """Return the members of a JSON object, none of "", with those of `steps` taken apart too."""
    return _object(text, after_blank(text, 0), steps)[0] if text else {}


def _object(text: str, at: int, steps: _Steps) -> tuple[dict[str, _Node], int]:
    """Return the members of the object that begins at a place, and where it ends.

    Reads every character once, however deep the steps go.
    """
    found: dict[str, _Node] = {}
    at = after_blank(text, at + 1)
    while text[at] != "}":
        key, at = JSON.raw_decode(text, at)
        at = after_blank(text, after_blank(text, at) + 1)  # past the colon
        found.pop(key, None)  # of a key that comes twice the last one counts, and its place
        if key in steps and text[at] == "{":
            found[key], at = _object(text, at, steps[key])
        else:
            start, (_, at) = at, JSON.raw_decode(text, at)
            found[key] = text[start:at]
        at = after_comma(text, at)
    return found, at + 1


def _elements(text: str) -> Iterator[tuple[str, Any]]:
    """Yield text and value of each element of a JSON array."""
    at = after_blank(text, 1)
    while text[at] != "]":
        start, (value, at) = at, JSON.raw_decode(text, at)
        yield text[start:at], value
        at = after_comma(text, at)


def after_comma(text: str, at: int) -> int:
    """Return where the next element or the end of an array or object begins, behind a value."""
    at = after_blank(text, at)
    return after_blank(text, at + 1) if text[at] == "," else at


def after_blank(text: str, at: int) -> int:
    """Return where the next character that is no blank stands."""
    found = _BLANK.match(text, at)
    return found.end() if found else at


def _last(path: str) -> str:
    return path.rpartition(".")[2]


def _place(
    root: dict[str, _Node], steps: _Steps, path: str, what: str, *, make: bool = False
) -> dict[str, _Node]:
    """Return the object that the last key of a path belongs to, taken apart; raise PathClash.

    Where there is none it is made, in `root` or, unless `make`, beside it.
    """
    here = root
    keys = path.split(".")[:-1]
    for at, key in enumerate(keys):
        steps = steps[key]
        inner = here.get(key)
        if inner is None:
            inner = {}
            if make:
                here[key] = inner
        elif isinstance(inner, str):  # an object, then, that this patch has set
            if inner[0] != "{":
                raise _clash(path, what, ".".join(keys[: at + 1]), inner, "an object")
            inner = here[key] = _members(inner, steps)
        here = inner
    return here


def _array(here: dict[str, _Node], path: str, what: str) -> str | None:
    """Return the array at the end of a path, None where nothing is. Raises PathClash."""
    held = here.get(_last(path))
    if held is None or (isinstance(held, str) and held[0] == "["):
        return held
    raise _clash(path, what, path, held, "an array")


def _joined(array: str, values: _Node) -> str:
    """Return an array with the values of another behind its own."""
    assert isinstance(values, str)
    parts = [array[1:-1].strip(), values[1:-1].strip()]
    return f"[{','.join(part for part in parts if part)}]"


def _without(array: str, values: _Node) -> str:
    """Return an array without the elements that are equal to a value of another."""
    assert isinstance(values, str)
    gone = {_comparable(value) for value in JSON.decode(values)}
    kept = [part for part, value in _elements(array) if _comparable(value) not in gone]
    return f"[{','.join(kept)}]"


def _comparable(value: Any) -> Hashable:  # noqa: ANN401 - any JSON
    """Return what is equal for equal JSON values: 1 and 1.0 are, 1 and true are not."""
    if isinstance(value, dict):
        return frozenset((key, _comparable(inner)) for key, inner in value.items())
    if isinstance(value, list):
        return (list, *map(_comparable, value))
    return (bool, value) if isinstance(value, bool) else value


def _clash(path: str, what: str, where: str, held: _Node, wanted: str) -> PathClash:
    mark = held[0] if isinstance(held, str) else "{"
    kind = "null" if mark == "n" else _KINDS.get(mark, "a number")
    return PathClash(
        f"{what} {path!r}: {where!r} holds {kind}, not {wanted}", field=f"patch.{what}", path=where
    )


def _written(members: dict[str, _Node]) -> Iterator[str]:
    """Yield the pieces of an object's JSON text."""
    comma = ""
    yield "{"
    for key, value in members.items():
        yield f"{comma}{quoted(key)}:"
        comma = ","
        if isinstance(value, str):
            yield value
        else:
            yield from _written(value)
    yield "}"


def quoted(key: str) -> str:
    """Return a key as JSON text."""
    text = json.dumps(key, ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:  # half of a surrogate pair, which JSON holds as an escape only
        return json.dumps(key)
    return text
