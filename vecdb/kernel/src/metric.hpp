// How near two vectors are, and how far a float32 score may lie from the real number it stands for.
//
// A score is larger when nearer, for every metric. Cosine is Dot over rows of unit length.
#pragma once

#include <cstdint>

namespace vecdb {

enum class Metric : std::int32_t {
  Dot = 0,  // <x, q>
  L2 = 1,   // -|x - q|^2
  L1 = 2,   // -(sum over j of |x[j] - q[j]|)
};

// Above this the integer dot product of u8 codes and an s8 query could leave int32:
// dim * 255 * 128 must stay below 2^31.
inline constexpr std::uint32_t DIM_MAX = 65536;
static_assert(std::int64_t{DIM_MAX} * 255 * 128 < (std::int64_t{1} << 31));

// A score sums its terms in this many independent lanes; see loops.inc.
inline constexpr std::uint32_t LANES = 64;

// Return a bound on |computed - real| / (sum of |terms|) of a float32 score over dim terms.
//
// A term passes ceil(dim / LANES) additions in its lane and 6 where the lanes meet, after 1
// rounding of its product and, under L2, 2 half-weight ones of its difference: 12 covers them with
// room. Higham, Accuracy and Stability of Numerical Algorithms, 2nd edition, (3.5) and (4.3).
inline constexpr double rounding_bound(std::uint32_t dim) {
  const double count = static_cast<double>((dim + LANES - 1) / LANES) + 12.0;
  const double unit = 0x1p-24;
  return count * unit / (1.0 - count * unit);
}

}  // namespace vecdb
