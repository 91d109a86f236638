import numpy as np
from numpy.typing import NDArray

DOT: int
"""Score is the dot product; cosine similarity when rows and query have unit length."""
L2: int
"""Score is minus the squared euclidean distance."""
L1: int
"""Score is minus the sum of the absolute differences: the manhattan distance."""
DIM_MAX: int
"""The most values a row may have, so that integer dot products stay within 32 bits."""
NO_LINK: int
"""Ends a row of links that has room for more."""

def instruction_set() -> str:
    """Return the name of the instruction set that the loops run with."""

def products(vectors: NDArray[np.float32], others: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the dot product of every vector (n, dim) with every other (m, dim), (n, m) float32.

    The bits of each are those of scan_f32's score. Raises TypeError and ValueError as scan_f32.
    """

def max_sim(query: NDArray[np.float32], vectors: NDArray[np.float32], unit: bool) -> float:
    """Return the sum, over a query's vectors, of the greatest dot product with one of a point's.

    query: (q, dim) float32, q >= 1. vectors: (n, dim) float32, n >= 1. unit: each product is
    divided by the length of the point's vector; NaN where one squared is below 1e-30 or above 1e30.
    The bits depend on the numbers alone, not on the machine. Raises TypeError and ValueError as
    scan_f32.
    """

def comparable_query(
    query: bytes | NDArray[np.float32], dim: int, unit: bool, length_max: float
) -> NDArray[np.float32] | None:
    """Return a query (dim,) as scans compare it, or None where somebody must look closer.

    query: dim little-endian float32. None unless it has that size and a length above 0 and up to
    length_max, which no value that is not finite leaves it. unit: divide by the length.
    """

def encode_hits(
    slots: list[int],
    records: list[bytes | memoryview | None],
    scores: list[float],
    distances: list[float],
    k: int,
    bytes_max: int,
    payload: bool,
    vectors: bool,
    texts: bool,
    spaces: dict[int, str],
    sparse: list[int],
    multi: dict[int, int],
    leg_ranks: NDArray[np.uint32] | None = None,
    leg_scores: NDArray[np.float32] | None = None,
    payloads: list[bytes] | None = None,
    more: list[bytes] | None = None,
    as_points: bool = False,
) -> tuple[bytes, int, list[int]]:
    """Return stored points as hits on the wire, how many, and the places of damaged records.

    records: the sealed point record of each slot, as FORMAT.md lays it out, or None where there is
    none. The bytes are field 1 of a QueryResponse (search.proto) over and over, in the order of
    the slots: at most k hits, and none is begun once there are more than bytes_max bytes. A record
    that fails its checksum, or whose lengths do not add up, is left out, and so is None. payload,
    vectors and texts say which parts of a point are sent, of vectors those in the spaces of
    `spaces` (number to name). sparse: numbers of the spaces whose cells are indices and values.
    multi: number to dim of those whose cells are one vector behind the other.
    leg_ranks and leg_scores, (len(slots), legs) and given together: what each leg of a query said
    of a hit; rank 0, and it is not among the hit's legs. payloads: what to send in place of each
    record's own. more: further fields of each Hit, as the wire has them. as_points: field 1 of a
    ListPointsResponse (points.proto), a Point, instead; scores and distances are 0 then, no leg
    says anything, and there is no more.
    """

def quantize(vectors: NDArray[np.float32]) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Return codes (n, dim) uint8 and bounds (n, 3) float32 of vectors (n, dim) float32.

    With scale = max|x| / 127, codes[i, j] = round(x / scale) + 128. bounds[i] is (scale, error,
    norm2): error is the euclidean norm of x - scale * (code - 128), norm2 the squared norm of
    scale * (code - 128), both rounded up. A row with a value that is not finite has error = inf.
    """

def scan_f32(
    metric: int,
    vectors: NDArray[np.float32],
    query: NDArray[np.float32],
    k: int,
    allowed: NDArray[np.uint64] | None,
) -> tuple[NDArray[np.uint32], NDArray[np.float32]]:
    """Return the rows and scores of the best min(k, allowed rows), best first, ties by lower row.

    vectors: (n, dim), n < 2**32, 1 <= dim <= DIM_MAX. query: (dim,). metric: DOT, L2 or L1.
    k >= 1. allowed: bit i & 63 of word i >> 6 admits row i, bits beyond n are ignored; None admits
    all.
    A score that is not a number ranks last. The bits of a score depend on the row and the query
    only, not on the machine. Raises TypeError for a wrong type or dtype, ValueError for a wrong
    value, shape or layout.
    """

def scan_i8(
    metric: int,
    codes: NDArray[np.uint8],
    bounds: NDArray[np.float32],
    vectors: NDArray[np.float32],
    query: NDArray[np.float32],
    k: int,
    allowed: NDArray[np.uint64] | None,
) -> tuple[NDArray[np.uint32], NDArray[np.float32]]:
    """Return what scan_f32 returns, bit for bit, reading one byte per value of most rows.

    codes (n, dim) and bounds (n, 3) are what `quantize` made of vectors; if they are not, the rows
    returned may not be the best, but they are allowed rows with their true scores. Otherwise as
    scan_f32.
    """

def scan_many(
    metric: int,
    codes: NDArray[np.uint8],
    bounds: NDArray[np.float32],
    vectors: NDArray[np.float32],
    queries: NDArray[np.float32],
    k: int,
    allowed: NDArray[np.uint64] | None,
    threads: int,
) -> tuple[NDArray[np.uint32], NDArray[np.float32]]:
    """Return what scan_i8 returns for each of many queries, stacked, found by many threads.

    queries: (q, dim) float32. Rows and scores are (q, min(k, allowed rows)). 1 <= threads <= 256;
    their number changes nothing but time. Otherwise as scan_i8.
    """

def search_graph(
    metric: int,
    links0: NDArray[np.uint32],
    upper_offsets: NDArray[np.uint64],
    upper_rows: NDArray[np.uint32],
    upper_links: NDArray[np.uint32],
    entry: int,
    codes: NDArray[np.uint8],
    bounds: NDArray[np.float32],
    vectors: NDArray[np.float32],
    query: NDArray[np.float32],
    k: int,
    ef: int,
    allowed: NDArray[np.uint64] | None,
) -> tuple[NDArray[np.uint32], NDArray[np.float32], int]:
    """Return rows and scores of near neighbours, best first, and how many rows the walk visited.

    The graph is HNSW's (Malkov & Yashunin 2016, arXiv:1603.09320, Algorithms 2 and 5), frozen into
    arrays; every link is the number of a row, and NO_LINK ends a row of links that has room left.
    links0: (n, width) uint32, the links of every row on level 0. Of a level l >= 1,
    upper_rows[upper_offsets[l - 1] : upper_offsets[l]] (uint32) are the rows, ascending, and
    upper_links, (len(upper_rows), upper_width) uint32, holds the links of each. upper_offsets:
    (levels + 1,) uint64, ascending from 0 to len(upper_rows). entry: the row to start from, any
    int when n is 0.

    Level by level from the top, the walk goes to the best linked row for as long as it is better
    than where it stands. On level 0 it expands the best row it has met, until that is worse than
    the worst of a full pool: the best p allowed rows met. So it returns fewer than k rows only when
    links lead to no more allowed ones. "Better" is by an estimate from codes and bounds (what
    `quantize` made of vectors), ties by lower row. The answer is the best k of the pool by the
    score, and in the order, of scan_f32.

    p is max(ef, k) when all rows are allowed. When a share s of them is, and a share t of those
    expanded so far, it is u * max(ef, k) + 0.75 * k * (1 - u), where u = max(s, t), times
    2 - 2 * t / s where that is more than 1; rounded up, and at least k. So a search under a filter
    finds about as large a part of the true k as one without.

    A link that is no row is passed over; whatever links, codes and bounds say, the rows are
    distinct, allowed and have their true scores. A query that is not finite is answered by
    scan_f32. ef >= 1. Otherwise, and in what it raises, as scan_i8.
    """

def search(
    metric: int,
    links0: NDArray[np.uint32],
    upper_offsets: NDArray[np.uint64],
    upper_rows: NDArray[np.uint32],
    upper_links: NDArray[np.uint32],
    entry: int,
    codes: NDArray[np.uint8],
    bounds: NDArray[np.float32],
    vectors: NDArray[np.float32],
    query: NDArray[np.float32],
    k: int,
    ef: int,
    allowed: NDArray[np.uint64] | None,
) -> tuple[NDArray[np.uint32], NDArray[np.float32], int, bool]:
    """Return min(k, allowed rows) near neighbours, how many the walk visited, and whether scanned.

    Walks as search_graph does, or scans the allowed rows as scan_i8 does. It scans

    - when that is expected to cost less: a * (dim + 64) for a allowed rows, against
      0.625 * width * p * n / a * (dim + 448) for a walk that gathers p rows;
    - when the query is not finite, or k rows or fewer are allowed;
    - when the walk has visited so many rows, before it ended, that it has cost a quarter of the
      scan and twice what was expected: the filter excludes what is near the query;
    - when the walk ends with fewer than k rows.

    Arguments and what it raises as search_graph. Rows are allowed and distinct, and have their true
    scores, whatever the arrays say; a scan finds the true best.
    """

def search_many(
    metric: int,
    links0: NDArray[np.uint32],
    upper_offsets: NDArray[np.uint64],
    upper_rows: NDArray[np.uint32],
    upper_links: NDArray[np.uint32],
    entry: int,
    codes: NDArray[np.uint8],
    bounds: NDArray[np.float32],
    vectors: NDArray[np.float32],
    queries: NDArray[np.float32],
    k: int,
    ef: int,
    allowed: NDArray[np.uint64] | None,
    threads: int,
) -> tuple[NDArray[np.uint32], NDArray[np.float32], NDArray[np.uint32], NDArray[np.bool_]]:
    """Return what search returns for each of many queries, stacked, found by many threads.

    queries: (q, dim) float32. Rows and scores are (q, min(k, allowed rows)), visited and scanned
    (q,). 1 <= threads <= 256; their number changes nothing but time. Otherwise as search.
    """

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

def row_bits(rows: NDArray[np.uint32], n: int) -> NDArray[np.uint64]:
    """Return the bitmap (ceil(n / 64),) uint64 of n rows in which these rows are set.

    rows: (any,) in any order, also repeatedly; those past the last are passed over. Row i is bit
    i & 63 of word i >> 6. 0 <= n < 2**32. Raises as scan_f32 does.
    """

def count_bits(bits: NDArray[np.uint64], n: int) -> int:
    """Return how many of the first n rows are set in a bitmap of at least ceil(n / 64) words."""

def pick_bits(bits: NDArray[np.uint64], n: int, rows: NDArray[np.uint32]) -> NDArray[np.uint64]:
    """Return the bitmap of len(rows) rows of which bit i is the bit of row rows[i] of n.

    A row past the last counts as not set. bits: at least ceil(n / 64) words.
    """

def search_text(
    rows: NDArray[np.uint32],
    counts: NDArray[np.uint32],
    lengths: NDArray[np.uint32],
    starts: NDArray[np.uint64],
    stops: NDArray[np.uint64],
    fields: NDArray[np.uint32],
    weights: NDArray[np.float32],
    norms: NDArray[np.float32],
    k: int,
    allowed: NDArray[np.uint64] | None,
) -> tuple[NDArray[np.uint32], NDArray[np.float32]]:
    """Return the rows and scores of the best k rows that are in a list, best first, by BM25.

    A list holds the rows in which one word occurs: list i is rows[starts[i] : stops[i]], ascending,
    and counts (as many as rows) says how often. lengths: (fields, n) words of each row. A row's
    score is the sum over lists, in their order, of weight * (count / (count + (norm0 + norm1 *
    length))), in float32, where fields[i] chooses length and norms (fields, 2) of list i. With
    weight = (k1 + 1) * idf, norm0 = k1 * (1 - b) and norm1 = k1 * b / average length that is Okapi
    BM25 (Robertson & Zaragoza 2009). Weights, counts and norms are not negative. The fewer lists
    of high weight stand first, the more of the others can be passed over; the answer is the same.

    rows, counts: (p,). starts, stops, fields, weights: (q,). Ties, k and allowed as in scan_f32. A
    row that is not below n, or not above the one before it, is passed over or read, but at worst
    gives a wrong answer: rows are distinct and allowed. Raises as scan_f32.
    """

def search_sparse(
    n: int,
    rows: NDArray[np.uint32],
    values: NDArray[np.float32],
    starts: NDArray[np.uint64],
    stops: NDArray[np.uint64],
    weights: NDArray[np.float32],
    k: int,
    allowed: NDArray[np.uint64] | None,
) -> tuple[NDArray[np.uint32], NDArray[np.float32]]:
    """Return the rows and scores of the best k rows that are in a list, best first, by dot product.

    A list holds the rows with a value at one index: list i is rows[starts[i] : stops[i]],
    ascending, and values stands beside rows. A row's score is the sum over lists, in their order,
    of weight * value, in float32; both may be negative. Rows without a value at any index are not
    found.
    n: rows in all. Otherwise as search_text.
    """
