"""comparable_query against vecdb.segment.vectors.comparable, which says it in numpy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from vecdb import kernel
from vecdb.segment.vectors import comparable
from vecdb.types import Metric
from vecdb.write.prepare import LENGTH_MAX

finite = st.floats(-(2.0**56), 2.0**56, width=32)
vectors = arrays(np.float32, st.integers(1, 70), elements=finite).filter(lambda v: v.any())


@given(vectors)
def test_a_query_is_made_what_rows_are_made(vector: np.ndarray) -> None:
    unit = kernel.comparable_query(vector, len(vector), True, LENGTH_MAX)
    assert unit is not None
    # The order of a sum may differ, and with it the last bit.
    expected = comparable(vector[None], Metric.COSINE)[0]
    np.testing.assert_allclose(unit, expected, rtol=2e-7, atol=1e-45)
    plain = kernel.comparable_query(vector.tobytes(), len(vector), False, LENGTH_MAX)
    assert plain is not None
    assert plain.tobytes() == vector.tobytes()


@given(vectors, st.sampled_from([np.nan, np.inf, -np.inf, 2.0**60]), st.data())
def test_somebody_must_look_closer_at_what_is_not_sound(
    vector: np.ndarray, wrong: float, data: st.DataObject
) -> None:
    vector[data.draw(st.integers(0, len(vector) - 1))] = wrong
    assert kernel.comparable_query(vector, len(vector), True, LENGTH_MAX) is None


@pytest.mark.parametrize("unit", [True, False])
def test_somebody_must_look_closer_at_zero_and_at_another_size(unit: bool) -> None:
    ones = np.ones(4, np.float32)
    assert kernel.comparable_query(np.zeros(4, np.float32), 4, unit, LENGTH_MAX) is None
    for dim in (0, 3, 5, 1 << 62):
        assert kernel.comparable_query(ones, dim, unit, LENGTH_MAX) is None
    assert kernel.comparable_query(b"\0" * 15, 4, unit, LENGTH_MAX) is None


def test_what_is_no_vector_is_refused() -> None:
    with pytest.raises(TypeError):
        kernel.comparable_query("text", 4, True, LENGTH_MAX)
    with pytest.raises(ValueError, match="contiguous"):
        kernel.comparable_query(np.ones((4, 2), np.float32)[:, 0], 4, True, LENGTH_MAX)
