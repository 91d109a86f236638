"""Payload masks: what they keep, held against a mask of parsed values."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from vecdb.write.mask import PayloadMask, paths_of

NOTHING = object()


def cut(value: Any, include: list[str] | None, exclude: list[str]) -> Any:
    """Keep what include names, all for None, and exclude does not; NOTHING when nothing is left."""
    if isinstance(value, list):
        kept = [cut(each, include, exclude) for each in value]
        kept = [each for each in kept if each is not NOTHING]
        return NOTHING if include is not None and not kept else kept
    if not isinstance(value, dict):
        return value if include is None else NOTHING
    found: dict[str, Any] = {}
    for key, inner in value.items():
        if key in exclude:
            continue
        below = None if include is None or key in include else after(include, key)
        if below == []:
            continue
        kept = cut(inner, below, after(exclude, key))
        if kept is not NOTHING:
            found[key] = kept
    return NOTHING if include is not None and not found else found


def after(paths: list[str], key: str) -> list[str]:
    return [path[len(key) + 1 :] for path in paths if path.startswith(f"{key}.")]


def kept(payload: str, include: list[str] | None = None, exclude: tuple[str, ...] = ()) -> str:
    tree = None if include is None else paths_of(include)
    return PayloadMask(tree, paths_of(exclude)).kept(payload.encode()).decode()


KEYS = st.sampled_from(["a", "b", "c", "a.b", "", "a.", "\ud800"])
PATHS = st.lists(st.lists(KEYS, min_size=1, max_size=3).map(".".join), max_size=4)
VALUES = st.recursive(
    st.sampled_from([1, -0.5, None, True, "x", "{", ']"', 10**30, {}, []]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(KEYS, VALUES, max_size=5), st.none() | PATHS, PATHS, st.booleans())
@example({"a.b": 1, "a": {"b": 2}}, ["a.b"], [], False)
@example({"a": [{"b": 1}, 2, {"c": 3}, []]}, ["a.b"], [], True)
def test_masks(payload: dict, include: list[str] | None, exclude: list[str], spaced: bool) -> None:
    text = json.dumps(payload, indent=1 if spaced else None)
    expected = cut(payload, include, exclude)
    assert json.loads(kept(text, include, tuple(exclude))) == (
        {} if expected is NOTHING else expected
    )


@pytest.mark.parametrize(
    ("payload", "include", "exclude", "expected"),
    [
        ('{"n": 1e400, "m": 0.10}', ["n"], (), '{"n":1e400}'),
        (
            '{"n": 1e400, "m": {"k": 1.0, "l": [ 1 ]}}',
            None,
            ("m.k",),
            '{"n":1e400,"m":{"l":[ 1 ]}}',
        ),
        ('{"a": 1, "a": {"b": 2}}', ["a.b"], (), '{"a":{"b":2}}'),
        ('{"a": {"b": 2}, "a": 1}', ["a.b"], (), "{}"),
        ('{"é": {"\\u00e9": 1}}', ["é.é"], (), '{"é":{"é":1}}'),
        ('{"a": {"b": 1, "c": 2}}', ["a"], ("a.b",), '{"a":{"c":2}}'),
        ("{}", ["a"], (), "{}"),
        ("", ["a"], (), ""),
    ],
)
def test_what_is_kept_stays_the_text_it_is(payload, include, exclude, expected) -> None:
    assert kept(payload, include, exclude) == expected
