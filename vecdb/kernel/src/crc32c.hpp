// The checksum that seals every record: CRC-32C (Castagnoli), as FORMAT.md has it.
#pragma once

#include <cstddef>
#include <cstdint>

namespace vecdb {

// Return the checksum of some bytes behind others whose checksum is `before`; 0 for none.
std::uint32_t crc32c(std::uint32_t before, const std::uint8_t* bytes, std::size_t count);

}  // namespace vecdb
