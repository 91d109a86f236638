// Bitmaps of rows, as filters make them: bit i & 63 of word i >> 6 is row i.
//
// Row lists come from memory maps of files that nobody may have verified: a row past the last is
// passed over.
#pragma once

#include <cstddef>
#include <cstdint>

#include "bitmap.hpp"

namespace vecdb {

// Set the bits of `count` rows in the bitmap of n rows at `words`; in any order, also repeatedly.
void set_rows(const std::uint32_t* rows, std::size_t count, std::uint32_t n, std::uint64_t* words);

// Make bit i at `picked` say whether row rows[i] of n passes.
void pick_rows(const Bitmap& bitmap, std::uint32_t n, const std::uint32_t* rows, std::size_t count,
               std::uint64_t* picked);

}  // namespace vecdb
