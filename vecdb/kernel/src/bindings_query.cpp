// Python in front of what a query needs besides the search: its vector made comparable, its hits
// put on the wire. The GIL is held throughout: records lie in a transaction of Python's, and a few
// thousand bytes are copied faster than the GIL changes hands.
#include "bindings.hpp"

#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "hits.hpp"

namespace vecdb::bindings {
namespace {

// A borrowed view of a bytes-like object.
class Bytes {
 public:
  explicit Bytes(nb::handle object) {
    if (PyObject_GetBuffer(object.ptr(), &view_, PyBUF_SIMPLE) != 0) throw nb::python_error();
  }
  ~Bytes() { PyBuffer_Release(&view_); }
  Bytes(const Bytes&) = delete;
  Bytes& operator=(const Bytes&) = delete;

  std::string_view text() const {
    return {static_cast<const char*>(view_.buf), static_cast<std::size_t>(view_.len)};
  }

 private:
  Py_buffer view_{};
};

// What the legs of a query said of its hits: two arrays (hits, legs), or None twice.
class Legs {
 public:
  Legs(nb::handle ranks, nb::handle scores, std::size_t hits) {
    if (ranks.is_none() && scores.is_none()) return;
    ranks_.emplace("leg_ranks", ranks, UINT32, 2);
    scores_.emplace("leg_scores", scores, FLOAT32, 2);
    count_ = ranks_->shape()[1];
    ranks_->expect_shape({hits, count_});
    scores_->expect_shape({hits, count_});
  }

  vecdb::HitLegs of(std::size_t hit) const {
    if (!ranks_) return {};
    return {ranks_->values<std::uint32_t>() + hit * count_, scores_->values<float>() + hit * count_,
            count_};
  }

 private:
  std::optional<Array> ranks_;
  std::optional<Array> scores_;
  std::size_t count_ = 0;
};

nb::tuple encode_hits(const nb::list& slots, const nb::list& records, const nb::list& scores,
                      const nb::list& distances, std::size_t k, std::size_t bytes_max, bool payload,
                      bool vectors, bool texts, const nb::dict& spaces, const nb::list& sparse,
                      const nb::dict& multi, nb::handle leg_ranks, nb::handle leg_scores,
                      const std::optional<nb::list>& payloads,
                      const std::optional<nb::list>& more, bool as_points) {
  const std::size_t count = slots.size();
  if (payloads && payloads->size() != count) {
    throw nb::value_error("payloads: expected one for each slot");
  }
  if (more && more->size() != count) throw nb::value_error("more: expected one for each slot");
  if (records.size() != count || scores.size() != count || distances.size() != count) {
    throw nb::value_error("slots, records, scores and distances: expected equal lengths");
  }
  const Legs legs(leg_ranks, leg_scores, count);
  vecdb::HitParts parts{payload, vectors, texts, as_points, {}};
  if (vectors || texts) {
    for (const auto& [number, name] : spaces) {
      parts.spaces.push_back(
          {nb::cast<std::uint16_t>(number), nb::cast<std::string>(name), false, 0});
    }
    for (vecdb::HitSpace& space : parts.spaces) {
      for (const nb::handle number : sparse) {
        if (space.number == nb::cast<std::uint16_t>(number)) space.sparse = true;
      }
      for (const auto& [number, dim] : multi) {
        if (space.number == nb::cast<std::uint16_t>(number)) {
          space.multi_dim = nb::cast<std::uint32_t>(dim);
        }
      }
    }
  }
  std::string out;
  nb::list damaged;
  std::size_t hits = 0;
  for (std::size_t i = 0; i < count && hits < k && out.size() <= bytes_max; ++i) {
    const nb::handle record = records[i];
    std::optional<Bytes> payload, further;
    std::string_view given, rest;
    if (payloads) given = payload.emplace((*payloads)[i]).text();
    if (more) rest = further.emplace((*more)[i]).text();
    if (!record.is_none() &&
        vecdb::append_hit(nb::cast<std::uint64_t>(slots[i]), Bytes(record).text(),
                          nb::cast<float>(scores[i]), nb::cast<float>(distances[i]), legs.of(i),
                          parts, payloads ? &given : nullptr, rest, out)) {
      ++hits;
    } else {
      damaged.append(i);
    }
  }
  return nb::make_tuple(nb::bytes(out.data(), out.size()), hits, damaged);
}

nb::object comparable_query(nb::handle query, std::size_t dim, bool unit, double length_max) {
  const Bytes bytes(query);
  const std::string_view raw = bytes.text();
  if (dim == 0 || raw.size() != 4 * dim) return nb::none();
  auto values = std::make_unique_for_overwrite<float[]>(dim);
  std::memcpy(values.get(), raw.data(), raw.size());
  double squares = 0.0;
  for (std::size_t i = 0; i < dim; ++i) squares += double{values[i]} * double{values[i]};
  const double length = std::sqrt(squares);
  if (!(length > 0.0 && length <= length_max)) return nb::none();
  if (unit) {
    for (std::size_t i = 0; i < dim; ++i) values[i] = static_cast<float>(values[i] / length);
  }
  return numpy_array(std::move(values), {dim});
}

}  // namespace

void bind_query(nb::module_& module) {
  module.def("comparable_query", &comparable_query, nb::arg("query"), nb::arg("dim"),
             nb::arg("unit"), nb::arg("length_max"),
             "Return a query as scans compare it, or None when it is no sound vector of that size.");
  module.def("encode_hits", &encode_hits, nb::arg("slots"), nb::arg("records"), nb::arg("scores"),
             nb::arg("distances"), nb::arg("k"), nb::arg("bytes_max"), nb::arg("payload"),
             nb::arg("vectors"), nb::arg("texts"), nb::arg("spaces"),
             nb::arg("sparse"), nb::arg("multi"), nb::arg("leg_ranks") = nb::none(),
             nb::arg("leg_scores") = nb::none(), nb::arg("payloads") = nb::none(),
             nb::arg("more") = nb::none(), nb::arg("as_points") = false,
             "Return stored points as hits on the wire, how many, and which records are damaged.");
}

}  // namespace vecdb::bindings
