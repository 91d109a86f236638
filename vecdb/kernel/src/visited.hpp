// Which rows a walk has seen.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

namespace vecdb {

// Marks on rows that are forgotten all at once, by a new tag: they are only cleared when the tags
// run out, once in 65,535 times. Two bytes a row of the largest n so far.
class Visited {
 public:
  // Forget every mark, and make room for n rows.
  void begin(std::uint32_t n) {
    if (tags_.size() < n) {
      tags_.assign(n, 0);
      tag_ = 0;
    }
    if (++tag_ == 0) {
      std::fill(tags_.begin(), tags_.end(), std::uint16_t{0});
      tag_ = 1;
    }
  }

  // Return whether the row is new, and mark it.
  bool insert(std::uint32_t row) {
    if (tags_[row] == tag_) return false;
    tags_[row] = tag_;
    return true;
  }

 private:
  std::vector<std::uint16_t> tags_;
  std::uint16_t tag_ = 0;
};

}  // namespace vecdb
