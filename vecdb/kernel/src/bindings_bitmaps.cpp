// Bitmaps of rows, as Python calls them.
//
// The GIL is kept for few rows: in the microseconds that they take, giving it up would only make
// the caller queue for it again.
#include <algorithm>
#include <limits>

#include "bindings.hpp"
#include "bitmaps.hpp"

namespace vecdb::bindings {

namespace {

constexpr std::uint64_t ROWS_WITH_GIL = 1 << 16;

class ReleasedForMany {
 public:
  explicit ReleasedForMany(std::uint64_t rows) {
    if (rows > ROWS_WITH_GIL) released_.emplace();
  }

 private:
  std::optional<nb::gil_scoped_release> released_;
};

std::uint32_t row_count(nb::handle object) {
  const std::int64_t n = integer("n", object);
  if (n < 0 || n > std::int64_t{std::numeric_limits<std::uint32_t>::max()}) {
    raise_value("n: expected 0 to 2**32 - 1, got " + std::to_string(n));
  }
  return static_cast<std::uint32_t>(n);
}

std::size_t word_count(std::uint64_t rows) { return static_cast<std::size_t>((rows + 63) / 64); }

std::unique_ptr<std::uint64_t[]> no_rows(std::uint64_t rows) {
  return std::make_unique<std::uint64_t[]>(word_count(rows));
}

// A bitmap that must be there, of at least as many words as n rows need.
class Words {
 public:
  Words(nb::handle object, std::uint32_t n) : array_("bits", object, UINT64, 1) {
    if (array_.shape()[0] < word_count(n)) {
      raise_value("bits: expected at least " + std::to_string(word_count(n)) + " words for " +
                  std::to_string(n) + " rows, got " + std::to_string(array_.shape()[0]));
    }
  }

  // Without rows there may be no words, and so no address, which the core reads as "all".
  vecdb::Bitmap bitmap(std::uint32_t n) const {
    return vecdb::Bitmap(array_.values<std::uint64_t>(), n);
  }

 private:
  Array array_;
};

nb::object row_bits(nb::handle rows, nb::handle n) {
  const Array array("rows", rows, UINT32, 1);
  const std::uint32_t count = row_count(n);
  auto words = no_rows(count);
  {
    const ReleasedForMany released(std::max(array.shape()[0], std::uint64_t{count} / 64));
    vecdb::set_rows(array.values<std::uint32_t>(), array.shape()[0], count, words.get());
  }
  return numpy_array(std::move(words), {word_count(count)});
}

std::uint32_t count_bits(nb::handle bits, nb::handle n) {
  const std::uint32_t count = row_count(n);
  const Words words(bits, count);
  const ReleasedForMany released(count / 64);
  return words.bitmap(count).count();
}

nb::object pick_bits(nb::handle bits, nb::handle n, nb::handle rows) {
  const std::uint32_t count = row_count(n);
  const Words words(bits, count);
  const Array array("rows", rows, UINT32, 1);
  auto picked = no_rows(array.shape()[0]);
  {
    const ReleasedForMany released(array.shape()[0]);
    vecdb::pick_rows(words.bitmap(count), count, array.values<std::uint32_t>(), array.shape()[0],
                     picked.get());
  }
  return numpy_array(std::move(picked), {word_count(array.shape()[0])});
}

}  // namespace

void bind_bitmaps(nb::module_& module) {
  module.def("row_bits", &row_bits, arg("rows"), arg("n"),
             "Return the bitmap of n rows in which these rows are set.");
  module.def("count_bits", &count_bits, arg("bits"), arg("n"),
             "Return how many of the first n rows are set.");
  module.def("pick_bits", &pick_bits, arg("bits"), arg("n"), arg("rows"),
             "Return the bitmap of which bit i is the bit of rows[i].");
}

}  // namespace vecdb::bindings
