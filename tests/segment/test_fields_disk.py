"""Field indexes: what they leave out, how they serve many rows, and what damage does to them."""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.filters import (
    BEGINS,
)
from tests.segment.sources import (
    Source,
    agree,
    collect,
    expected_of,
    in_memory,
    index_of,
    matched,
    on_disk,
)
from vecdb.errors import DeadlineExceeded
from vecdb.query.filter import matching
from vecdb.segment import fields
from vecdb.segment.fields import (
    PATH_CHARACTERS_MAX,
    PATHS_MAX,
    NotIndexed,
)
from vecdb.segment.fields_disk import PART_TYPES, FieldIndex, write_fields
from vecdb.segment.fields_memory import MemoryFields, SharedFields
from vecdb.types import (
    And,
    Equals,
    Exists,
    GeoRadius,
    In,
    IsNull,
    MinShould,
    Nested,
    Not,
    Or,
    Prefix,
    Range,
    ValuesCount,
)

pytestmark = pytest.mark.takes_turns

# --- what the index leaves out


def many(paths: int, often: int = 0) -> list[bytes]:
    """Return payloads of so many paths; the first `often` of them are held by two rows."""
    names = [f"f{at:04}" for at in range(paths)]
    return [
        json.dumps(dict.fromkeys(names, 1)).encode(),
        json.dumps(dict.fromkeys(names[:often], 1)).encode(),
    ]


def test_as_many_paths_as_allowed_are_all_there() -> None:
    source = on_disk(many(PATHS_MAX))
    assert len(source.fields.paths) == PATHS_MAX
    assert matched(Equals("f0999", 1), source) == [True, False]
    assert matched(Equals("never", 1), source) == [False, False]  # it would know
    assert source.reads == 0


def test_of_too_many_paths_the_frequent_ones_stay() -> None:
    payloads = many(PATHS_MAX + 5, often=7)
    source = on_disk(payloads)
    assert len(source.fields.paths) == PATHS_MAX
    for at in range(7):
        agree(payloads, Equals(f"f{at:04}", 1))
    for path in ("f1004", "never"):  # it cannot tell the two apart, and asks the payloads
        with pytest.raises(NotIndexed):
            source.fields.holding(path, fields.STATE, (fields.HELD,))
        for filter in (
            Equals(path, 1),
            Equals(path, "x"),
            Equals(path, True),
            Range(path, gt=0),
            In(path, (1, "x")),
            Not(Equals(path, 1)),
            Exists(path),
            And((Equals("f0000", 1), Equals(path, 1))),
            Or((Equals("f0000", 1), Equals(path, 1))),
            MinShould(1, (Equals("f0000", 1), Equals(path, 1))),
        ):
            assert matched(filter, source) == expected_of(filter, payloads)


def test_only_what_other_conditions_leave_open_is_read() -> None:
    payloads = many(PATHS_MAX + 5, often=7)
    open_path = Equals("f1004", 1)
    for filter, reads in [
        (open_path, 2),
        (And((open_path, Equals("f0500", 1))), 1),
        (And((open_path, Equals("f0500", 2))), 0),
        (Or((open_path, Equals("f0500", 1))), 1),
        (Or((open_path, Equals("f0000", 1))), 0),
        (Not(And((open_path, Not(Equals("f0500", 1))))), 1),
        (MinShould(2, (open_path, Equals("f0000", 1), Equals("f0500", 1))), 1),
    ]:
        source = on_disk(payloads)
        assert matched(filter, source) == expected_of(filter, payloads)
        assert source.reads == reads, filter
    dead = np.zeros(1, np.uint64)
    source = on_disk(payloads)
    matching(open_path, source, dead)
    assert source.reads == 0


def test_reading_can_be_stopped() -> None:
    class Late(Source):
        def payloads(self, rows: Sequence[int]) -> list[Any]:
            raise DeadlineExceeded("late")

    payloads = many(PATHS_MAX + 5)
    with pytest.raises(DeadlineExceeded):
        matching(Equals("f1004", 1), Late(payloads, index_of(payloads)))


@pytest.mark.parametrize("nested", [False, True])
def test_a_path_that_is_too_long_is_left_out(nested: bool) -> None:
    longest, over = "p" * PATH_CHARACTERS_MAX, "p" * (PATH_CHARACTERS_MAX + 1)
    if nested:
        longest, over = f"p.{longest[2:]}", f"p.{over[2:]}"
    payloads = [json.dumps({longest: 1}).encode(), json.dumps({over: 1}).encode()]
    source = on_disk(payloads)
    assert matched(Equals(longest, 1), source) == [True, False]
    assert source.reads == 0
    assert matched(Equals(over, 1), source) == [False, True]
    assert matched(Equals(over, 1), in_memory(payloads)) == [False, True]
    if nested:  # the path of the field inside is too long, those of the filter are not
        inside = Nested("p", Equals(over[2:], 1))
        assert matched(inside, source) == [False, False]


# --- many rows: bitmaps of common keys, and of blocks of columns


def test_columns_and_dictionaries_of_many_rows() -> None:
    rng = np.random.default_rng(3)
    rows = 3_001
    payloads = [
        json.dumps(
            {
                "n": int(rng.integers(1_000)),
                "x": [float(value) for value in rng.random(int(rng.integers(3)))],
                "tag": ["common", f"rare{rng.integers(500)}"][: int(rng.integers(3))],
                "half": bool(rng.integers(2)),
            }
        ).encode()
        for _ in range(rows)
    ]
    for filter in (
        *(Range("n", gte=low, lt=high) for low in (0, 3, 500) for high in (1, 499, 998, 2_000)),
        *(Range("x", gt=low) for low in (-1, 0.01, 0.5, 0.99)),
        *(Equals("tag", value) for value in ("common", "rare7", "none")),
        In("tag", ("common", "rare1", "rare2")),
        Prefix("tag", "c"),
        Prefix("tag", "rare1"),
        Prefix("tag", "rarf"),
        Equals("half", True),
        Exists("x"),
        ValuesCount("tag", gte=2),
    ):
        agree(payloads, filter)


