"""What several tests of collections share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.collection.ranked import ranked_points
from vecdb.collection.collection import Collection


@pytest.fixture(scope="module")
def ranked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collection]:
    """Return the collection of ranked.py."""
    folder = tmp_path_factory.mktemp("ranked") / "data"
    with ranked_points(folder) as database, database.collection("c") as opened:
        yield opened
