// From codes to certain answers: bounds on what a row's float32 score can be, and the float32 score
// of the few rows whose bounds leave the answer open.
//
// The idea is the VA-file's (Weber, Schek & Blott, VLDB 1998): a row whose upper bound lies below
// the k-th best lower bound cannot be an answer.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include "loops.hpp"
#include "scan.hpp"

namespace vecdb {

// Return whether no value is infinite or not a number; only then can a query be quantized.
bool is_finite(const float* query, std::uint32_t dim);

// A query in one byte per value, and the storage that QueryCodes points into.
//
// A second byte would all but remove the query's error and narrow every bound; measured on sentence
// embeddings (100,000 x 384, k = 10) it re-ranks 16 rows instead of 18, for the same time.
class QuantizedQuery {
 public:
  QuantizedQuery(const float* query, std::uint32_t dim);
  QuantizedQuery(const QuantizedQuery&) = delete;
  QuantizedQuery& operator=(const QuantizedQuery&) = delete;

  const QueryCodes& codes() const { return codes_; }

 private:
  std::vector<float> padded_;
  std::vector<std::int8_t> values_;
  std::vector<std::int16_t> wide_values_;
  QueryCodes codes_;
};

// A row that may be an answer, and the most that its score can be.
struct Candidate {
  double upper;
  std::uint32_t row;
};

// The rows that may still be among the best k >= 1, judged by bounds alone.
class Candidates {
 public:
  explicit Candidates(std::size_t k);

  void offer(std::uint32_t row, double lower, double upper) {
    if (upper >= threshold_) keep(row, lower, upper);
  }

  // Return the rows that the final threshold leaves, the most promising in front of a heap.
  std::vector<Candidate> take();

 private:
  void keep(std::uint32_t row, double lower, double upper);
  void prune();

  std::size_t k_;
  std::size_t prune_at_;
  double threshold_ = -std::numeric_limits<double>::infinity();  // the k-th best lower bound
  std::vector<double> lowers_;                                   // the best k, the worst in front
  std::vector<Candidate> kept_;
};

// Return the best k of the candidates by float32 score, reading as few rows as their bounds allow.
std::vector<Neighbor> rerank(Metric metric, const Vectors& vectors, const float* query,
                             std::size_t k, std::vector<Candidate> candidates);

}  // namespace vecdb
