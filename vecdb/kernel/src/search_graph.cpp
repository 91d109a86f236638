// The walk over a graph: judges rows by their codes, then ranks the pool it gathered in float32.
//
// Departs from Malkov & Yashunin's algorithms 2 and 5 in this: rows that the filter forbids are
// walked through but not gathered, and how many are gathered depends on how many there seem to be;
// equal estimates are ordered by row, so that the pool is defined; without a filter, one sorted array
// serves as both candidates and results.
#include <algorithm>
#include <functional>
#include <limits>

#include "certified.hpp"
#include "graph.hpp"
#include "loops.hpp"
#include "pool.hpp"
#include "visited.hpp"

namespace vecdb {
namespace {

constexpr std::uint32_t BLOCK_ROWS = RowBlocks::BLOCK_ROWS;

// A larger pool is kept in heaps. Insertion into a sorted array moves half of it; measured (100,000
// x 384), that is 10 % faster than heaps for a pool of 64, and 4 % for one of 1,000.
constexpr std::size_t SORTED_POOL_MAX = 1024;

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

  // Return the pool: the best ef rows met, in no order. ef is at most SORTED_POOL_MAX.
  std::vector<std::uint32_t> gather(std::uint32_t start, std::size_t ef) {
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

  // Return the pool: the best allowed rows met, as many as pool_size says, in no order. It is empty
  // once more than visited_max rows were judged.
  std::vector<std::uint32_t> gather_allowed(std::uint32_t start, const PoolSize& pool_size,
                                            const Bitmap& allowed, std::uint32_t visited_max) {
    std::vector<Rank> frontier;  // to be expanded, the best in front
    Pool pool(pool_size.of(0, 0));
    const auto offer = [&](Rank rank) {
      if (!pool.admits(rank)) return;
      frontier.push_back(rank);
      std::push_heap(frontier.begin(), frontier.end());
      if (allowed.contains(row_of(rank))) pool.insert(rank);
    };
    offer(start_rank(start));
    std::uint32_t expanded = 0;
    std::uint32_t expanded_allowed = 0;
    while (!frontier.empty() && pool.admits(frontier.front())) {
      if (visited_count_ > visited_max) return {};
      const std::uint32_t row = row_of(frontier.front());
      std::pop_heap(frontier.begin(), frontier.end());
      frontier.pop_back();
      if (!frontier.empty()) prefetch_links(frontier.front());
      ++expanded;
      expanded_allowed += allowed.contains(row) ? 1 : 0;
      pool.resize(pool_size.of(expanded, expanded_allowed));
      visit_linked(row, offer);
    }
    return pool.rows();
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

// Return the best min(k, pool) rows of a pool, best first.
std::vector<Neighbor> best_of(Metric metric, const Codes& codes, const Vectors& vectors,
                              const float* query, const QueryCodes& query_codes, std::size_t k,
                              const std::vector<std::uint32_t>& pool) {
  if (pool.empty()) return {};
  const std::size_t limit = std::min(k, pool.size());
  Candidates candidates(limit);
  double lower[BLOCK_ROWS];
  double upper[BLOCK_ROWS];
  for (std::size_t at = 0; at < pool.size(); at += BLOCK_ROWS) {
    const auto count = static_cast<std::uint32_t>(
        std::min<std::size_t>(BLOCK_ROWS, pool.size() - at));
    const std::uint32_t* rows = pool.data() + at;
    loops().bounds(metric, codes.codes, codes.bounds, vectors.dim, rows, count, query_codes, lower,
                   upper);
    for (std::uint32_t i = 0; i < count; ++i) candidates.offer(rows[i], lower[i], upper[i]);
  }
  return rerank(metric, vectors, query, limit, candidates.take());
}

// What one search asks for. The query is finite, there are rows, and k <= ef <= n.
struct Question {
  Metric metric;
  const float* query;
  std::size_t k;
  std::size_t ef;
  const Bitmap& allowed;
  std::uint32_t allowed_count;
};

GraphAnswer walk(const Question& question, const Graph& graph, const Codes& codes,
                 const Vectors& vectors, std::uint32_t visited_max) {
  const QuantizedQuery quantized(question.query, vectors.dim);
  Walk walk(question.metric, graph, codes, vectors.n, vectors.dim, quantized.codes());
  const std::uint32_t start = walk.descend();
  const bool sorted = question.allowed.is_all() && question.ef <= SORTED_POOL_MAX;
  const double share = static_cast<double>(question.allowed_count) / vectors.n;
  const std::vector<std::uint32_t> pool =
      sorted ? walk.gather(start, question.ef)
             : walk.gather_allowed(start, PoolSize(question.k, question.ef, share),
                                   question.allowed, visited_max);
  return {best_of(question.metric, codes, vectors, question.query, quantized.codes(), question.k,
                  pool),
          walk.visited_count()};
}

// What a search is about to cost, in the time that it takes to multiply one byte of a code; fitted
// to rows of 384 values (benchmarks/README.md).
struct Costs {
  double scan;
  double walk;
  double walk_row;

  Costs(const Question& question, const Graph& graph, const Vectors& vectors) {
    constexpr double SCANNED_ROW = 64.0;
    constexpr double WALKED_ROW = 448.0;
    constexpr double NEW_LINKS = 0.625;  // the share of links that lead to rows not met before
    const double count = question.allowed_count;
    const PoolSize pool(question.k, question.ef, count / vectors.n);
    const double expanded = static_cast<double>(pool.of(0, 0)) * vectors.n / count;
    scan = count * (vectors.dim + SCANNED_ROW);
    walk_row = vectors.dim + WALKED_ROW;
    walk = std::min<double>(vectors.n, expanded * NEW_LINKS * graph.width) * walk_row;
  }
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
  const std::size_t limit = std::min<std::size_t>(k, vectors.n);
  const std::size_t pool_max = std::min<std::size_t>(std::max(k, ef), vectors.n);
  return walk({metric, query, limit, pool_max, allowed, allowed.count()}, graph, codes, vectors,
              vectors.n);
}

GraphAnswer search(Metric metric, const Graph& graph, const Codes& codes, const Vectors& vectors,
                   const float* query, std::size_t k, std::size_t ef, const Bitmap& allowed) {
  const std::uint32_t count = allowed.count();
  const auto scan = [&](std::uint32_t visited) {
    return GraphAnswer{scan_i8(metric, codes, vectors, query, k, allowed), visited, true};
  };
  if (k >= count || !is_finite(query, vectors.dim)) return scan(0);
  const std::size_t pool_max = std::min<std::size_t>(std::max(k, ef), vectors.n);
  const Question question{metric, query, k, pool_max, allowed, count};
  const Costs costs(question, graph, vectors);
  if (costs.walk >= costs.scan) return scan(0);
  // A walk that has cost so much and not ended is through rows that the filter excludes.
  const double most = std::max(costs.scan / 4.0, costs.walk * 2.0) / costs.walk_row;
  const auto visited_max = static_cast<std::uint32_t>(
      allowed.is_all() ? vectors.n : std::min<double>(vectors.n, most));
  GraphAnswer answer = walk(question, graph, codes, vectors, visited_max);
  if (answer.neighbors.size() < k) return scan(answer.visited);
  return answer;
}

}  // namespace vecdb
