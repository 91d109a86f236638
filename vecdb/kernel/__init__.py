"""The search kernel: which rows of an array are nearest to a query.

Answers questions, natively and with the GIL released: the best k rows of float32 vectors
(`scan_f32`), the same rows found by reading one byte per value (`scan_i8`, over what `quantize`
made), and most of them found by walking a graph (`search_graph`), which `refine_links` can better.
`search` walks or scans, whichever costs less, and never finds fewer than there are; `search_many`
and `scan_many` answer many queries on many threads. Beside these, the best rows of postings: by
BM25 (`search_text`), by sparse dot product (`search_sparse`); and how well several vectors of a
query fit those of a point (`max_sim`, of `products`). Which rows may be returned, bitmaps say:
made of row lists, counted and picked from (`row_bits`, `count_bits`, `pick_bits`).
Segments, filters and files are left to the rooms above; arrays may be read-only memory maps, and no
value in them, however damaged, can do worse than a wrong answer.

`reference` and the files beside it that begin so say in numpy what every function does; the
tests hold both sides to one contract. They are no fallback: without the compiled module this
package does not import.
"""

from ._native import (
    DIM_MAX,
    DOT,
    L1,
    L2,
    NO_LINK,
    comparable_query,
    count_bits,
    encode_hits,
    instruction_set,
    max_sim,
    pick_bits,
    products,
    quantize,
    refine_links,
    row_bits,
    scan_f32,
    scan_i8,
    scan_many,
    search,
    search_graph,
    search_many,
    search_sparse,
    search_text,
)

__all__ = [
    "DIM_MAX",
    "DOT",
    "L1",
    "L2",
    "NO_LINK",
    "comparable_query",
    "count_bits",
    "encode_hits",
    "instruction_set",
    "max_sim",
    "pick_bits",
    "products",
    "quantize",
    "refine_links",
    "row_bits",
    "scan_f32",
    "scan_i8",
    "scan_many",
    "search",
    "search_graph",
    "search_many",
    "search_sparse",
    "search_text",
]
