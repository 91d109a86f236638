// Chooses every row's links anew among its neighbours and theirs, so that fewer steps lead farther.
//
// RobustPrune of Vamana (Subramanya et al., DiskANN, NeurIPS 2019, Algorithm 2), in the two rounds
// of its authors' code. Every new row of links is made of old ones alone, so that rows can be made
// in any order, by any thread.
#include <algorithm>
#include <limits>
#include <utility>
#include <vector>

#include "graph.hpp"
#include "loops.hpp"
#include "threads.hpp"
#include "visited.hpp"

namespace vecdb {
namespace {

constexpr std::uint32_t BLOCK_ROWS = RowBlocks::BLOCK_ROWS;
constexpr double INFINITE = std::numeric_limits<double>::infinity();

// Neighbours of neighbours beyond these are not looked at: 64 links a row make 4,160.
constexpr std::size_t MET_MAX = 4096;
// Of those met, the nearest this many are chosen from.
constexpr std::size_t CHOICE_MAX = BLOCK_ROWS;

// What is under one float32 rounding of either norm2 is no distance: rows with equal codes are at 0.
constexpr double NORM2_ROUNDING = 0x1p-20;

// The links of every row, as they were.
struct Links {
  const std::uint32_t* values;
  std::uint64_t width;
  std::uint32_t n;

  // Call take with every row that a row links to, until it returns false.
  template <typename Take>
  void each(std::uint32_t row, const Take& take) const {
    const std::uint32_t* links = values + row * width;
    for (std::uint64_t at = 0; at < width && links[at] != NO_LINK; ++at) {
      if (links[at] < n && !take(links[at])) return;
    }
  }
};

// Squared euclidean distances from one row to others, by their codes.
class Distances {
 public:
  Distances(const Codes& codes, std::uint32_t dim)
      : codes_(codes), dim_(dim), values_(dim), wide_values_(dim) {}

  void from(std::uint32_t row) {
    const std::uint8_t* code = codes_.codes + std::uint64_t{row} * dim_;
    std::int32_t sum = 0;
    for (std::uint32_t i = 0; i < dim_; ++i) {
      const int value = code[i] - 128;
      values_[i] = static_cast<std::int8_t>(value);
      wide_values_[i] = static_cast<std::int16_t>(value);
      sum += value;
    }
    const float* bounds = codes_.bounds + std::uint64_t{row} * 3;
    query_ = QueryCodes{
        .values = nullptr,
        .codes = values_.data(),
        .wide_codes = wide_values_.data(),
        .scale = bounds[0],
        .sum = static_cast<double>(sum),
        .norm = 0.0,
        .norm2 = bounds[2],
        .error = 0.0,
    };
  }

  // distances[i] = distance to rows[i], infinite where that is not a number; at most BLOCK_ROWS.
  void to(const std::uint32_t* rows, std::uint32_t count, double* distances) const {
    float estimates[BLOCK_ROWS];
    loops().estimates(Metric::L2, codes_.codes, codes_.bounds, dim_, rows, count, query_,
                      estimates);
    for (std::uint32_t i = 0; i < count; ++i) {
      const double norm2 = codes_.bounds[std::uint64_t{rows[i]} * 3 + 2];
      const double distance =
          -static_cast<double>(estimates[i]) - NORM2_ROUNDING * (query_.norm2 + norm2);
      distances[i] = distance > 0.0 ? distance : distance <= 0.0 ? 0.0 : INFINITE;
    }
  }

 private:
  Codes codes_;
  std::uint32_t dim_;
  std::vector<std::int8_t> values_;
  std::vector<std::int16_t> wide_values_;
  QueryCodes query_{};
};

// A row that may be linked to.
struct Choice {
  double distance;        // from the row whose links are chosen
  std::uint32_t row;
  bool chosen = false;
  double occlusion = 0.0;  // the most that distance / (distance from a chosen row) is

