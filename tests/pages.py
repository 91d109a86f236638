"""Pages of points, as messages."""

from __future__ import annotations

from collections.abc import Sequence

from vecdb.collection.snapshot import Page
from vecdb.rpc.pb.common_pb2 import Point
from vecdb.rpc.pb.points_pb2 import ListPointsResponse


def points_of(page: Page) -> Sequence[Point]:
    return ListPointsResponse.FromString(page.points).points
