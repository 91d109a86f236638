#include "bitmaps.hpp"

#include <algorithm>

namespace vecdb {

void set_rows(const std::uint32_t* rows, std::size_t count, std::uint32_t n, std::uint64_t* words) {
  for (std::size_t i = 0; i < count; ++i) {
    const std::uint32_t row = rows[i];
    if (row < n) words[row >> 6] |= std::uint64_t{1} << (row & 63);
  }
}

void pick_rows(const Bitmap& bitmap, std::uint32_t n, const std::uint32_t* rows, std::size_t count,
               std::uint64_t* picked) {
  for (std::size_t first = 0; first < count; first += 64) {
    const std::size_t last = std::min<std::size_t>(64, count - first);
    std::uint64_t word = 0;
    for (std::size_t bit = 0; bit < last; ++bit) {
      const std::uint32_t row = rows[first + bit];
      if (row < n && bitmap.contains(row)) word |= std::uint64_t{1} << bit;
    }
    picked[first >> 6] = word;
  }
}

}  // namespace vecdb