  bool operator<(const Choice& other) const {
    return std::pair(distance, row) < std::pair(other.distance, other.row);
  }
};

// Makes rows of links, one after another; allocates only when it is made.
class Refiner {
 public:
  Refiner(const Links& links, const Codes& codes, std::uint32_t dim, std::uint32_t width,
          double alpha)
      : links_(links), distances_(codes, dim), width_(width), alpha_(alpha) {
    visited_.begin(links.n);
    met_.reserve(MET_MAX);
    choices_.reserve(MET_MAX);
  }

  void refine(std::uint32_t row, std::uint32_t* refined) {
    meet(row);
    measure(row);
    std::uint32_t count = 0;
    for (const double limit : {1.0, alpha_}) {
      for (std::size_t at = 0; at < choices_.size() && count < width_; ++at) {
        if (choices_[at].chosen || choices_[at].occlusion >= limit) continue;
        choices_[at].chosen = true;
        refined[count++] = choices_[at].row;
        occlude(at);
      }
    }
    std::fill(refined + count, refined + width_, NO_LINK);
  }

 private:
  // Fill met_ with the rows that one or two links lead to.
  void meet(std::uint32_t row) {
    visited_.begin(links_.n);
    visited_.insert(row);
    met_.clear();
    const auto take = [this](std::uint32_t linked) {
      if (visited_.insert(linked)) met_.push_back(linked);
      return met_.size() < MET_MAX;
    };
    links_.each(row, take);
    const std::size_t near = met_.size();
    for (std::size_t i = 0; i < near && met_.size() < MET_MAX; ++i) links_.each(met_[i], take);
  }

  // Fill choices_ with the nearest of met_, in order.
  void measure(std::uint32_t row) {
    double distances[BLOCK_ROWS];
    distances_.from(row);
    choices_.clear();
    for (std::size_t at = 0; at < met_.size(); at += BLOCK_ROWS) {
      const auto count =
          static_cast<std::uint32_t>(std::min<std::size_t>(BLOCK_ROWS, met_.size() - at));
      distances_.to(met_.data() + at, count, distances);
      for (std::uint32_t i = 0; i < count; ++i) choices_.push_back({distances[i], met_[at + i]});
    }
    const std::size_t kept = std::min(choices_.size(), CHOICE_MAX);
    std::partial_sort(choices_.begin(), choices_.begin() + kept, choices_.end());
    choices_.resize(kept);
  }

  // Note which of the choices after a chosen one are nearer to it than to the row.
  void occlude(std::size_t chosen) {
    std::uint32_t rows[CHOICE_MAX];
    std::size_t places[CHOICE_MAX];
    double distances[CHOICE_MAX];
    std::uint32_t count = 0;
    for (std::size_t at = chosen + 1; at < choices_.size(); ++at) {
      if (choices_[at].chosen || choices_[at].occlusion >= alpha_) continue;
      rows[count] = choices_[at].row;
      places[count++] = at;
    }
    distances_.from(choices_[chosen].row);
    distances_.to(rows, count, distances);
    for (std::uint32_t i = 0; i < count; ++i) {
      Choice& choice = choices_[places[i]];
      const double ratio = distances[i] > 0.0 ? choice.distance / distances[i] : INFINITE;
      if (ratio > choice.occlusion) choice.occlusion = ratio;
    }
  }

  Links links_;
  Distances distances_;
  std::uint32_t width_;
  double alpha_;
  Visited visited_;
  std::vector<std::uint32_t> met_;
  std::vector<Choice> choices_;
};

// Restores the way to rows that the refined links no longer lead to from the entry.
class Reconnection {
 public:
  Reconnection(const Links& old, std::uint32_t entry, const Codes& codes, std::uint32_t dim,
               std::uint32_t* refined, std::uint32_t width)
      : old_(old),
        refined_(refined),
        made_{refined, width, old.n},
        distances_(codes, dim),
        parents_(spread(made_, entry, std::vector<std::uint32_t>(old.n, NO_LINK), nullptr)) {
    std::vector<std::uint32_t> order;  // parents before their children
    spread(old, entry, std::vector<std::uint32_t>(old.n, NO_LINK), &order);
    find_lost();
    for (const std::uint32_t row : order) {
      if (parents_[row] == NO_LINK) restore(row);
    }
  }

