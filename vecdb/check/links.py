"""Whether the graphs of a segment lead anywhere they should not: every link is looked at."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from vecdb.segment.graph import Graph
from vecdb.segment.segment import Segment
from vecdb.types import U32, Schema, SparseSpace

NO_LINK = 0xFFFFFFFF


def bad_links(segment: Segment, schema: Schema) -> Iterator[str]:
    """Yield what is wrong with the graphs of a segment's spaces."""
    for space in schema.all_spaces:
        graph = None if isinstance(space, SparseSpace) else segment.graph(space.name)
        if graph is not None:
            for what in _bad(graph):
                yield f"segment {segment.folder.name}: the graph of space {space.name!r} {what}"


def _bad(graph: Graph) -> Iterator[str]:
    rows = len(graph.links0)
    if outside := _outside(graph.links0, rows):
        yield f"has {outside} links past its {rows} vectors"
    if outside := _outside(graph.upper_links, rows):
        yield f"has {outside} links past its {rows} vectors, on upper levels"
    for level, (begin, end) in enumerate(
        zip(graph.upper_offsets[:-1].tolist(), graph.upper_offsets[1:].tolist(), strict=True), 1
    ):
        members = graph.upper_rows[begin:end]
        if len(members) and (
            int(members.max()) >= rows or (np.diff(members.astype(int)) <= 0).any()
        ):
            yield f"has rows on level {level} that do not ascend, or are past its {rows} vectors"
            continue
        links = graph.upper_links[begin:end]
        strays = ~np.isin(links[links != NO_LINK], members)
        if strays.any():
            yield f"has {int(strays.sum())} links on level {level} to vectors that are not on it"


def _outside(links: U32, rows: int) -> int:
    return int(np.count_nonzero((links >= rows) & (links != NO_LINK)))
