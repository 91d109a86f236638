// A window of rows at a time, all lists add to scores that stay in the first-level cache, whatever n
// is. Rows of later windows have higher numbers, so that they must beat the k-th best score so far,
// not only equal it; MaxScore (Turtle & Flood 1995) follows: lists whose bounds together do not are
// read only for the rows that another list brought up. Every row adds its lists in their order,
// which keeps a score's bits apart from what else was looked at.
#include "postings.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

namespace vecdb {

namespace {

constexpr std::uint32_t WINDOW = 4096;
constexpr std::uint32_t WORDS = WINDOW / 64;
constexpr float INF = std::numeric_limits<float>::infinity();

class TextScore {
 public:
  TextScore(const Lists& lists, const Words& words, std::uint32_t n)
      : lists_(lists), words_(words), n_(n) {}

  // A row's part of a list is at most the weight, for a count / (count + x) with x >= 0.
  float bound(std::size_t list) const { return std::max(lists_.weights[list], 0.0F); }

  // Return the scoring of one list.
  auto of(std::size_t list) const {
    const std::uint64_t field = words_.fields[list];
    return [weight = lists_.weights[list], counts = words_.counts,
            lengths = words_.lengths + field * n_, constant = words_.norms[2 * field],
            slope = words_.norms[2 * field + 1]](std::uint64_t at, std::uint32_t row) {
      const auto count = static_cast<float>(counts[at]);
      return weight * (count / (count + (constant + slope * static_cast<float>(lengths[row]))));
    };
  }

 private:
  Lists lists_;
  Words words_;
  std::uint64_t n_;
};

class SparseScore {
 public:
  SparseScore(const Lists& lists, const float* values) : lists_(lists), values_(values) {}

  float bound(std::size_t) const { return INF; }

  auto of(std::size_t list) const {
    return [weight = lists_.weights[list], values = values_](std::uint64_t at, std::uint32_t) {
      return weight * values[at];
    };
  }

 private:
  Lists lists_;
  const float* values_;
};

template <typename Score>
class PostingsSearch {
 public:
  PostingsSearch(const Lists& lists, const Score& score, std::uint32_t n, std::size_t k,
                 const Bitmap& allowed)
      : lists_(lists),
        score_(score),
        n_(n),
        allowed_(allowed),
        cursors_(lists.starts, lists.starts + lists.count),
        rest_(lists.count + 1, 0.0),
        best_(std::min<std::size_t>(k, n)) {
    for (std::size_t list = lists.count; list-- > 0;) {
      rest_[list] = rest_[list + 1] + score.bound(list);
    }
    // More than the rounding of so many float32 additions can add to a score.
    slack_ = 1.0 + 2.5e-7 * static_cast<double>(lists.count + 1);
  }

  std::vector<Neighbor> run() {
    for (std::size_t leading = lists_.count; next_window(leading);) {
      if (is_any_allowed()) {
        for (std::size_t list = 0; list < leading; ++list) read(list);
        keep_allowed();
        for (std::size_t list = leading; list < lists_.count; ++list) look_up(list);
        offer();
      }
      floor_ = std::uint64_t{base_} + WINDOW;
      while (leading > 0 && is_hopeless(rest_[leading - 1])) --leading;
    }
    return best_.take();
  }

 private:
  // Return whether a score of at most this cannot enter. False for NaN, which rules nothing out.
  bool is_hopeless(double most) const {
    return best_.full() && most * slack_ <= double{best_.worst().score};
  }

  // Move base_ to the window of the next row of a leading list; return false when there is none.
  bool next_window(std::size_t leading) {
    std::uint32_t next = n_;
    for (std::size_t list = 0; list < leading; ++list) {
      skip_below(list);
      if (cursors_[list] < lists_.stops[list]) {
        next = std::min(next, lists_.rows[cursors_[list]]);
      }
    }
    base_ = next / WINDOW * WINDOW;
    return next < n_;
  }

  // Move a list's cursor to its first row of floor_ or more, as a binary search sees it.
  void skip_below(std::size_t list) {
    std::uint64_t& cursor = cursors_[list];
    const std::uint64_t stop = lists_.stops[list];
    if (cursor < stop && lists_.rows[cursor] < floor_) cursor = lower_bound(list, floor_);
    // Damaged rows may be out of order; each window is only entered once all the same.
    while (cursor < stop && lists_.rows[cursor] < floor_) ++cursor;
  }