 private:
  // Return, for every row, the one whose link first led to it from the start, breadth first; `order`
  // gets the rows as they are met. Rows that have a parent already are not entered.
  static std::vector<std::uint32_t> spread(const Links& links, std::uint32_t start,
                                           std::vector<std::uint32_t> parents,
                                           std::vector<std::uint32_t>* order) {
    std::vector<std::uint32_t> queue{start};
    if (parents[start] == NO_LINK) parents[start] = start;
    for (std::size_t at = 0; at < queue.size(); ++at) {
      const std::uint32_t row = queue[at];
      links.each(row, [&](std::uint32_t linked) {
        if (parents[linked] == NO_LINK) {
          parents[linked] = row;
          queue.push_back(linked);
        }
        return true;
      });
    }
    if (order != nullptr) *order = std::move(queue);
    return parents;
  }

  // Fill lost_ with the old links to rows that have no parent now.
  void find_lost() {
    for (std::uint32_t row = 0; row < old_.n; ++row) {
      old_.each(row, [&](std::uint32_t linked) {
        if (parents_[linked] == NO_LINK) lost_.emplace_back(linked, row);
        return true;
      });
    }
    std::sort(lost_.begin(), lost_.end());
    lost_.erase(std::unique(lost_.begin(), lost_.end()), lost_.end());
  }

  // Link to a row from the nearest row that did before, is itself led to, and has a place to spare.
  void restore(std::uint32_t row) {
    std::vector<std::pair<double, std::uint32_t>> sources;
    distances_.from(row);
    const std::pair first(row, std::uint32_t{0});
    for (auto link = std::lower_bound(lost_.begin(), lost_.end(), first);
         link != lost_.end() && link->first == row; ++link) {
      if (parents_[link->second] == NO_LINK) continue;
      double distance;
      distances_.to(&link->second, 1, &distance);
      sources.emplace_back(distance, link->second);
    }
    std::sort(sources.begin(), sources.end());
    for (const auto& [distance, source] : sources) {
      std::uint32_t* place = spare_place(source);
      if (place == nullptr) continue;
      *place = row;
      parents_[row] = source;
      parents_ = spread(made_, row, std::move(parents_), nullptr);
      return;
    }
  }

  // Return the first free place of a row of links, or the last that no row's way leads through.
  std::uint32_t* spare_place(std::uint32_t row) const {
    std::uint32_t* links = refined_ + row * made_.width;
    std::uint32_t* end = links + made_.width;
    std::uint32_t* padding = std::find(links, end, NO_LINK);
    if (padding != end) return padding;
    while (end != links) {
      --end;
      if (parents_[*end] != row) return end;
    }
    return nullptr;
  }

  Links old_;
  std::uint32_t* refined_;
  Links made_;
  Distances distances_;
  std::vector<std::uint32_t> parents_;  // by refined links
  std::vector<std::pair<std::uint32_t, std::uint32_t>> lost_;  // (to, from)
};

}  // namespace

void refine_links(const std::uint32_t* links0, std::uint64_t width, std::uint32_t entry,
                  const Codes& codes, std::uint32_t n, std::uint32_t dim, std::uint32_t new_width,
                  double alpha, unsigned threads, std::uint32_t* refined) {
  if (n == 0) return;
  constexpr std::uint64_t ROWS_AT_ONCE = 256;
  const Links links{links0, width, n};
  std::vector<Refiner> refiners;
  refiners.reserve(threads);
  for (unsigned i = 0; i < threads; ++i) {
    refiners.emplace_back(links, codes, dim, new_width, alpha);
  }
  share_out(threads, n, ROWS_AT_ONCE,
            [&](unsigned thread, std::uint64_t begin, std::uint64_t end) {
              for (std::uint64_t row = begin; row < end; ++row) {
                refiners[thread].refine(static_cast<std::uint32_t>(row), refined + row * new_width);
              }
            });
  Reconnection(links, entry, codes, dim, refined, new_width);
}

}  // namespace vecdb
