"""encode_hits against the record codec and the protobuf classes, which are its specification."""

from __future__ import annotations

import itertools
import struct
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vecdb import kernel
from vecdb.rpc.pb import search_pb2 as pb
from vecdb.rpc.pb.common_pb2 import Point
from vecdb.rpc.pb.points_pb2 import ListPointsResponse
from vecdb.storage import codec

NAMES = {0: "", 7: "title", 65_535: "größe", 9: "words", 10: "terms", 11: "tokens", 12: "rows"}
SPARSE = [9, 10]
MULTI = {11: 3, 12: 300}
U64_MAX = (1 << 64) - 1


@dataclass(frozen=True)
class Stored:
    slot: int
    id: str
    payload: bytes
    version: int
    cells: list[tuple[int, bytes, str]]
    score: float
    distance: float
    expires_at_ms: int = 0

    def sealed(self) -> bytes:
        cells = [(n, memoryview(vector), text.encode()) for n, vector, text in self.cells]
        name = self.id.encode()
        return codec.encode_point(
            self.slot, name, self.payload, self.version, cells, self.expires_at_ms
        )[1]

    def fill(self, hit: pb.Hit | Point, parts: tuple[bool, bool, bool]) -> None:
        payload, vectors, texts = parts
        hit.id, hit.version = self.id, self.version
        if isinstance(hit, pb.Hit):
            hit.score, hit.distance = self.score, self.distance
        if self.expires_at_ms:  # which of a point is one of two
            hit.expires_at_ms = self.expires_at_ms
        if payload:
            hit.payload = self.payload
        for number, vector, text in self.cells:
            if vectors and number in SPARSE:
                half = len(vector) // 2
                sparse = hit.vectors[NAMES[number]].sparse
                sparse.SetInParent()
                sparse.indices.extend(struct.unpack(f"<{half // 4}I", vector[:half]))
                sparse.values.extend(struct.unpack(f"<{half // 4}f", vector[half:]))
            elif vectors and number in MULTI:
                multi = hit.vectors[NAMES[number]].multi
                multi.f32, multi.dim = vector, MULTI[number]
            elif vectors:
                hit.vectors[NAMES[number]].f32 = vector
            if texts and text:
                hit.texts[NAMES[number]] = text


words = st.text(st.characters(exclude_categories=["Cs"]), max_size=200)
vectors = st.integers(0, 90).flatmap(lambda dim: st.binary(min_size=4 * dim, max_size=4 * dim))
values = st.tuples(st.integers(0, 2**32 - 1), st.floats(width=32, allow_nan=False))
sparse_vectors = st.lists(values, max_size=9).map(
    lambda held: (
        struct.pack(f"<{len(held)}I", *(index for index, _ in held))
        + struct.pack(f"<{len(held)}f", *(value for _, value in held))
    )
)
dense_names = st.sampled_from(sorted(NAMES.keys() - SPARSE - MULTI.keys()))
several = st.sampled_from(sorted(MULTI)).flatmap(
    lambda number: st.tuples(
        st.just(number),
        st.integers(1, 5).map(lambda n: (bytes(range(256)) * 24)[: 4 * n * MULTI[number]]),
        st.just(""),
    )
)
cells = st.lists(
    st.one_of(
        st.tuples(dense_names, vectors, words),
        st.tuples(st.sampled_from(SPARSE), sparse_vectors, st.just("")),
        several,
    ),
    unique_by=lambda c: c[0],
    max_size=4,
)
stored = st.builds(
    Stored,
    slot=st.integers(0, U64_MAX),
    id=words,
    payload=st.binary(max_size=300),
    version=st.integers(0, U64_MAX),
    cells=cells,
    score=st.floats(width=32, allow_nan=False),
    distance=st.floats(width=32, allow_nan=False),
    expires_at_ms=st.just(0) | st.integers(0, (1 << 63) - 1),
)
parts_asked = st.tuples(st.booleans(), st.booleans(), st.booleans())


def encode(
    points: list[Stored],
    records: list[bytes | None] | None = None,
    *,
    k: int = 100,
    bytes_max: int = 1 << 30,
    parts: tuple[bool, bool, bool] = (True, False, False),
    legs: tuple[np.ndarray | None, np.ndarray | None] = (None, None),
    payloads: list[bytes] | None = None,
    more: list[bytes] | None = None,
    as_points: bool = False,
) -> tuple[bytes, int, list[int]]:
    cells = [point.sealed() for point in points] if records is None else records
    return kernel.encode_hits(
        [point.slot for point in points],
        [None if cell is None else memoryview(cell) for cell in cells],
        [point.score for point in points],
        [point.distance for point in points],
        k,
        bytes_max,
        *parts,
        NAMES,
        SPARSE,
        MULTI,
        *legs,
        payloads,
        more,
        as_points,
    )


def response_of(points: list[Stored], parts: tuple[bool, bool, bool]) -> pb.QueryResponse:
    response = pb.QueryResponse()
    for point in points:
        point.fill(response.hits.add(), parts)
    return response


