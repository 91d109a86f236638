// The hot loops, compiled once per instruction set and picked once per process.
//
// The pick asks the processor for features, not for its model: target_clones("arch=...") compares
// the model's name, so that a processor newer than the compiler, or another vendor's, would get the
// slowest copy. Every copy gives the same bits.
#pragma once

#include <cstdint>

#include "metric.hpp"

namespace vecdb {

// A query in one signed byte per value: query[i] = scale * codes[i] + rest[i].
struct QueryCodes {
  const float* values;  // the query itself, padded with zeros to a multiple of LANES; for L1
  const std::int8_t* codes;
  const std::int16_t* wide_codes;  // the same values, for instruction sets that multiply 16 bits
  double scale;
  double sum;    // of codes: the offset in the row codes adds 128 times this to a dot product
  double norm;   // |query|, rounded up
  double norm2;  // |query - rest|^2
  double error;  // |rest|, rounded up
};

struct Loops {
  const char* name;

  // scores[i] = float32 score of row rows[i]; query is padded with zeros to a multiple of LANES.
  void (*scores)(Metric metric, const float* vectors, std::uint32_t dim, const std::uint32_t* rows,
                 std::uint32_t count, const float* query, float* scores);

  // lower[i] <= the float32 score of row rows[i] <= upper[i]; -inf and inf where nothing is
  // certain. count is at most RowBlocks::BLOCK_ROWS.
  void (*bounds)(Metric metric, const std::uint8_t* codes, const float* bounds, std::uint32_t dim,
                 const std::uint32_t* rows, std::uint32_t count, const QueryCodes& query,
                 double* lower, double* upper);

  // estimates[i] = the score of row rows[i] as its codes and the query's (under L1 the query itself)
  // have it, or -inf where that is not a number. count is at most RowBlocks::BLOCK_ROWS.
  void (*estimates)(Metric metric, const std::uint8_t* codes, const float* bounds,
                    std::uint32_t dim, const std::uint32_t* rows, std::uint32_t count,
                    const QueryCodes& query, float* estimates);

  // codes (n, dim) and bounds (n, 3) of vectors (n, dim).
  void (*quantize)(const float* vectors, std::uint64_t n, std::uint32_t dim, std::uint8_t* codes,
                   float* bounds);

  // The number of bits that are set; fewer than 2^32.
  std::uint32_t (*count_bits)(const std::uint64_t* words, std::uint32_t count);
};

// Return the loops for the best instruction set of this processor.
const Loops& loops();

}  // namespace vecdb
