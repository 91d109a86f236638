import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vecdb.embed.cache import ENTRY_BYTES, Kept, VectorCache
from vecdb.embed.encoder import Pair, Role
from vecdb.errors import InvalidArgument
from vecdb.types import SparseVector

VECTOR = np.arange(25, dtype=np.float32)
ROOM = ENTRY_BYTES + VECTOR.nbytes


def kept(first=0.0):
    return Kept(np.full(25, first, np.float32), 3, False)


def test_what_was_put_comes_back():
    cache = VectorCache(10 * ROOM)
    key = cache.key("f", Role.QUERY, "text")
    assert cache.get(Role.QUERY, key) is None
    cache.put(Role.QUERY, key, kept(7))
    assert cache.get(Role.QUERY, key).output[0] == 7
    assert cache.bytes == ROOM


ITEMS = (
    st.text(max_size=8)
    | st.binary(max_size=8)
    | st.builds(Pair, st.text(max_size=8), st.text(max_size=8))
)
ASKED = st.tuples(st.sampled_from(["f", "g"]), st.sampled_from(list(Role)), ITEMS)


@given(ASKED, ASKED)
def test_keys_are_equal_where_everything_is(one, other):
    cache = VectorCache(1 << 20)
    same = one == other and type(one[2]) is type(other[2])
    assert (cache.key(*one) == cache.key(*other)) == same


def test_what_was_used_longest_ago_leaves_first():
    cache = VectorCache(2 * 3 * ROOM)
    keys = [cache.key("f", Role.QUERY, str(n)) for n in range(4)]
    for key in keys[:3]:
        cache.put(Role.QUERY, key, kept())
    cache.get(Role.QUERY, keys[0])
    cache.put(Role.QUERY, keys[3], kept())
    assert [cache.get(Role.QUERY, key) is not None for key in keys] == [True, False, True, True]
    assert cache.bytes == 3 * ROOM


def test_documents_do_not_push_out_queries():
    cache = VectorCache(2 * 3 * ROOM)
    query = cache.key("f", Role.QUERY, "asked often")
    cache.put(Role.QUERY, query, kept())
    for n in range(100):
        cache.put(Role.DOCUMENT, cache.key("f", Role.DOCUMENT, str(n)), kept())
    assert cache.get(Role.QUERY, query) is not None
    assert cache.bytes == 4 * ROOM


@pytest.mark.parametrize(
    "output",
    [InvalidArgument("no"), np.zeros(10_000, np.float32)],
    ids=["an error", "larger than the room"],
)
def test_what_is_not_kept(output):
    cache = VectorCache(6 * ROOM)
    key = cache.key("f", Role.QUERY, "text")
    cache.put(Role.QUERY, key, Kept(output, 1, False))
    assert cache.get(Role.QUERY, key) is None
    assert cache.bytes == 0


def test_sparse_vectors_are_kept():
    cache = VectorCache(1 << 20)
    key = cache.key("f", Role.DOCUMENT, "text")
    sparse = SparseVector(np.array([3, 9], np.uint32), np.array([1, 2], np.float32))
    cache.put(Role.DOCUMENT, key, Kept(sparse, 2, False))
    assert cache.get(Role.DOCUMENT, key).output is sparse
    assert cache.bytes == ENTRY_BYTES + 16


def test_no_room_keeps_nothing():
    cache = VectorCache(0)
    assert cache.key("f", Role.QUERY, "text") == b""
    cache.put(Role.QUERY, b"", kept())
    assert cache.bytes == 0


def test_what_is_forgotten_takes_no_room():
    cache = VectorCache(10 * ROOM)
    for role in Role:
        cache.put(role, cache.key("f", role, "text"), kept())
    assert cache.forget() == len(Role)
    assert cache.bytes == 0
    assert cache.get(Role.QUERY, cache.key("f", Role.QUERY, "text")) is None
    assert cache.forget() == 0