@given(st.lists(stored, max_size=5), parts_asked)
def test_hits_are_what_protobuf_would_send(points: list[Stored], parts: tuple) -> None:
    encoded, count, damaged = encode(points, parts=parts)
    expected = response_of(points, parts)
    assert (count, damaged) == (len(points), [])
    assert pb.QueryResponse.FromString(encoded) == expected
    assert len(encoded) == expected.ByteSize()
    # Only the entries of a map may come in another order.
    if not (parts[1] or parts[2]):
        assert encoded == expected.SerializeToString(deterministic=True)


@given(st.lists(stored, max_size=4), st.integers(0, 3), parts_asked, st.data())
def test_what_legs_said_goes_with_their_hits(
    points: list[Stored], legs: int, parts: tuple, data: st.DataObject
) -> None:
    shape = (len(points), legs)
    held = data.draw(
        st.lists(
            st.tuples(st.integers(0, 2**32 - 1) | st.integers(0, 2), st.floats(width=32)),
            min_size=len(points) * legs,
            max_size=len(points) * legs,
        )
    )
    ranks = np.array([rank for rank, _ in held], np.uint32).reshape(shape)
    scores = np.array([score for _, score in held], np.float32).reshape(shape)
    encoded, count, _ = encode(points, parts=parts, legs=(ranks, scores))
    expected = response_of(points, parts)
    for row, hit in enumerate(expected.hits):
        for leg in range(legs):
            if ranks[row, leg]:
                hit.legs.add(leg=leg, score=float(scores[row, leg]), rank=int(ranks[row, leg]))
    assert count == len(points)
    assert len(encoded) == expected.ByteSize()
    found = pb.QueryResponse.FromString(encoded)
    # As text: NaN is not equal to itself, and -0.0 is to 0.0.
    assert str(found) == str(expected)


@given(st.lists(st.tuples(stored, st.binary(max_size=300)), max_size=4), parts_asked)
def test_payloads_that_are_given_stand_in_place_of_the_records(
    given_: list[tuple[Stored, bytes]], parts: tuple
) -> None:
    points = [point for point, _ in given_]
    encoded, count, _ = encode(points, parts=parts, payloads=[payload for _, payload in given_])
    expected = response_of([replace(point, payload=payload) for point, payload in given_], parts)
    assert count == len(points)
    assert pb.QueryResponse.FromString(encoded) == expected
    assert len(encoded) == expected.ByteSize()


@given(st.lists(stored, max_size=4), parts_asked)
def test_points_are_what_protobuf_would_send(points: list[Stored], parts: tuple) -> None:
    plain = [replace(point, score=0.0, distance=0.0) for point in points]
    encoded, count, damaged = encode(plain, parts=parts, as_points=True)
    expected = ListPointsResponse()
    for point in plain:
        point.fill(expected.points.add(), parts)
    assert (count, damaged) == (len(points), [])
    assert ListPointsResponse.FromString(encoded) == expected
    assert len(encoded) == expected.ByteSize()


