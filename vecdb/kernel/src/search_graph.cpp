// The walk over a graph: judges rows by their codes, then ranks the pool it gathered in float32.
//
// Departs from Malkov & Yashunin's algorithms 2 and 5 in this: rows that the filter forbids are
// walked through but not gathered; equal estimates are ordered by row, so that the pool is defined;
// without a filter, one sorted array serves as both candidates and results.
#include <algorithm>
#include <bit>
#include <functional>
#include <limits>

#include "certified.hpp"
#include "graph.hpp"
#include "loops.hpp"
#include "visited.hpp"

namespace vecdb {
namespace {

constexpr std::uint32_t BLOCK_ROWS = RowBlocks::BLOCK_ROWS;

// A larger pool is kept in heaps. Insertion into a sorted array moves half of it; measured (100,000
// x 384), that is 10 % faster than heaps for a pool of 64, and 4 % for one of 1,000.
constexpr std::size_t SORTED_POOL_MAX = 1024;

// An estimate and its row as one integer: larger is better, equal estimates go to the lower row.
using Rank = std::uint64_t;

Rank rank_of(float estimate, std::uint32_t row) {
  // Adding zero makes -0 into 0. Then a float orders as its bits do, negative ones reversed.
  const auto bits = std::bit_cast<std::uint32_t>(estimate + 0.0f);
  const std::uint32_t ordered = bits ^ ((bits >> 31) != 0 ? 0xFFFFFFFFu : 0x80000000u);
  return (Rank{ordered} << 32) | ~row;
}

std::uint32_t row_of(Rank rank) { return ~static_cast<std::uint32_t>(rank); }

// Kept until the thread ends, so that a query need neither allocate nor clear it: two bytes a row of
// the largest graph that the thread has searched. A filtered walk also takes up to eight bytes a
// row for its frontier, and gives them back.
thread_local Visited visited_rows;

// One query's walk.
class Walk {
 public:
  Walk(Metric metric, const Graph& graph, const Codes& codes, std::uint32_t n, std::uint32_t dim,
       const QueryCodes& query)
      : metric_(metric), graph_(graph), codes_(codes), n_(n), dim_(dim), query_(query) {
    visited_.begin(n);
  }

  // Return the row to start from on level 0: from level to level, go to the best linked row for as
  // long as that is better. Each step is to a better row, so no circle of links holds it.
  std::uint32_t descend() {
    rows_[0] = graph_.entry;
    estimate(1);
    Rank best = rank_of(estimates_[0], graph_.entry);
    for (std::uint64_t level = graph_.levels; level > 0; --level) {
      for (Rank next = best_linked(level, best); next > best; next = best_linked(level, best)) {
        best = next;
      }
    }
    return row_of(best);
  }

  // Return the pool: the best ef rows met, in no order.
  std::vector<std::uint32_t> gather(std::uint32_t start, std::size_t ef) {
    if (ef > SORTED_POOL_MAX) return gather_allowed(start, ef, Bitmap(nullptr, n_));
    std::vector<Rank> pool(ef);
    std::vector<std::uint8_t> expanded(ef);
    pool[0] = start_rank(start);
    std::size_t size = 1;
    for (std::size_t at = 0; at < size;) {
      if (expanded[at] != 0) {
        ++at;
        continue;
      }
      expanded[at] = 1;
      std::size_t next = at + 1;
      if (next < size) prefetch_links(pool[next]);  // the likely next, unless a better one comes
      visit_linked(row_of(pool[at]), [&](Rank rank) {
        if (size == ef && rank < pool[size - 1]) return;
        const auto place = std::lower_bound(pool.begin(), pool.begin() + size, rank,
                                            std::greater<>());
        const auto where = static_cast<std::size_t>(place - pool.begin());
        if (size < ef) ++size;
        std::copy_backward(place, pool.begin() + (size - 1), pool.begin() + size);
        std::copy_backward(expanded.begin() + where, expanded.begin() + (size - 1),
                           expanded.begin() + size);
        pool[where] = rank;
        expanded[where] = 0;
        if (where < next) {
          next = where;
          prefetch_links(rank);
        }
      });
      at = next;
    }
    std::vector<std::uint32_t> rows(size);
    for (std::size_t i = 0; i < size; ++i) rows[i] = row_of(pool[i]);
    return rows;
  }

  // Return the pool: the best ef allowed rows met, in no order.
  std::vector<std::uint32_t> gather_allowed(std::uint32_t start, std::size_t ef,
                                            const Bitmap& allowed) {
    std::vector<Rank> frontier;  // to be expanded, the best in front
    std::vector<Rank> pool;      // the best ef allowed, the worst in front
    const auto offer = [&](Rank rank) {
      if (pool.size() == ef && rank < pool.front()) return;
      frontier.push_back(rank);
      std::push_heap(frontier.begin(), frontier.end());
      if (!allowed.contains(row_of(rank))) return;
      pool.push_back(rank);
      std::push_heap(pool.begin(), pool.end(), std::greater<>());
      if (pool.size() > ef) {
        std::pop_heap(pool.begin(), pool.end(), std::greater<>());
        pool.pop_back();
      }
    };
    offer(start_rank(start));
    while (!frontier.empty()) {
      const Rank best = frontier.front();
      if (pool.size() == ef && best < pool.front()) break;
      std::pop_heap(frontier.begin(), frontier.end());
      frontier.pop_back();
      if (!frontier.empty()) prefetch_links(frontier.front());
      visit_linked(row_of(best), offer);
    }
    std::vector<std::uint32_t> rows(pool.size());
    std::transform(pool.begin(), pool.end(), rows.begin(), row_of);
    return rows;
  }

