"""Field indexes asked for counts, sums and orders: on disk, in memory, and damaged."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from tests import read_model
from tests.segment.sources import Source, collect, in_memory, on_disk
from tests.segment.test_fields_disk import VARIED
from vecdb.query.aggregate import Facets, NumberStats, TimeStats, aggregate
from vecdb.query.order import OrderBy, Place, following
from vecdb.query.search import Candidates
from vecdb.query.sources import Source as Asked
from vecdb.segment.bitmaps import pack
from vecdb.segment.fields import KEYWORD, parse
from vecdb.segment.fields_disk import FieldIndex, write_fields
from vecdb.segment.fields_memory import MemoryFields, SharedFields
from vecdb.segment.ranking import ranking

PATHS = ("n", "x", "tag", "long", "at", "place", "maybe", "none")
QUESTIONS = [kind for path in PATHS for kind in (Facets(path, 50), NumberStats(path))]
QUESTIONS += [TimeStats(path) for path in PATHS]
ROWS = len(VARIED)
ODD = pack(np.arange(ROWS) % 2 == 1)


def asked(source: Source, mask: np.ndarray | None = None) -> Asked:
    part = SimpleNamespace(rows=source.rows, slots=np.arange(source.rows, dtype=np.uint64))
    count = source.rows if mask is None else source.rows // 2
    return Asked(Candidates(part, mask, count), source)  # type: ignore[arg-type]


@pytest.mark.parametrize("mask", [None, ODD], ids=["all", "odd"])
def test_disk_and_memory_answer_the_same(mask: np.ndarray | None) -> None:
    disk, memory = on_disk(VARIED), in_memory(VARIED)
    one, other = (
        aggregate(QUESTIONS, [asked(disk, mask)]),
        aggregate(QUESTIONS, [asked(memory, mask)]),
    )
    assert one == other
    both = aggregate(QUESTIONS, [asked(disk, mask), asked(memory, ~ODD)])
    assert both.points == one.points + ROWS // 2
    rows = range(ROWS) if mask is None else range(1, ROWS, 2)
    chosen = {str(at): parse(VARIED[at]) for at in rows}
    for path in PATHS:
        for descending in (False, True):
            order = OrderBy(path, descending)
            places = following([asked(disk, mask)], order, None, ROWS)
            assert places == following([asked(memory, mask)], order, None, ROWS)
            expected = read_model.in_order(chosen, path, descending)
            assert [str(place.slot) for place in places] == expected
            after = following([asked(disk, mask)], order, places[9], 5) if places else []
            assert after == places[10:15]


def test_a_ranking_is_made_once_for_rows_that_never_change() -> None:
    disk = on_disk(VARIED).fields
    assert ranking(disk, "x", greatest=False) is ranking(disk, "x", greatest=False)
    assert ranking(disk, "x", greatest=False) is not ranking(disk, "x", greatest=True)
    for path in PATHS:
        ranking(disk, path, greatest=True)
    assert ranking(disk, "n", greatest=True).rank(0) == (1, 0)


def test_rows_in_memory_grow_while_they_are_summed() -> None:
    shared = SharedFields()
    payloads = {f"p{at}": parse(payload) for at, payload in enumerate(VARIED)}
    for rows in (200, 100, 700, 3):
        fields = MemoryFields(rows, VARIED, shared)
        found = aggregate([Facets("tag", 1_000)], [asked(Source(VARIED[:rows], fields))])
        expected = read_model.facets(dict(list(payloads.items())[:rows]), "tag")
        assert [count for _, count in found.results[0].values] == [n for _, n in expected]
        assert int(fields.tally("tag", KEYWORD, None).counts.sum()) == 2 * rows


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
        damaged[:] = [0x00, 0x7F, 0x80, 0xFF][seed % 4]
    source = Source(VARIED, FieldIndex(ROWS, damaged, directory, left_out))
    for mask in (None, ODD):
        assert len(aggregate(QUESTIONS, [asked(source, mask)]).results) == len(QUESTIONS)
        for path in PATHS:
            for descending in (False, True):
                for after in (None, Place((1, 3), 7), Place((3, b"rare"), 7)):
                    following([asked(source, mask)], OrderBy(path, descending), after, 20)
