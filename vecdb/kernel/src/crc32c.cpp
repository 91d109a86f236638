// With the instruction for it where there is one, else a table: RFC 3720, appendix B.4.
#include "crc32c.hpp"

#include <array>
#include <cstring>

namespace vecdb {
namespace {

constexpr std::uint32_t REVERSED_POLYNOMIAL = 0x82F63B78u;

constexpr std::array<std::uint32_t, 256> made_table() {
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t byte = 0; byte < 256; ++byte) {
    std::uint32_t rest = byte;
    for (int bit = 0; bit < 8; ++bit) {
      rest = (rest >> 1) ^ ((rest & 1) != 0 ? REVERSED_POLYNOMIAL : 0);
    }
    table[byte] = rest;
  }
  return table;
}

constexpr std::array<std::uint32_t, 256> TABLE = made_table();

std::uint32_t by_table(std::uint32_t state, const std::uint8_t* bytes, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) {
    state = (state >> 8) ^ TABLE[(state ^ bytes[i]) & 0xFF];
  }
  return state;
}

#if defined(__x86_64__) && defined(__GNUC__)
#define VECDB_CRC_INSTRUCTION 1

__attribute__((target("sse4.2"))) std::uint32_t by_instruction(std::uint32_t state,
                                                               const std::uint8_t* bytes,
                                                               std::size_t count) {
  std::uint64_t wide = state;
  std::size_t at = 0;
  for (; at + 8 <= count; at += 8) {
    std::uint64_t eight;
    std::memcpy(&eight, bytes + at, 8);
    wide = __builtin_ia32_crc32di(wide, eight);
  }
  state = static_cast<std::uint32_t>(wide);
  for (; at < count; ++at) state = __builtin_ia32_crc32qi(state, bytes[at]);
  return state;
}
#endif

auto pick() {
#ifdef VECDB_CRC_INSTRUCTION
  __builtin_cpu_init();
  if (__builtin_cpu_supports("sse4.2")) return by_instruction;
#endif
  return by_table;
}

}  // namespace

std::uint32_t crc32c(std::uint32_t before, const std::uint8_t* bytes, std::size_t count) {
  static const auto chosen = pick();
  return ~chosen(~before, bytes, count);
}

}  // namespace vecdb
