// Exact search: what scan_f32.cpp and scan_i8.cpp answer.
//
// Callers have checked every shape; no value in the arrays needs to be sane, since they may be
// memory maps of files that nobody has verified yet.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "bitmap.hpp"
#include "metric.hpp"
#include "topk.hpp"

namespace vecdb {

// n rows of dim float32 each.
struct Vectors {
  const float* values;
  std::uint32_t n;
  std::uint32_t dim;
};

// What loops.inc `quantize` makes of Vectors: (n, dim) codes, and per row (scale, error, norm2).
struct Codes {
  const std::uint8_t* codes;
  const float* bounds;
};

// Return the query followed by zeros up to a multiple of LANES, as the float32 loops read it.
std::vector<float> pad_query(const float* query, std::uint32_t dim);

// Return the best min(k, allowed rows), best first; scores every allowed row in float32.
std::vector<Neighbor> scan_f32(Metric metric, const Vectors& vectors, const float* query,
                               std::size_t k, const Bitmap& allowed);

// Return the same, bit for bit, if `codes` belongs to `vectors`; reads mostly the codes.
std::vector<Neighbor> scan_i8(Metric metric, const Codes& codes, const Vectors& vectors,
                              const float* query, std::size_t k, const Bitmap& allowed);

// Write the dot product of every vector with every other, (vectors.n, others.n); both of one dim.
void products(const Vectors& vectors, const Vectors& others, float* out);

// Return the sum, over the vectors of a query, of the greatest dot product with one of a point's,
// divided by that one's length when unit; NaN where that length is no number to divide by. Neither is
// empty, and both are of one dim.
double max_sim(const Vectors& query, const Vectors& vectors, bool unit);

}  // namespace vecdb
