// The exact scan over float32 rows.
#include "loops.hpp"
#include "scan.hpp"

namespace vecdb {

std::vector<float> pad_query(const float* query, std::uint32_t dim) {
  std::vector<float> padded((std::size_t{dim} + LANES - 1) / LANES * LANES, 0.0f);
  std::copy(query, query + dim, padded.begin());
  return padded;
}

std::vector<Neighbor> scan_f32(Metric metric, const Vectors& vectors, const float* query,
                               std::size_t k, const Bitmap& allowed) {
  const Loops& loop = loops();
  const std::vector<float> padded = pad_query(query, vectors.dim);
  TopK best(std::min<std::size_t>(k, allowed.count()));
  RowBlocks blocks(allowed);
  std::uint32_t rows[RowBlocks::BLOCK_ROWS];
  float scores[RowBlocks::BLOCK_ROWS];
  while (const std::uint32_t count = blocks.next(rows)) {
    loop.scores(metric, vectors.values, vectors.dim, rows, count, padded.data(), scores);
    for (std::uint32_t i = 0; i < count; ++i) best.offer({scores[i], rows[i]});
  }
  return best.take();
}

}  // namespace vecdb
