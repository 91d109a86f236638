// The exact scan that reads one byte per value: bounds from the codes, then float32 for the few
// rows whose bounds leave the answer open. What it returns is what scan_f32 returns, bit for bit.
#include "certified.hpp"
#include "loops.hpp"
#include "scan.hpp"

namespace vecdb {

std::vector<Neighbor> scan_i8(Metric metric, const Codes& codes, const Vectors& vectors,
                              const float* query, std::size_t k, const Bitmap& allowed) {
  // Bounds mean nothing, or cannot spare a single row.
  if (!is_finite(query, vectors.dim) || k >= allowed.count()) {
    return scan_f32(metric, vectors, query, k, allowed);
  }
  const QuantizedQuery quantized(query, vectors.dim);
  Candidates candidates(k);
  RowBlocks blocks(allowed);
  std::uint32_t rows[RowBlocks::BLOCK_ROWS];
  double lower[RowBlocks::BLOCK_ROWS];
  double upper[RowBlocks::BLOCK_ROWS];
  while (const std::uint32_t count = blocks.next(rows)) {
    loops().bounds(metric, codes.codes, codes.bounds, vectors.dim, rows, count, quantized.codes(),
                   lower, upper);
    for (std::uint32_t i = 0; i < count; ++i) candidates.offer(rows[i], lower[i], upper[i]);
  }
  return rerank(metric, vectors, query, k, candidates.take());
}

}  // namespace vecdb