@given(st.lists(st.text(max_size=300), min_size=1, max_size=20), BEGINS)
def test_prefixes_of_strings_of_every_length(texts: list[str], begin: str) -> None:
    payloads = [json.dumps({"a": text}).encode() for text in [*texts, begin, begin + "y" * 300]]
    agree(payloads, Prefix("a", begin))
    agree(payloads, Prefix("a", begin + "y"))
    agree(payloads, Prefix("a", begin + "y" * 100))


def test_rows_in_memory_grow_while_they_are_asked() -> None:
    payloads: list[bytes] = []
    shared = SharedFields()
    for row in range(130):
        payloads.append(json.dumps({"n": row, "tag": "even" if row % 2 == 0 else "odd"}).encode())
        newest = MemoryFields(row + 1, payloads, shared)
        oldest = MemoryFields(row // 2 + 1, payloads, shared)
        for source in (newest, oldest):
            seen = Source(payloads[: source.rows], source)
            assert sum(matched(Equals("tag", "even"), seen)) == source.rows // 2 + source.rows % 2
            assert sum(matched(Range("n", gte=3), seen)) == max(source.rows - 3, 0)


# --- damaged files


VARIED = [
    json.dumps(
        {
            "n": row % 7,
            "x": [row / 3, row / 5],
            "tag": ["common", f"rare{row % 90}"],
            "long": f"{'l' * 60}{row}" * 5,
            "at": f"2024-02-{row % 28 + 1:02}",
            "place": {"lat": row % 90, "lon": row % 180},
            "maybe": None if row % 3 else True,
        }
    ).encode()
    for row in range(1_300)
]
QUESTIONS = (
    Equals("n", 3),
    Range("x", gt=1.5),
    Equals("tag", "common"),
    Equals("tag", "rare3"),
    Prefix("tag", "rare"),
    Prefix("long", "l" * 50),
    Range("at", gte="2024-02-10"),
    GeoRadius("place", 10, 10, 1e6),
    IsNull("maybe"),
    Equals("maybe", True),
    Exists("place.lat"),
    ValuesCount("tag", gte=2),
)


def test_a_directory_that_does_not_fit_is_refused() -> None:
    array, directory, left_out = write_fields(collect(VARIED))
    rows = len(VARIED)
    FieldIndex(rows, array, directory, left_out)
    for path, kinds in directory.items():
        for kind, parts in kinds.items():
            for at, (offset, count) in enumerate(parts):
                for wrong in ([offset + 10**9, count], [-64, count], [offset, -1], [offset, 10**9]):
                    damaged = [*parts[:at], wrong, *parts[at + 1 :]]
                    with pytest.raises(ValueError, match="outside"):
                        FieldIndex(rows, array, {path: {kind: damaged}}, left_out)
                if count and (kind not in fields.DICTIONARIES or at > 0) and at != 3:
                    damaged = [*parts[:at], [offset, count - 1], *parts[at + 1 :]]
                    with pytest.raises(ValueError, match="fit together"):
                        FieldIndex(rows, array, {path: {kind: damaged}}, left_out)
    with pytest.raises(ValueError, match="outside"):
        FieldIndex(rows, array[:-1], directory, left_out)


@pytest.mark.parametrize("seed", range(30))
def test_a_damaged_array_gives_wrong_answers_at_worst(seed: int) -> None:
    array, directory, left_out = write_fields(collect(VARIED))
    rng = np.random.default_rng(seed)
    damaged = array.copy()
    if seed % 3 == 0:
        damaged[:] = np.frombuffer(rng.bytes(len(array)), np.uint8)
    elif seed % 3 == 1:
        damaged[rng.integers(0, len(array), len(array) // 20)] = 0xFF
    else:
        start = int(rng.integers(len(array)))
        damaged[start : start + 4_096] = 0
    damaged.flags.writeable = False
    source = Source(VARIED, FieldIndex(len(VARIED), damaged, directory, left_out))
    for filter in QUESTIONS:
        assert len(matching(filter, source)) == -(-len(VARIED) // 64)


def test_every_part_damaged_by_itself() -> None:
    array, directory, left_out = write_fields(collect(VARIED))
    for kinds in directory.values():
        for kind, parts in kinds.items():
            types = PART_TYPES[kind]
            for (offset, count), dtype in zip(parts, types, strict=True):
                size = count * np.dtype(dtype).itemsize
                for fill in (0x00, 0x7F, 0x80, 0xFF):
                    damaged = array.copy()
                    damaged[offset : offset + size] = fill
                    source = Source(VARIED, FieldIndex(len(VARIED), damaged, directory, left_out))
                    for filter in QUESTIONS:
                        matching(filter, source)


def test_rows_past_the_last_are_not_returned() -> None:
    payloads = [b'{"a":1,"b":"x%d"}' % row for row in range(4)]
    array, directory, left_out = write_fields(collect(payloads))
    damaged = array.copy()
    for path, kind, part in (("a", "int", 1), ("b", "keyword", 3)):
        offset, count = directory[path][kind][part]
        damaged[offset : offset + 4] = np.frombuffer(struct.pack("<I", 4_000_000), np.uint8)
        assert count in (0, 4)
    source = Source(payloads, FieldIndex(4, damaged, directory, left_out))
    assert matched(Equals("a", 1), source) == [False, True, True, True]
