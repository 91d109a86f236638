// What a filtered walk keeps, and how much of it.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

namespace vecdb {

// An estimate and its row as one integer: larger is better, equal estimates go to the lower row.
using Rank = std::uint64_t;

inline Rank rank_of(float estimate, std::uint32_t row) {
  // Adding zero makes -0 into 0. Then a float orders as its bits do, negative ones reversed.
  const auto bits = std::bit_cast<std::uint32_t>(estimate + 0.0f);
  const std::uint32_t ordered = bits ^ ((bits >> 31) != 0 ? 0xFFFFFFFFu : 0x80000000u);
  return (Rank{ordered} << 32) | ~row;
}

inline std::uint32_t row_of(Rank rank) { return ~static_cast<std::uint32_t>(rank); }

// How many allowed rows a walk gathers before it may end.
//
// Of a share s of rows allowed, the best k are the best k / s of all; gathering s * ef of them goes
// as far as ef does without a filter, and what finds the last of k / s rows needs some more. The
// larger of two shares counts, that of all rows and that of the rows expanded so far: a filter that
// the query's neighbourhood passes is no filter to this walk, and one that it fails must not end the
// walk at its edge, where the rows met first are seldom the best. So, for that, up to twice as many.
// Measured in benchmarks/README.md.
class PoolSize {
 public:
  // 1 <= k <= ef; share is that of all rows.
  PoolSize(std::size_t k, std::size_t ef, double share)
      : k_(static_cast<double>(k)), ef_(static_cast<double>(ef)), share_(share) {}

  std::size_t of(std::uint32_t expanded, std::uint32_t expanded_allowed) const {
    const double met = expanded == 0 ? share_ : static_cast<double>(expanded_allowed) / expanded;
    const double share = std::max(share_, met);
    double wanted = share * ef_ + FARTHER * k_ * (1.0 - share);
    if (2.0 * met < share_) wanted *= 2.0 - 2.0 * met / share_;
    return static_cast<std::size_t>(std::max(k_, std::ceil(wanted)));
  }

 private:
  static constexpr double FARTHER = 0.75;

  double k_;
  double ef_;
  double share_;
};

// The best rows of those inserted, as many as its size, which may change at any time.
class Pool {
 public:
  explicit Pool(std::size_t size) : size_(size) {}

  // Return whether a row is, or would be, among the best.
  bool admits(Rank rank) const { return best_.size() < size_ || rank >= best_.front(); }

  // Add a row that is admitted.
  void insert(Rank rank) {
    push(best_, rank, std::greater<>());
    if (best_.size() > size_) push(others_, pop(best_, std::greater<>()), std::less<>());
  }

  void resize(std::size_t size) {
    size_ = size;
    while (best_.size() > size_) push(others_, pop(best_, std::greater<>()), std::less<>());
    while (best_.size() < size_ && !others_.empty()) {
      push(best_, pop(others_, std::less<>()), std::greater<>());
    }
  }

  // Return the best rows, in no order.
  std::vector<std::uint32_t> rows() const {
    std::vector<std::uint32_t> rows(best_.size());
    std::transform(best_.begin(), best_.end(), rows.begin(), row_of);
    return rows;
  }

 private:
  template <typename Order>
  static void push(std::vector<Rank>& heap, Rank rank, const Order& order) {
    heap.push_back(rank);
    std::push_heap(heap.begin(), heap.end(), order);
  }

  template <typename Order>
  static Rank pop(std::vector<Rank>& heap, const Order& order) {
    std::pop_heap(heap.begin(), heap.end(), order);
    const Rank front = heap.back();
    heap.pop_back();
    return front;
  }

  std::size_t size_;
  std::vector<Rank> best_;    // the worst in front
  std::vector<Rank> others_;  // the best in front
};

}  // namespace vecdb
