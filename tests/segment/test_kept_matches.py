"""Bitmaps of filters are kept where rows never change, for the very filter, and not too many."""

from __future__ import annotations

import sys
import threading

import numpy as np
import pytest

from tests.segment.sources import Source, in_memory, on_disk
from vecdb.query.filter import key_of_filter, matching
from vecdb.segment.bitmaps import KeptBitmaps, unpack
from vecdb.segment.fields import PATH_CHARACTERS_MAX
from vecdb.segment.fields_disk import MATCHES_KEPT
from vecdb.types import And, Equals, Filter, HasId, In, Not, Range

PAYLOADS = [b'{"a":1}', b'{"a":true}', b'{"a":"1"}', b'{"a":[0,2.5]}', b"{}"]


def asked(filter: Filter, source: Source) -> list[bool]:
    bits = matching(filter, source, key=key_of_filter(filter))
    return unpack(bits, source.rows).tolist()


def test_what_is_kept_is_the_answer() -> None:
    filters = [Equals("a", 1), Equals("a", True), Equals("a", "1"), Equals("a", 1.0)]
    filters += [In("a", (0, 1)), In("a", (False, True)), Range("a", gte=0), Range("a", gt=0)]
    filters += [Not(each) for each in filters]
    disk, memory = on_disk(PAYLOADS), in_memory(PAYLOADS)
    for _ in range(2):
        for filter in filters:
            assert asked(filter, disk) == asked(filter, memory)
    kept = disk.fields.matches
    assert kept is not None
    first = kept.get(key_of_filter(filters[0]))
    assert first is matching(filters[0], disk, key=key_of_filter(filters[0]))
    with pytest.raises(ValueError, match="read-only"):
        first |= first


def test_filters_that_python_takes_for_equal_have_keys_of_their_own() -> None:
    values = [0, 0.0, -0.0, False, "0", "False", 1, True, 1.0]
    assert len({key_of_filter(Equals("a", value)) for value in values}) == len(values)
    assert key_of_filter(Equals("\ud800", 1)) != key_of_filter(Equals("\ud801", 1))


def test_what_depends_on_more_than_the_rows_is_not_kept() -> None:
    assert key_of_filter(And((Equals("a", 1), Not(HasId(("p",)))))) == b""
    source = on_disk(PAYLOADS)
    unknown = Equals("p" * (PATH_CHARACTERS_MAX + 1), 1)
    for reads in (5, 10):
        assert asked(unknown, source) == [False] * 5
        assert source.reads == reads


def test_the_least_recently_used_is_forgotten() -> None:
    kept = KeptBitmaps(2)
    bits = np.zeros(1, np.uint64)
    kept.keep(b"a", bits)
    kept.keep(b"b", bits)
    assert kept.get(b"a") is bits
    kept.keep(b"c", bits)
    assert (kept.get(b"a"), kept.get(b"b"), kept.get(b"c")) == (bits, None, bits)


def test_many_threads_ask_for_more_than_is_kept() -> None:
    source = on_disk(PAYLOADS)
    wrong: list[int] = []

    def ask(first: int) -> None:
        for turn in range(400):
            value = (first + turn) % (2 * MATCHES_KEPT)
            if asked(Equals("a", value), source)[0] != (value == 1):
                wrong.append(value)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=ask, args=(17 * n,)) for n in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert wrong == []