  std::uint32_t visited_count() const { return visited_count_; }

 private:
  // Judge the first count of rows_.
  void estimate(std::uint32_t count) {
    loops().estimates(metric_, codes_.codes, codes_.bounds, dim_, rows_, count, query_, estimates_);
  }

  Rank start_rank(std::uint32_t start) {
    visited_.insert(start);
    visited_count_ = 1;
    rows_[0] = start;
    estimate(1);
    return rank_of(estimates_[0], start);
  }

  // Return the best of the rows that a row of an upper level links to; 0 if there is none.
  Rank best_linked(std::uint64_t level, Rank from) {
    const std::uint32_t* begin = graph_.upper_rows + graph_.upper_offsets[level - 1];
    const std::uint32_t* end = graph_.upper_rows + graph_.upper_offsets[level];
    const std::uint32_t* found = std::lower_bound(begin, end, row_of(from));
    if (found == end || *found != row_of(from)) return 0;
    const auto index = static_cast<std::uint64_t>(found - graph_.upper_rows);
    const std::uint32_t* links = graph_.upper_links + index * graph_.upper_width;
    Rank best = 0;
    for_linked(
        links, graph_.upper_width, [](std::uint32_t) { return true; },
        [&best](Rank rank) { best = std::max(best, rank); });
    return best;
  }

  // Judge the rows that a row of level 0 links to and that are new.
  template <typename Take>
  void visit_linked(std::uint32_t row, const Take& take) {
    for_linked(
        graph_.links0 + row * graph_.width, graph_.width,
        [this](std::uint32_t linked) {
          if (!visited_.insert(linked)) return false;
          ++visited_count_;
          return true;
        },
        take);
  }

  // Call take with the rank of every row of a row of links that is a row and wanted.
  template <typename Wanted, typename Take>
  void for_linked(const std::uint32_t* links, std::uint64_t width, const Wanted& wanted,
                  const Take& take) {
    std::uint64_t at = 0;
    while (at < width && links[at] != NO_LINK) {
      std::uint32_t count = 0;
      for (; at < width && links[at] != NO_LINK && count < BLOCK_ROWS; ++at) {
        const std::uint32_t linked = links[at];
        if (linked >= n_ || !wanted(linked)) continue;
        prefetch_codes(linked, count);
        rows_[count++] = linked;
      }
      estimate(count);
      for (std::uint32_t i = 0; i < count; ++i) take(rank_of(estimates_[i], rows_[i]));
    }
  }

  // The loops fetch a row's codes four rows ahead; here the first four, and all bounds.
  void prefetch_codes(std::uint32_t row, std::uint32_t index) const {
    __builtin_prefetch(codes_.bounds + std::uint64_t{row} * 3);
    if (index >= 4) return;
    const std::uint8_t* code = codes_.codes + std::uint64_t{row} * dim_;
    for (std::uint32_t at = 0; at < dim_ && at < 512; at += 64) __builtin_prefetch(code + at);
  }

  void prefetch_links(Rank rank) const {
    const std::uint32_t* links = graph_.links0 + row_of(rank) * graph_.width;
    for (std::uint64_t at = 0; at < graph_.width && at < 64; at += 16) {
      __builtin_prefetch(links + at);
    }
  }

  Metric metric_;
  const Graph& graph_;
  const Codes& codes_;
  std::uint32_t n_;
  std::uint32_t dim_;
  const QueryCodes& query_;
  Visited& visited_ = visited_rows;
  std::uint32_t visited_count_ = 0;
  std::uint32_t rows_[BLOCK_ROWS];
  float estimates_[BLOCK_ROWS];
};

}  // namespace

GraphAnswer search_graph(Metric metric, const Graph& graph, const Codes& codes,
                         const Vectors& vectors, const float* query, std::size_t k, std::size_t ef,
                         const Bitmap& allowed) {
  if (vectors.n == 0) return {};
  // Codes of such a query mean nothing, and no graph leads to its neighbours.
  if (!is_finite(query, vectors.dim)) {
    return {scan_f32(metric, vectors, query, k, allowed), vectors.n};
  }
  const QuantizedQuery quantized(query, vectors.dim);
  const std::size_t pool_max = std::min<std::size_t>(std::max(k, ef), vectors.n);
  Walk walk(metric, graph, codes, vectors.n, vectors.dim, quantized.codes());
  const std::uint32_t start = walk.descend();
  const std::vector<std::uint32_t> pool = allowed.is_all()
                                              ? walk.gather(start, pool_max)
                                              : walk.gather_allowed(start, pool_max, allowed);
  if (pool.empty()) return {{}, walk.visited_count()};

  const std::size_t limit = std::min(k, pool.size());
  Candidates candidates(limit);
  double lower[BLOCK_ROWS];
  double upper[BLOCK_ROWS];
  for (std::size_t at = 0; at < pool.size(); at += BLOCK_ROWS) {
    const auto count = static_cast<std::uint32_t>(
        std::min<std::size_t>(BLOCK_ROWS, pool.size() - at));
    const std::uint32_t* rows = pool.data() + at;
    loops().bounds(metric, codes.codes, codes.bounds, vectors.dim, rows, count, quantized.codes(),
                   lower, upper);
    for (std::uint32_t i = 0; i < count; ++i) candidates.offer(rows[i], lower[i], upper[i]);
  }
  return {rerank(metric, vectors, query, limit, candidates.take()), walk.visited_count()};
}

}  // namespace vecdb
