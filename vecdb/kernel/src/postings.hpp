// Exact search over postings, which postings.cpp answers: BM25 over words, dot product over indices.
//
// A list holds the rows that have one word or index, ascending. Callers have checked every shape and
// that each list lies inside the arrays; no value in them needs to be sane, since they may be memory
// maps of files that nobody has verified yet: a row that is none, or out of order, is passed over.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "bitmap.hpp"
#include "topk.hpp"

namespace vecdb {

// `count` lists of a query: list i is rows[starts[i] : stops[i]], and counts as much as weights[i].
struct Lists {
  const std::uint32_t* rows;
  const std::uint64_t* starts;
  const std::uint64_t* stops;
  const float* weights;
  std::size_t count;
};

// What BM25 reads beside the lists. `counts` stands beside Lists::rows: how often the word occurs in
// the row. fields[i] says which row of `lengths` (fields, n) and of `norms` (fields, 2) list i uses.
struct Words {
  const std::uint32_t* counts;
  const std::uint32_t* lengths;
  const std::uint32_t* fields;
  const float* norms;
};

// Return the best k of the allowed rows that are in a list, best first, by the sum over lists of
// weight * (count / (count + (norm0 + norm1 * length))).
std::vector<Neighbor> search_text(const Lists& lists, const Words& words, std::uint32_t n,
                                  std::size_t k, const Bitmap& allowed);

// Return the best k of the allowed rows that are in a list, best first, by the sum over lists of
// weight * value, where `values` stands beside Lists::rows.
std::vector<Neighbor> search_sparse(const Lists& lists, const float* values, std::uint32_t n,
                                    std::size_t k, const Bitmap& allowed);

}  // namespace vecdb
