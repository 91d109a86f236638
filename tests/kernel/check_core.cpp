// Prints what the kernel's core finds in made-up rows, bit for bit, and checks that both scans
// agree. test_arm64.py builds it for two machines and compares what they print.
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <vector>

#include "loops.hpp"
#include "scan.hpp"

namespace {

// xorshift64*: the same numbers everywhere.
std::uint64_t state = 88172645463325252ULL;
float random_value() {
  state ^= state >> 12;
  state ^= state << 25;
  state ^= state >> 27;
  const std::uint64_t bits = state * 2685821657736338717ULL;
  return static_cast<float>(static_cast<std::int32_t>(bits >> 32)) / 1073741824.0F;
}

bool same(const std::vector<vecdb::Neighbor>& a, const std::vector<vecdb::Neighbor>& b) {
  if (a.size() != b.size()) return false;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (a[i].row != b[i].row || std::memcmp(&a[i].score, &b[i].score, sizeof a[i].score) != 0) {
      return false;
    }
  }
  return true;
}

}  // namespace

int main() {
  std::fprintf(stderr, "%s\n", vecdb::loops().name);
  for (const std::uint32_t dim : {1U, 7U, 64U, 100U, 384U}) {
    const std::uint32_t n = 1500;
    std::vector<float> values(std::size_t{n} * dim);
    for (float& value : values) value = random_value();
    std::vector<std::uint8_t> codes(values.size());
    std::vector<float> bounds(std::size_t{n} * 3);
    vecdb::loops().quantize(values.data(), n, dim, codes.data(), bounds.data());
    std::vector<float> query(dim);
    for (float& value : query) value = random_value();
    const vecdb::Vectors vectors{values.data(), n, dim};
    std::vector<std::uint64_t> words((n + 63) / 64);
    for (std::size_t i = 0; i < words.size(); ++i) words[i] = 0x9249249249249249ULL << (i % 3);
    for (const auto metric : {vecdb::Metric::Dot, vecdb::Metric::L2}) {
      for (const bool all : {true, false}) {
        const vecdb::Bitmap allowed(all ? nullptr : words.data(), n);
        const auto exact = vecdb::scan_f32(metric, vectors, query.data(), 10, allowed);
        const auto coded = vecdb::scan_i8(metric, {codes.data(), bounds.data()}, vectors,
                                          query.data(), 10, allowed);
        if (!same(exact, coded)) {
          std::fprintf(stderr, "dim %u: the scans disagree\n", dim);
          return 1;
        }
        for (const auto& found : exact) {
          std::uint32_t bits;
          std::memcpy(&bits, &found.score, sizeof bits);
          std::printf("%u %u %08x\n", dim, found.row, bits);
        }
      }
    }
  }
  return 0;
}
