"""What the native kernel makes of a graph's links, in numpy: as `reference`, a specification."""

import itertools

import numpy as np
from numpy.typing import NDArray

from .reference import L2
from .reference_checks import (
    check_alpha,
    check_array,
    check_between,
    check_entry,
    check_rows,
    check_shape,
)
from .reference_graph import NO_LINK, judge, links_of


def refine_links(
    links0: NDArray[np.uint32],
    entry: int,
    codes: NDArray[np.uint8],
    bounds: NDArray[np.float32],
    width: int,
    alpha: float,
    threads: int,
) -> NDArray[np.uint32]:
    """Return links (n, width) uint32 chosen anew among every row's neighbours and theirs.

    links0: (n, any) uint32, as search_graph reads it. RobustPrune of Vamana (Subramanya et al.,
    DiskANN, NeurIPS 2019, Algorithm 2) over the nearest 256 of the first 4,096 rows that one or two
    links lead to: from the nearest, link to each that is not occluded by one linked to before. Row
    s occludes t when alpha * distance(s, t) <= distance(row, t); the first round has alpha = 1, so
    that what a larger alpha >= 1 lets in comes after. Distances are squared euclidean, from codes
    and bounds, which suits L2, and DOT over rows of unit length. Then every row that only the old
    links lead to from `entry` gets a link back: from the nearest row that had one, that is itself
    led to, and that has a place to spare, one that no other row depends on.

    1 <= width <= 256. The result is the same for any number of threads, 1 to 256. Raises as
    search_graph does.
    """
    check_array("codes", codes, np.uint8, 2)
    check_rows("codes", codes)
    n = len(codes)
    check_array("bounds", bounds, np.float32, 2)
    check_shape("bounds", bounds, (n, 3))
    check_array("links0", links0, np.uint32, 2)
    check_shape("links0", links0, (n, links0.shape[1]))
    start = check_entry(entry, n)
    room = check_between("width", width, 256)
    slack = check_alpha(alpha)
    check_between("threads", threads, 256)
    old = [links_of(row, n) for row in links0]
    new = []
    for row in range(n):
        met = list(dict.fromkeys(itertools.chain(old[row], *(old[near] for near in old[row]))))
        met = [other for other in met if other != row][:4096]
        new.append(_prune(codes, bounds, row, met, room, slack))
    if n > 0:
        _reconnect(codes, bounds, old, new, start, room)
    refined = np.full((n, room), NO_LINK, np.uint32)
    for row, links in enumerate(new):
        refined[row, : len(links)] = links
    return refined


def _prune(
    codes: NDArray[np.uint8],
    bounds: NDArray[np.float32],
    row: int,
    met: list[int],
    width: int,
    alpha: float,
) -> list[int]:
    """Return the rows that a row is to link to, of those it met."""
    others = np.array(met, np.int64)
    distances = _distances(codes, bounds, row, others)
    order = np.lexsort((others, distances))[:256]
    others, distances = others[order], distances[order]
    occlusion = np.zeros(len(others))
    chosen: list[int] = []
    for limit in (1.0, alpha):
        for at, other in enumerate(others.tolist()):
            if len(chosen) == width or occlusion[at] >= limit or other in chosen:
                continue
            chosen.append(other)
            with np.errstate(all="ignore"):
                apart = _distances(codes, bounds, other, others)
                ratio = np.where(apart > 0, distances / apart, np.inf)
            occlusion[at + 1 :] = np.fmax(occlusion, ratio)[at + 1 :]
    return chosen


def _reconnect(
    codes: NDArray[np.uint8],
    bounds: NDArray[np.float32],
    old: list[list[int]],
    new: list[list[int]],
    entry: int,
    width: int,
) -> None:
    """Restore the way from the entry to every row that has lost it, changing `new`."""
    parents = {entry: entry}
    _spread(new, entry, parents)
    for row in _spread(old, entry, {entry: entry}):
        if row in parents:
            continue
        linking = [source for source, links in enumerate(old) if row in links and source in parents]
        sources = np.array(linking, np.int64)
        distances = _distances(codes, bounds, row, sources)
        for source in sources[np.lexsort((sources, distances))].tolist():
            links = new[source]
            spare = [at for at, other in enumerate(links) if parents.get(other) != source]
            if len(links) < width:
                links.append(row)
            elif spare:
                links[spare[-1]] = row
            else:
                continue
            parents[row] = source
            _spread(new, row, parents)
            break


def _spread(links: list[list[int]], start: int, parents: dict[int, int]) -> list[int]:
    """Return the rows that links lead to, breadth first, and note which row each was met from.

    Rows that have a parent already are not entered.
    """
    order = [start]
    for row in order:
        for linked in links[row]:
            if linked not in parents:
                parents[linked] = row
                order.append(linked)
    return order


def _distances(
    codes: NDArray[np.uint8], bounds: NDArray[np.float32], row: int, others: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return squared euclidean distances by codes, less what may be rounding, at least 0."""
    units = codes[row].astype(np.float64) - 128
    scale, _, norm2 = bounds[row].astype(np.float64)
    estimates = judge(L2, codes[others], bounds[others], units, scale, norm2)
    with np.errstate(all="ignore"):
        rounding = 2.0**-20 * (norm2 + bounds[others, 2].astype(np.float64))
        distances = -estimates.astype(np.float64) - rounding
    return np.where(np.isnan(distances), np.inf, np.maximum(distances, 0))
