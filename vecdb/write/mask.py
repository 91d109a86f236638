"""Which parts of a payload a reader is sent: paths to include, and paths to exclude.

Dots step into objects, and arrays are looked through. What is sent stays the text that was stored,
whatever numbers it holds; one pass over it, however many paths there are.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

from vecdb.write.payload import JSON, after_blank, after_comma, quoted

Paths: TypeAlias = "dict[str | None, Paths]"
"""Paths as a tree, by the keys between their dots; None where one of them ends."""

NO_PATHS: Paths = {}


def paths_of(paths: Iterable[str]) -> Paths:
    """Return some paths as a tree."""
    root: Paths = {}
    for path in paths:
        here = root
        for key in path.split("."):
            here = here.setdefault(key, {})
        here[None] = NO_PATHS
    return root


@dataclass(frozen=True, slots=True)
class PayloadMask:
    """What to keep of payloads: what stands at `include`, None for all, but not at `exclude`.

    Of what is included, objects and arrays that nothing is left of are left out too.
    """

    include: Paths | None = None
    exclude: Paths | None = None

    def kept(self, payload: bytes) -> bytes:
        """Return what is kept of a stored payload, an object too; of no payload, none."""
        if not payload:
            return payload
        text = payload.decode()
        made, _ = _value(text, after_blank(text, 0), self.include, self.exclude or NO_PATHS)
        return (made or "{}").encode()


def _value(text: str, at: int, include: Paths | None, exclude: Paths) -> tuple[str | None, int]:
    """Return what is kept of the value that begins at a place, None for nothing, and its end."""
    mark = text[at]
    if (include is None and not exclude) or mark not in "{[":
        start, (_, at) = at, JSON.raw_decode(text, at)
        return (text[start:at] if include is None else None), at
    return (_object if mark == "{" else _array)(text, at, include, exclude)


def _object(text: str, at: int, include: Paths | None, exclude: Paths) -> tuple[str | None, int]:
    kept: dict[str, str] = {}
    at = after_blank(text, at + 1)
    while text[at] != "}":
        key, at = JSON.raw_decode(text, at)
        at = after_blank(text, after_blank(text, at) + 1)  # past the colon
        kept.pop(key, None)  # of a key that comes twice the last one counts
        asked = None if include is None else _below(include, key)
        if asked is not None and None in asked:
            asked = None  # all of it
        barred = _below(exclude, key)
        if asked == {} or None in barred:
            _, at = JSON.raw_decode(text, at)
        else:
            made, at = _value(text, at, asked, barred)
            if made is not None:
                kept[key] = made
        at = after_comma(text, at)
    if include is not None and not kept:
        return None, at + 1
    return f"{{{','.join(f'{quoted(key)}:{value}' for key, value in kept.items())}}}", at + 1


def _array(text: str, at: int, include: Paths | None, exclude: Paths) -> tuple[str | None, int]:
    kept: list[str] = []
    at = after_blank(text, at + 1)
    while text[at] != "]":
        made, at = _value(text, at, include, exclude)
        if made is not None:
            kept.append(made)
        at = after_comma(text, at)
    if include is not None and not kept:
        return None, at + 1
    return f"[{','.join(kept)}]", at + 1


def _below(paths: Paths, key: str) -> Paths:
    """Return what paths go on with behind a key, which may hold dots itself."""
    for part in key.split("."):
        found = paths.get(part)
        if found is None:
            return NO_PATHS
        paths = found
    return paths