  std::uint64_t lower_bound(std::size_t list, std::uint64_t row) const {
    // In steps that double, as the row sought is mostly near.
    std::uint64_t low = cursors_[list];
    const std::uint64_t stop = lists_.stops[list];
    std::uint64_t step = 1;
    while (stop - low > step && lists_.rows[low + step] < row) {
      low += step;
      step *= 2;
    }
    const std::uint32_t* first = lists_.rows + low;
    const std::uint32_t* last = lists_.rows + std::min(stop, low + step + 1);
    return low + static_cast<std::uint64_t>(std::lower_bound(first, last, row) - first);
  }

  std::uint32_t word_count() const {
    return std::min(WORDS, allowed_.word_count() - base_ / 64);
  }

  bool is_any_allowed() const {
    if (allowed_.is_all()) return true;
    for (std::uint32_t word = 0; word < word_count(); ++word) {
      if (allowed_.word_at(base_ / 64 + word) != 0) return true;
    }
    return false;
  }

  // Add a whole list's part of the window.
  void read(std::size_t list) {
    const auto part = score_.of(list);
    const std::uint32_t end = static_cast<std::uint32_t>(
        std::min<std::uint64_t>(n_, std::uint64_t{base_} + WINDOW));
    std::uint64_t cursor = cursors_[list];
    for (const std::uint64_t stop = lists_.stops[list]; cursor < stop; ++cursor) {
      const std::uint32_t row = lists_.rows[cursor];
      if (row >= end) break;
      if (row < base_) continue;
      const std::uint32_t at = row - base_;
      scores_[at] += part(cursor, row);
      met_[at / 64] |= std::uint64_t{1} << (at % 64);
    }
    cursors_[list] = cursor;
  }

  void keep_allowed() {
    if (allowed_.is_all()) return;
    for (std::uint32_t word = 0; word < word_count(); ++word) {
      met_[word] &= allowed_.word_at(base_ / 64 + word);
    }
  }

  // Add a list's part to those rows that may still enter; forget the others.
  void look_up(std::size_t list) {
    const auto part = score_.of(list);
    const std::uint64_t stop = lists_.stops[list];
    for_each_met([&](std::uint32_t at) {
      if (is_hopeless(double{scores_[at]} + rest_[list])) {
        met_[at / 64] &= ~(std::uint64_t{1} << (at % 64));
        return;
      }
      const std::uint32_t row = base_ + at;
      if (cursors_[list] >= stop) return;
      if (lists_.rows[cursors_[list]] < row) cursors_[list] = lower_bound(list, row);
      if (cursors_[list] < stop && lists_.rows[cursors_[list]] == row) {
        scores_[at] += part(cursors_[list], row);
      }
    });
  }

  void offer() {
    for_each_met([&](std::uint32_t at) {
      const float score = scores_[at];
      // NaN in one form, whatever made it.
      best_.offer({std::isnan(score) ? std::numeric_limits<float>::quiet_NaN() : score, base_ + at});
    });
    scores_.fill(0.0F);
    met_.fill(0);
  }

  template <typename Visit>
  void for_each_met(Visit visit) {
    for (std::uint32_t word = 0; word < WORDS; ++word) {
      for (std::uint64_t bits = met_[word]; bits != 0; bits &= bits - 1) {
        visit(word * 64 + static_cast<std::uint32_t>(std::countr_zero(bits)));
      }
    }
  }

  Lists lists_;
  Score score_;
  std::uint32_t n_;
  Bitmap allowed_;
  std::vector<std::uint64_t> cursors_;
  std::vector<double> rest_;  // the most that list i and those after it add together
  double slack_;
  TopK best_;
  std::uint64_t floor_ = 0;  // rows below it are done
  std::uint32_t base_ = 0;
  std::array<float, WINDOW> scores_{};
  std::array<std::uint64_t, WORDS> met_{};
};

}  // namespace

std::vector<Neighbor> search_text(const Lists& lists, const Words& words, std::uint32_t n,
                                  std::size_t k, const Bitmap& allowed) {
  return PostingsSearch(lists, TextScore(lists, words, n), n, k, allowed).run();
}

std::vector<Neighbor> search_sparse(const Lists& lists, const float* values, std::uint32_t n,
                                    std::size_t k, const Bitmap& allowed) {
  return PostingsSearch(lists, SparseScore(lists, values), n, k, allowed).run();
}

}  // namespace vecdb
