// One copy of loops.inc per instruction set, and the choice between them.
#include "loops.hpp"

#include <cmath>
#include <cstring>
#include <limits>

#include "bitmap.hpp"

// Included before any target below is set, and no template of the standard library is used in
// loops.inc: else an inline function compiled for AVX-512 could be linked into code that runs
// anywhere.
namespace vecdb {
namespace {

float round_up(double value) {
  const float nearest = static_cast<float>(value);
  if (static_cast<double>(nearest) >= value) return nearest;
  return std::nextafter(nearest, std::numeric_limits<float>::infinity());
}

}  // namespace
}  // namespace vecdb

#if defined(__aarch64__)
#define VECDB_BASELINE_NAME "neon"
#else
#define VECDB_BASELINE_NAME "baseline"
#endif

#define VECDB_VECTOR_BYTES 16
namespace vecdb::baseline {
#include "loops.inc"
inline constexpr Loops LOOPS{VECDB_BASELINE_NAME, scores, bounds, estimates, quantize,
                             count_bits};
}  // namespace vecdb::baseline
#undef VECDB_VECTOR_BYTES

// clang spells the pragmas below differently and has only been promised the baseline.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define VECDB_MANY_TARGETS 1

#pragma GCC push_options
#pragma GCC target("avx2")
#define VECDB_VECTOR_BYTES 32
namespace vecdb::avx2 {
#include "loops.inc"
inline constexpr Loops LOOPS{"avx2", scores, bounds, estimates, quantize,
                             count_bits};
}  // namespace vecdb::avx2
#undef VECDB_VECTOR_BYTES
#pragma GCC pop_options

#pragma GCC push_options
#pragma GCC target("avx2,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")
#pragma GCC target("prefer-vector-width=512")
#define VECDB_U8_S8_DOT
#define VECDB_VECTOR_BYTES 64
namespace vecdb::avx512vnni {
#include "loops.inc"
inline constexpr Loops LOOPS{"avx512vnni", scores, bounds, estimates, quantize,
                             count_bits};
}  // namespace vecdb::avx512vnni
#undef VECDB_VECTOR_BYTES
#undef VECDB_U8_S8_DOT
#pragma GCC pop_options
#endif

namespace vecdb {
namespace {

const Loops& pick() {
#ifdef VECDB_MANY_TARGETS
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
      __builtin_cpu_supports("avx512vnni")) {
    return avx512vnni::LOOPS;
  }
  if (__builtin_cpu_supports("avx2")) return avx2::LOOPS;
#endif
  return baseline::LOOPS;
}

}  // namespace

const Loops& loops() {
  static const Loops& chosen = pick();
  return chosen;
}

}  // namespace vecdb
