// Approximate search over a graph of near neighbours: what search_graph.cpp and refine_links.cpp
// answer.
//
// The graph is HNSW's (Malkov & Yashunin 2016, arXiv:1603.09320), frozen into arrays. Callers have
// checked every shape, `entry` and `upper_offsets`; no link needs to be sane.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "bitmap.hpp"
#include "metric.hpp"
#include "scan.hpp"

namespace vecdb {

// Ends a row of links that has room for more. Never the number of a row: those are below 2^32 - 1.
inline constexpr std::uint32_t NO_LINK = 0xFFFFFFFFu;

// Level 0 holds every row. Level l >= 1 holds upper_rows[o[l - 1]] to upper_rows[o[l] - 1],
// ascending, where o = upper_offsets; the links of the row at i are upper_links[i].
struct Graph {
  const std::uint32_t* links0;  // (n, width)
  std::uint64_t width;
  const std::uint64_t* upper_offsets;  // (levels + 1,), from 0 to the count of upper_rows
  std::uint64_t levels;
  const std::uint32_t* upper_rows;
  const std::uint32_t* upper_links;  // (upper rows, upper_width)
  std::uint64_t upper_width;
  std::uint32_t entry;  // a row, if there is any
};

struct GraphAnswer {
  std::vector<Neighbor> neighbors;  // best first
  std::uint32_t visited = 0;        // rows of level 0 that a walk judged
  bool scanned = false;             // whether the answer comes from a scan instead
};

// Return the best min(k, pool) rows of the pool that the walk gathers; reference_graph.py says which.
GraphAnswer search_graph(Metric metric, const Graph& graph, const Codes& codes,
                         const Vectors& vectors, const float* query, std::size_t k, std::size_t ef,
                         const Bitmap& allowed);

// Return min(k, allowed rows) of them: by a walk, or by a scan where that costs less, or where the
// walk turns out to; reference_graph.py says when.
GraphAnswer search(Metric metric, const Graph& graph, const Codes& codes, const Vectors& vectors,
                   const float* query, std::size_t k, std::size_t ef, const Bitmap& allowed);

// The most links a row can be given.
inline constexpr std::uint32_t WIDTH_MAX = 256;

// Fill refined (n, new_width), new_width <= WIDTH_MAX, with links chosen anew from those of links0
// (n, width) and theirs; reference.py says which. The number of threads changes nothing but time.
void refine_links(const std::uint32_t* links0, std::uint64_t width, std::uint32_t entry,
                  const Codes& codes, std::uint32_t n, std::uint32_t dim, std::uint32_t new_width,
                  double alpha, unsigned threads, std::uint32_t* refined);

}  // namespace vecdb
