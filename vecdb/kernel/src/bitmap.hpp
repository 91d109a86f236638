// Which rows a search may return, and the walk over them.
#pragma once

#include <bit>
#include <cstdint>

namespace vecdb {

// A view of n rows of which row i passes if bit i & 63 of words[i >> 6] is set; all pass without
// words. Bits beyond n are ignored. The owner of words outlives the view.
class Bitmap {
 public:
  Bitmap(const std::uint64_t* words, std::uint32_t n) : words_(words), n_(n) {}

  // Return whether every row passes because there are no words.
  bool is_all() const { return words_ == nullptr; }

  // Return whether a row below n passes.
  bool contains(std::uint32_t row) const {
    return words_ == nullptr || ((words_[row >> 6] >> (row & 63)) & 1) != 0;
  }

  // Return how many rows pass.
  std::uint32_t count() const;

  std::uint32_t word_count() const {
    return static_cast<std::uint32_t>((std::uint64_t{n_} + 63) / 64);
  }

  // Return word number `index` with the bits beyond n cleared.
  std::uint64_t word_at(std::uint32_t index) const {
    const std::uint64_t bits = words_ == nullptr ? ~std::uint64_t{0} : words_[index];
    const std::uint64_t left = n_ - std::uint64_t{index} * 64;
    return left >= 64 ? bits : bits & ((std::uint64_t{1} << left) - 1);
  }

 private:
  const std::uint64_t* words_;
  std::uint32_t n_;
};

// Hands out the allowed rows in ascending order, up to BLOCK_ROWS at a time, however sparse they
// are. A block's results stay in the first-level cache between the loops that fill and read them.
class RowBlocks {
 public:
  static constexpr std::uint32_t BLOCK_ROWS = 256;

  explicit RowBlocks(const Bitmap& allowed)
      : allowed_(allowed), words_(allowed.word_count()) {}

  // Fill rows and return how many; 0 at the end.
  std::uint32_t next(std::uint32_t (&rows)[BLOCK_ROWS]) {
    std::uint32_t filled = 0;
    while (next_word_ < words_ && filled + 64 <= BLOCK_ROWS) {
      std::uint64_t bits = allowed_.word_at(next_word_);
      const std::uint32_t first = next_word_ * 64;
      ++next_word_;
      if (bits == ~std::uint64_t{0}) {
        for (std::uint32_t bit = 0; bit < 64; ++bit) rows[filled + bit] = first + bit;
        filled += 64;
        continue;
      }
      for (; bits != 0; bits &= bits - 1) {
        rows[filled++] = first + static_cast<std::uint32_t>(std::countr_zero(bits));
      }
    }
    return filled;
  }

 private:
  Bitmap allowed_;
  std::uint32_t words_;
  std::uint32_t next_word_ = 0;
};

}  // namespace vecdb