@given(stored, st.data())
def test_every_flipped_bit_is_noticed(point: Stored, data: st.DataObject) -> None:
    sealed = bytearray(point.sealed())
    sealed[data.draw(st.integers(0, len(sealed) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    assert encode([point], [bytes(sealed)]) == (b"", 0, [0])
    with pytest.raises(codec.Corrupt):
        codec.decode_point(point.slot, bytes(sealed))


@given(stored, st.binary(max_size=100))
def test_bytes_that_are_no_record_are_damaged(point: Stored, junk: bytes) -> None:
    assert encode([point], [junk]) == (b"", 0, [0])


@given(stored, st.binary(max_size=60), parts_asked)
def test_a_sealed_record_whose_lengths_lie_is_damaged(
    point: Stored, head: bytes, parts: tuple
) -> None:
    key = codec.slot_key(point.slot)
    value = head + codec.unseal(b"points", key, point.sealed())[len(head) :]
    sealed = codec.seal(b"points", key, value)
    encoded, count, damaged = encode([point], [sealed], parts=parts)
    try:
        record = codec.decode_point(point.slot, sealed)
    except codec.Corrupt:
        assert (encoded, count, damaged) == (b"", 0, [0])
        return
    assert count + len(damaged) == 1
    if count:
        # Compared as bytes: an id that is no UTF-8 is not protobuf's to read.
        assert record.value[: len(head)] == head


def test_a_record_under_another_key_is_damaged() -> None:
    point = Stored(1, "a", b"{}", 1, [], 0.5, 0.5)
    moved = Stored(2, "a", b"{}", 1, [], 0.5, 0.5)
    assert encode([moved], [point.sealed()]) == (b"", 0, [0])


def test_a_vector_of_a_space_that_was_dropped_is_left_out() -> None:
    cells = [(3, b"\0" * 8, "text"), (min(NAMES.keys() - SPARSE), b"\0" * 8, "")]
    point = Stored(1, "a", b"{}", 1, cells, 0.5, 0.5)
    for parts in itertools.product((True, False), repeat=3):
        encoded, count, damaged = encode([point], parts=parts)
        assert (count, damaged) == (1, [])
        left = replace(point, cells=cells[1:])
        assert pb.QueryResponse.FromString(encoded) == response_of([left], parts)


def test_missing_and_damaged_records_cost_their_own_place_only() -> None:
    points = [Stored(slot, f"p{slot}", b"{}", 1, [], 1.0 - slot, float(slot)) for slot in range(6)]
    records: list[bytes | None] = [point.sealed() for point in points]
    records[0], records[2] = None, b"junk"
    encoded, count, damaged = encode(points, records, k=3)
    assert (count, damaged) == (3, [0, 2])
    assert [hit.id for hit in pb.QueryResponse.FromString(encoded).hits] == ["p1", "p3", "p4"]


def test_no_hit_is_begun_past_the_limit_of_bytes() -> None:
    points = [Stored(slot, "p", b"x" * 100, 1, [], 0.5, 0.5) for slot in range(10)]
    encoded, count, _ = encode(points, bytes_max=250)
    assert count == 3
    assert len(encoded) > 250


def test_lists_of_unequal_length_are_refused() -> None:
    with pytest.raises(ValueError, match="equal lengths"):
        kernel.encode_hits([1], [], [0.5], [0.5], 1, 1, True, False, False, {}, [], {})
    with pytest.raises(TypeError):
        kernel.encode_hits([1], ["text"], [0.5], [0.5], 1, 1, True, False, False, {}, [], {})


def test_payloads_are_one_a_slot() -> None:
    point = Stored(1, "a", b"", 1, [], 0.5, 0.5)
    with pytest.raises(ValueError, match="payloads: expected one for each slot"):
        encode([point], payloads=[])
    with pytest.raises(TypeError):
        encode([point], payloads=[None])
    assert encode([point], [b"junk"], payloads=[b""]) == (b"", 0, [0])


@given(st.lists(stored, max_size=4), st.lists(words, min_size=4, max_size=4), parts_asked)
def test_further_fields_are_part_of_their_hit(points: list, texts: list, parts: tuple) -> None:
    further = [pb.Hit(highlights=[pb.Highlight(field=text)]) for text in texts[: len(points)]]
    more = [hit.SerializeToString() for hit in further]
    expected = response_of(points, parts)
    for hit, added in zip(expected.hits, further, strict=True):
        hit.MergeFrom(added)
    encoded, count, damaged = encode(points, parts=parts, more=more)
    assert pb.QueryResponse.FromString(encoded) == expected
    assert (count, damaged) == (len(points), [])


def test_further_fields_are_one_a_slot() -> None:
    point = Stored(1, "a", b"", 1, [], 0.5, 0.5)
    with pytest.raises(ValueError, match="more: expected one for each slot"):
        encode([point], more=[])
    with pytest.raises(TypeError):
        encode([point], more=[None])
    assert encode([point], [b"junk"], more=[b"\x52\x00"]) == (b"", 0, [0])


def test_what_legs_said_is_an_array_of_hits_and_legs() -> None:
    points = [Stored(1, "a", b"", 1, [], 0.5, 0.5)]
    ranks, scores = np.ones((1, 2), np.uint32), np.ones((1, 2), np.float32)
    with pytest.raises(TypeError, match="leg_scores: expected a float32 array"):
        encode(points, legs=(ranks, None))
    with pytest.raises(TypeError, match="leg_ranks: expected dtype uint32"):
        encode(points, legs=(scores, scores))
    for wrong in (ranks[:, :1], ranks[:0]):
        with pytest.raises(ValueError, match="expected shape"):
            encode(points, legs=(wrong.copy(), scores))


def test_layouts_of_the_future_are_damaged() -> None:
    key = codec.slot_key(5)
    value = struct.pack("<BBHIQ", 3, 0, 0, 0, 1)
    point = Stored(5, "", b"", 1, [], 0.5, 0.5)
    assert encode([point], [codec.seal(b"points", key, value)]) == (b"", 0, [0])


@pytest.mark.parametrize("rest", [b"", bytes(7), bytes(8), bytes(16)])
def test_a_record_that_expires_says_when(rest: bytes) -> None:
    key = codec.slot_key(5)
    for payload_bytes in (0, 8):
        sealed = codec.seal(b"points", key, struct.pack("<BBHIQ", 2, 0, 0, payload_bytes, 1) + rest)
        point = Stored(5, "", b"", 1, [], 0.5, 0.5)
        assert encode([point], [sealed]) == (b"", 0, [0])
        with pytest.raises(codec.Corrupt):
            codec.decode_point(5, sealed)


def test_a_sparse_cell_of_half_a_value_is_damaged() -> None:
    point = Stored(1, "p", b"", 1, [(9, bytes(12), "")], 0.5, 0.5)
    assert encode([point], parts=(False, True, False)) == (b"", 0, [0])
    assert encode([point], parts=(True, False, False))[1] == 1


@pytest.mark.parametrize("size", [0, 4, 20])
def test_a_cell_of_half_a_vector_is_damaged(size: int) -> None:
    point = Stored(1, "p", b"", 1, [(11, bytes(size), "")], 0.5, 0.5)
    assert encode([point], parts=(False, True, False)) == (b"", 0, [0])
    assert encode([point], parts=(True, False, False))[1] == 1
