// Which rows' bounds leave the answer open, and their float32 scores.
#include "certified.hpp"

#include <algorithm>
#include <cmath>
#include <functional>

namespace vecdb {
namespace {

bool less_promising(const Candidate& a, const Candidate& b) { return a.upper < b.upper; }

}  // namespace

bool is_finite(const float* query, std::uint32_t dim) {
  return std::all_of(query, query + dim, [](float value) { return std::isfinite(value); });
}

QuantizedQuery::QuantizedQuery(const float* query, std::uint32_t dim)
    : padded_(pad_query(query, dim)), values_(dim), wide_values_(dim) {
  float most = 0.0f;
  for (std::uint32_t i = 0; i < dim; ++i) most = std::max(most, std::abs(query[i]));
  const double scale = most / 127.0;
  double sum = 0.0;
  double norm2 = 0.0;
  double units2 = 0.0;
  double error2 = 0.0;
  for (std::uint32_t i = 0; i < dim; ++i) {
    const double value = query[i];
    const double units = scale > 0.0 ? std::nearbyint(value / scale) : 0.0;
    values_[i] = static_cast<std::int8_t>(units);
    wide_values_[i] = values_[i];
    const double rest = value - scale * units;
    sum += units;
    norm2 += value * value;
    units2 += units * units;
    error2 += rest * rest;
  }
  constexpr double UP = 1.0 + 1e-9;  // more than double rounding loses over DIM_MAX terms
  codes_ = QueryCodes{
      .values = padded_.data(),
      .codes = values_.data(),
      .wide_codes = wide_values_.data(),
      .scale = scale,
      .sum = sum,
      .norm = std::sqrt(norm2) * UP,
      .norm2 = scale * scale * units2,
      .error = std::sqrt(error2) * UP,
  };
}

Candidates::Candidates(std::size_t k) : k_(k), prune_at_(std::max<std::size_t>(4096, 8 * k)) {
  lowers_.reserve(k);
}

void Candidates::keep(std::uint32_t row, double lower, double upper) {
  kept_.push_back({upper, row});
  if (lowers_.size() < k_) {
    lowers_.push_back(lower);
    std::push_heap(lowers_.begin(), lowers_.end(), std::greater<>());
    if (lowers_.size() == k_) threshold_ = lowers_.front();
  } else if (lower > threshold_) {
    std::pop_heap(lowers_.begin(), lowers_.end(), std::greater<>());
    lowers_.back() = lower;
    std::push_heap(lowers_.begin(), lowers_.end(), std::greater<>());
    threshold_ = lowers_.front();
  }
  if (kept_.size() >= prune_at_) {
    prune();
    prune_at_ = std::max(prune_at_, 2 * kept_.size());
  }
}

std::vector<Candidate> Candidates::take() {
  prune();
  std::make_heap(kept_.begin(), kept_.end(), less_promising);
  return std::move(kept_);
}

void Candidates::prune() {
  std::erase_if(kept_, [this](const Candidate& one) { return one.upper < threshold_; });
}

std::vector<Neighbor> rerank(Metric metric, const Vectors& vectors, const float* query,
                             std::size_t k, std::vector<Candidate> candidates) {
  constexpr std::uint32_t BATCH_ROWS = 8;
  const std::vector<float> padded = pad_query(query, vectors.dim);
  std::uint32_t rows[BATCH_ROWS];
  float scores[BATCH_ROWS];
  TopK best(k);
  auto end = candidates.end();
  while (end != candidates.begin()) {
    std::uint32_t count = 0;
    while (count < BATCH_ROWS && end != candidates.begin()) {
      // Equal is not enough to stop: that row may tie with the k-th best and have a lower number.
      if (best.full() && candidates.front().upper < static_cast<double>(best.worst().score)) {
        end = candidates.begin();
        break;
      }
      std::pop_heap(candidates.begin(), end, less_promising);
      --end;
      rows[count++] = end->row;
    }
    loops().scores(metric, vectors.values, vectors.dim, rows, count, padded.data(), scores);
    for (std::uint32_t i = 0; i < count; ++i) best.offer({scores[i], rows[i]});
  }
  return best.take();
}

}  // namespace vecdb
