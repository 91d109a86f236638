// Late interaction: how well several vectors of a query fit several of a point.
#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "loops.hpp"
#include "scan.hpp"

namespace vecdb {

namespace {

// Between these a squared length is exact enough in float32 to divide by its root.
constexpr float SQUARE_MIN = 1e-30f;
constexpr float SQUARE_MAX = 1e30f;
constexpr std::uint32_t BLOCK = 64;

}  // namespace

void products(const Vectors& vectors, const Vectors& others, float* out) {
  const Loops& loop = loops();
  std::vector<float> padded;
  std::uint32_t rows[BLOCK];
  // Each vector is the query of the loops, so that the others, which are few, stay in the cache.
  for (std::uint32_t j = 0; j < vectors.n; ++j) {
    const float* vector = vectors.values + std::uint64_t{j} * vectors.dim;
    if (vectors.dim % LANES != 0) {
      padded = pad_query(vector, vectors.dim);
      vector = padded.data();
    }
    for (std::uint32_t first = 0; first < others.n; first += BLOCK) {
      const std::uint32_t count = std::min(BLOCK, others.n - first);
      for (std::uint32_t i = 0; i < count; ++i) rows[i] = first + i;
      loop.scores(Metric::Dot, others.values, others.dim, rows, count, vector, out + first);
    }
    out += others.n;
  }
}

double max_sim(const Vectors& query, const Vectors& vectors, bool unit) {
  std::vector<float> best(query.n, -std::numeric_limits<float>::infinity());
  std::vector<float> found(query.n);
  for (std::uint32_t j = 0; j < vectors.n; ++j) {
    const Vectors one{vectors.values + std::uint64_t{j} * vectors.dim, 1, vectors.dim};
    float length = 1.0f;
    if (unit) {
      float square;
      products(one, one, &square);
      if (!(square >= SQUARE_MIN && square <= SQUARE_MAX)) {
        return std::numeric_limits<double>::quiet_NaN();
      }
      length = std::sqrt(square);
    }
    products(one, query, found.data());
    for (std::uint32_t i = 0; i < query.n; ++i) {
      const float product = found[i] / length;
      if (product > best[i]) best[i] = product;
    }
  }
  double sum = 0.0;
  for (const float one : best) sum += one;
  return sum;
}

}  // namespace vecdb
