// The order of answers, and the best k of many.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace vecdb {

struct Neighbor {
  float score;
  std::uint32_t row;
};

// Return whether a comes before b: higher score, then lower row; NaN after every number.
// A strict weak ordering over all floats, which std::sort and the heaps need to stay within bounds.
inline bool better(const Neighbor& a, const Neighbor& b) {
  if (a.score > b.score) return true;
  if (a.score < b.score) return false;
  const bool a_nan = std::isnan(a.score);
  const bool b_nan = std::isnan(b.score);
  if (a_nan != b_nan) return b_nan;
  return a.row < b.row;
}

// Keeps the best k neighbors of those offered, whatever their order.
class TopK {
 public:
  explicit TopK(std::size_t k) : k_(k) { heap_.reserve(k); }

  bool full() const { return heap_.size() == k_; }

  // Return the k-th best so far; only when full.
  const Neighbor& worst() const { return heap_.front(); }

  void offer(const Neighbor& neighbor) {
    if (!full()) {
      heap_.push_back(neighbor);
      std::push_heap(heap_.begin(), heap_.end(), better);
      return;
    }
    if (!better(neighbor, heap_.front())) return;
    std::pop_heap(heap_.begin(), heap_.end(), better);
    heap_.back() = neighbor;
    std::push_heap(heap_.begin(), heap_.end(), better);
  }

  // Return the kept neighbors, best first; leaves this empty.
  std::vector<Neighbor> take() {
    std::sort_heap(heap_.begin(), heap_.end(), better);
    return std::move(heap_);
  }

 private:
  std::size_t k_;
  std::vector<Neighbor> heap_;  // the worst in front
};

}  // namespace vecdb
