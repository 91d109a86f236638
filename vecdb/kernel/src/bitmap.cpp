// How many rows pass.
#include "bitmap.hpp"

#include "loops.hpp"

namespace vecdb {

std::uint32_t Bitmap::count() const {
  if (words_ == nullptr || n_ == 0) return n_;
  const std::uint32_t last = word_count() - 1;
  return loops().count_bits(words_, last) +
         static_cast<std::uint32_t>(std::popcount(word_at(last)));
}

}  // namespace vecdb
