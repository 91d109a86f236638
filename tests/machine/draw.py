"""What the machine draws: few ids and values that meet often, in the spaces of its collections."""

from __future__ import annotations

import hypothesis.strategies as st

from tests.filters import BY_VALUE, NESTED, OBJECTS, filters, joined, of_points
from tests.model import TEXT_FIELDS
from vecdb.types import Equals, Not, Range
from vecdb_client import Mask

DIM = 5
NAMES = [f"p{i}" for i in range(12)] + ["ключ", "🙂", "a/b", "A"]
IDS = st.sampled_from(NAMES)
NUMBERS = st.floats(-100, 100, width=32).filter(lambda x: x == 0 or abs(x) > 1e-3)


def dense(dim: int) -> st.SearchStrategy[list[float]]:
    return st.lists(NUMBERS, min_size=dim, max_size=dim).filter(any)


VECTORS = dense(DIM)
SEVERAL = st.lists(dense(3), min_size=1, max_size=4)
SPARSE = st.dictionaries(
    st.integers(0, 6) | st.just(2**32 - 1), NUMBERS.filter(bool), min_size=1, max_size=3
)
OTHERS = {"late": SEVERAL, "sparse": SPARSE}
BY_SPACE = st.one_of(
    st.fixed_dictionaries({"": VECTORS}, optional=OTHERS),
    st.fixed_dictionaries({"": VECTORS, **OTHERS}),
    st.fixed_dictionaries({}, optional=OTHERS),
)
"""A vector for each space that a point has one in."""

SCALARS = st.one_of(
    st.integers(-3, 3), st.sampled_from([0.5, 1.0, 2.5]), st.sampled_from(["x", "y"]), st.booleans()
)
SIMPLE = st.dictionaries(
    st.sampled_from(["a", "b"]), st.one_of(SCALARS, st.lists(SCALARS, max_size=2), st.none())
)
TEXTS = st.lists(st.sampled_from(["x", "y", "runs", "Running", "é"]), max_size=4).map(" ".join)
WRITTEN = st.dictionaries(st.sampled_from(["a", "b"]), TEXTS | st.lists(TEXTS, max_size=2))
PAYLOADS = st.one_of(SIMPLE, WRITTEN, OBJECTS)
POINTS = st.lists(st.tuples(IDS, BY_SPACE, PAYLOADS), min_size=1, max_size=30)

NUMBERED = st.builds(Range, st.sampled_from(["a", "b"]), gte=st.integers(-3, 0), lte=st.just(1.5))
EQUAL = st.builds(Equals, st.sampled_from(["a", "b", "c"]), SCALARS)
DRAWN = NAMES, ["", "late", "sparse"], list(TEXT_FIELDS)
SOME = st.one_of(EQUAL, NUMBERED, st.builds(Not, EQUAL), filters(*DRAWN))
CONDITIONS = {**BY_VALUE, **joined(EQUAL), **of_points(*DRAWN), "nested": NESTED}
"""What those filters are made of, by the protocol's word for them."""
FILTERS = st.one_of(st.none(), SOME)
FEW = st.integers(1, 20)
OFFSETS = st.sampled_from([0, 0, 1, 3])

PATHS = st.sampled_from(["a", "b", "c", "a.b", "c.d"])
ARRAYS = st.dictionaries(PATHS, st.lists(SCALARS, max_size=2), max_size=2)
MOVED = st.fixed_dictionaries(
    {}, optional={name: st.none() | one for name, one in {"": VECTORS, **OTHERS}.items()}
)
EDITS = st.fixed_dictionaries(
    {"set": st.dictionaries(PATHS, st.one_of(SCALARS, st.lists(SCALARS, max_size=2)), max_size=2)},
    optional={
        "unset": st.lists(PATHS, max_size=2),
        "append": ARRAYS,
        "remove": ARRAYS,
        "vectors": MOVED,
    },
)
EXPECTED = st.sampled_from(["any", "any", "actual", "absent", "other"])
WRITES = st.sampled_from(["put", "patch", "patch", "delete"])
CHANGES = st.lists(
    st.tuples(WRITES, IDS, BY_SPACE, PAYLOADS, EDITS, EXPECTED), min_size=1, max_size=12
)
MASKS = st.one_of(
    st.sampled_from([True, True, False]),
    st.builds(
        Mask,
        st.lists(PATHS, max_size=2),
        st.lists(PATHS, min_size=1, max_size=2),
    ),
)
